"""The users of the pool, as administrators see and change them.

Unlike what users do with their own accounts, these calls are signed: the gateway needs AWS
credentials with the rights that docs/operations.md lists. Without them, these calls alone fail.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from cartwheel.contracts import text
from cartwheel.contracts.identity import LONGEST_NAME
from cartwheel.gateway.cognito import ANY_CALL, Cognito, WrongCredentials
from cartwheel.gateway.identity import ADMINS
from cartwheel.kernel import Page
from cartwheel.kernel.errors import BadCursor, Conflict, FieldError, NotFound, Refusal, Unavailable

MOST_ON_A_PAGE = 60
"""Cognito lists no more users at a time."""
LONGEST_CURSOR = 4_000

LOOKING = ANY_CALL
"""What every look-up may raise, besides what it names."""

_IN_A_FILTER = ('"', "\\")
"""Characters that mean something else in Cognito's filters. No account has them in its address."""


class UserNotFound(NotFound):
    """There is no user with this id.

    Take the id from the list of users.
    """

    code = "user_not_found"


class GroupNotFound(NotFound):
    """The user pool has no such group.

    Create it in Cognito first; administrators have the group `admin`.
    """

    code = "group_not_found"


class LastAdmin(Conflict):
    """The user is the only administrator who can log in.

    Make another user an administrator first.
    """

    code = "last_admin"


class ListedUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the pool. `status` is Cognito's: `CONFIRMED` once the mail address is confirmed."""

    id: str
    name: str
    email: str
    status: str
    enabled: bool
    created_at: datetime
    updated_at: datetime


class UserView(ListedUser, frozen=True, kw_only=True):
    """A user with their groups; administrators have `admin`."""

    groups: list[str]


class Directory:
    """The users of one pool. Every call may raise ANY_CALL."""

    def __init__(self, cognito: Cognito, pool_id: str) -> None:
        self._cognito = cognito
        self._pool_id = pool_id

    async def page(
        self, *, limit: int, cursor: str | None = None, email: str | None = None
    ) -> Page[ListedUser]:
        """List users, in Cognito's own order; those with this mail address, which is unique.

        A page may have fewer than `limit`, and no user at all, although another follows.

        Raises: BadCursor.
        """
        more: dict[str, Any] = {}
        if email is not None:
            if any(each in email for each in _IN_A_FILTER):
                return Page(data=[])
            more["Filter"] = f'email = "{email}"'
        if cursor is not None:
            more["PaginationToken"] = _read_cursor(cursor)
        # Of the input, only the cursor may be wrong in Cognito's eyes.
        special: dict[str, Refusal] = {"InvalidParameterException": _bad_cursor()} if cursor else {}
        found = await self._ask("list_users", special, Limit=limit, **more)
        token: str | None = found.get("PaginationToken")
        return Page(
            data=[_user(each, ListedUser) for each in found["Users"]],
            next_cursor=_write_cursor(token) if token else None,
        )

    async def get(self, user_id: str) -> UserView:
        """Return the user with this id, or this mail address.

        Raises: UserNotFound.
        """
        found = await self._ask("admin_get_user", _UNKNOWN_USER, Username=user_id)
        listed = await self._ask("admin_list_groups_for_user", _UNKNOWN_USER, Username=user_id)
        groups = sorted(each["GroupName"] for each in listed["Groups"])
        found["Attributes"] = found["UserAttributes"]
        return _user(found, UserView, groups=groups)

    async def add_to_group(self, user_id: str, group: str) -> UserView:
        """May be repeated.

        Raises: UserNotFound, GroupNotFound.
        """
        await self._in_group("admin_add_user_to_group", user_id, group)
        return await self.get(user_id)

    async def remove_from_group(self, user_id: str, group: str) -> UserView:
        """May be repeated.

        Raises: UserNotFound, GroupNotFound, LastAdmin.
        """
        remove = partial(self._in_group, "admin_remove_user_from_group", user_id, group)
        put_back = partial(self._in_group, "admin_add_user_to_group", user_id, group)
        if group == ADMINS:
            await self._unless_last_admin(user_id, remove, put_back)
        else:
            await remove()
        return await self.get(user_id)

    async def disable(self, user_id: str) -> UserView:
        """Keep a user from logging in and from getting new tokens. May be repeated.

        Raises: UserNotFound, LastAdmin.
        """
        disable = partial(self._ask, "admin_disable_user", _UNKNOWN_USER, Username=user_id)
        await self._unless_last_admin(user_id, disable, partial(self._enable, user_id))
        return await self.get(user_id)

    async def enable(self, user_id: str) -> UserView:
        """May be repeated.

        Raises: UserNotFound.
        """
        await self._enable(user_id)
        return await self.get(user_id)

    async def _enable(self, user_id: str) -> None:
        await self._ask("admin_enable_user", _UNKNOWN_USER, Username=user_id)

    async def _in_group(self, operation: str, user_id: str, group: str) -> None:
        special = {**_UNKNOWN_USER, "ResourceNotFoundException": _unknown_group()}
        await self._ask(operation, special, Username=user_id, GroupName=group)

    async def _unless_last_admin(
        self,
        user_id: str,
        do: Callable[[], Awaitable[object]],
        undo: Callable[[], Awaitable[object]],
    ) -> None:
        """Do what may leave the shop without an administrator, unless it does.

        Cognito has no conditions for its writes. So it is looked at again afterwards: of two
        administrators who remove each other at the same time, at least one comes back.

        Raises: UserNotFound, LastAdmin.
        """
        user = await self.get(user_id)
        if ADMINS not in user.groups:
            await do()
            return
        refused = LastAdmin("This is the only administrator who can log in.")
        if not await self._has_admin_besides(user):
            raise refused
        await do()
        if not await self._has_admin_besides(user):
            await undo()
            raise refused

    async def _has_admin_besides(self, user: UserView) -> bool:
        """Return whether another administrator is enabled."""
        more: dict[str, Any] = {}
        while True:
            found = await self._ask("list_users_in_group", GroupName=ADMINS, **more)
            admins = [_user(each, ListedUser) for each in found["Users"]]
            if any(each.enabled and each.id != user.id for each in admins):
                return True
            if not (token := found.get("NextToken")):
                return False
            more = {"NextToken": token}

    async def _ask(
        self, operation: str, special: dict[str, Refusal] | None = None, /, **arguments: Any
    ) -> dict[str, Any]:
        try:
            return await self._cognito.call(
                operation, special, UserPoolId=self._pool_id, **arguments
            )
        except WrongCredentials:  # NotAuthorizedException: no user gave credentials here
            raise Unavailable(f"Cognito refuses {operation} to the gateway") from None


_UNKNOWN_USER: dict[str, Refusal] = dict.fromkeys(
    ("UserNotFoundException", "InvalidParameterException"),
    UserNotFound("There is no such user."),
)


def _unknown_group() -> GroupNotFound:
    return GroupNotFound("There is no such group.")


def _bad_cursor() -> BadCursor:
    detail = "`cursor` must be the `next_cursor` of a list."
    return BadCursor(detail, errors=[FieldError("cursor", detail)])


def _write_cursor(token: str) -> str:
    return base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        token = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if not token:
        raise _bad_cursor()
    return token


def _user(told: dict[str, Any], kind: type[Any], **more: object) -> Any:
    """Return a user as Cognito tells of them. Users may have written anything into their name."""
    about = {each["Name"]: each["Value"] for each in told.get("Attributes", [])}
    return kind(
        id=about.get("sub") or told["Username"],
        name=text.one_line(about.get("name", ""), longest=LONGEST_NAME),
        email=about.get("email", ""),
        status=told.get("UserStatus", "UNKNOWN"),
        enabled=told["Enabled"],
        created_at=told["UserCreateDate"],
        updated_at=told["UserLastModifiedDate"],
        **more,
    )
