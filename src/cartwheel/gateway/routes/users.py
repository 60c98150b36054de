"""Users, for administrators: find them, put them into groups, disable them. Cognito keeps them."""

from typing import Annotated

import msgspec
from litestar import Response, Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, SkipValidation

from cartwheel.gateway import examples
from cartwheel.gateway.described import described
from cartwheel.gateway.directory import (
    LONGEST_CURSOR,
    LOOKING,
    MOST_ON_A_PAGE,
    Directory,
    GroupNotFound,
    LastAdmin,
    ListedUser,
    UserNotFound,
    UserView,
)
from cartwheel.gateway.idempotency import UnkeptKey
from cartwheel.gateway.identity import admin
from cartwheel.gateway.paging import OfEmail
from cartwheel.gateway.routes.auth import normal
from cartwheel.kernel import Page
from cartwheel.kernel.errors import BadCursor

Users = NamedDependency[SkipValidation[Directory]]

Limit = Annotated[
    int,
    QueryParameter(name="limit", ge=1, le=MOST_ON_A_PAGE, description="How many items at most"),
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor",
        max_length=LONGEST_CURSOR,
        description="The `next_cursor` of the page before",
    ),
]

TOKENS_LIVE_ON = (
    "Access tokens that the user has already stay valid until they expire, for up to an hour."
)
"""Of what takes something away; an hour is the app client's default."""
SHOWN_LATER = "The user's next access token says so: after a log-in or a refresh."


class ChangedUser(msgspec.Struct, frozen=True, kw_only=True):
    """The user after the change, and when it takes effect."""

    user: UserView
    notice: str


@get(
    "/",
    guards=[admin],
    opt=described(
        refuses=(*LOOKING, BadCursor),
        answer=Page(data=[examples.LISTED_USER]),
        returns="A page of users, in no order.",
    ),
)
async def list_users(
    directory: Users, limit: Limit = 20, cursor: Cursor = None, email: OfEmail = None
) -> Response[Page[ListedUser]]:
    """List users.

    For administrators. A page may have fewer than `limit` users although another page follows.
    """
    wanted = normal(email) if email is not None else None
    return Response(await directory.page(limit=limit, cursor=cursor, email=wanted))


@get(
    "/{user_id:str}",
    guards=[admin],
    opt=described(refuses=(*LOOKING, UserNotFound), answer=examples.USER, returns="The user."),
)
async def get_user(user_id: FromPath[str], directory: Users) -> UserView:
    """Show a user and their groups.

    For administrators.
    """
    return await directory.get(user_id)


@put(
    "/{user_id:str}/groups/{group:str}",
    guards=[admin],
    opt=described(
        refuses=(*LOOKING, UserNotFound, GroupNotFound),
        answer=ChangedUser(user=examples.USER, notice=SHOWN_LATER),
        returns="The user, who is in the group.",
    ),
)
async def add_to_group(
    user_id: FromPath[str], group: FromPath[str], directory: Users
) -> ChangedUser:
    """Put a user into a group.

    For administrators. The user's next access token says so, after a log-in or a refresh. May be
    repeated.
    """
    user = await directory.add_to_group(user_id, group)
    return ChangedUser(user=user, notice=SHOWN_LATER)


@delete(
    "/{user_id:str}/groups/{group:str}",
    status_code=200,
    guards=[admin],
    opt=described(
        refuses=(*LOOKING, UserNotFound, GroupNotFound, LastAdmin),
        answer=ChangedUser(user=examples.USER, notice=TOKENS_LIVE_ON),
        returns="The user, who is not in the group.",
    ),
)
async def remove_from_group(
    user_id: FromPath[str], group: FromPath[str], directory: Users
) -> ChangedUser:
    """Take a user out of a group.

    For administrators. Access tokens that the user has already say the group until they expire, for
    up to an hour. The last administrator who can log in stays one: 409 `last_admin`. May be
    repeated.
    """
    user = await directory.remove_from_group(user_id, group)
    return ChangedUser(user=user, notice=TOKENS_LIVE_ON)


@post(
    "/{user_id:str}/disable",
    status_code=200,
    guards=[admin],
    opt=described(
        refuses=(*LOOKING, UserNotFound, LastAdmin),
        answer=ChangedUser(
            user=msgspec.structs.replace(examples.USER, enabled=False), notice=TOKENS_LIVE_ON
        ),
        returns="The user, who is disabled.",
    ),
)
async def disable_user(
    user_id: FromPath[str], directory: Users, key: UnkeptKey = None
) -> ChangedUser:
    """Disable a user.

    For administrators. The user can neither log in nor refresh a token. Access tokens that they
    have already stay valid until they expire, for up to an hour. The last administrator who can log
    in stays enabled: 409 `last_admin`. A repeat changes nothing, and gets the same answer.
    """
    return ChangedUser(user=await directory.disable(user_id), notice=TOKENS_LIVE_ON)


@post(
    "/{user_id:str}/enable",
    status_code=200,
    guards=[admin],
    opt=described(
        refuses=(*LOOKING, UserNotFound),
        answer=ChangedUser(user=examples.USER, notice="The user can log in again."),
        returns="The user, who is enabled.",
    ),
)
async def enable_user(
    user_id: FromPath[str], directory: Users, key: UnkeptKey = None
) -> ChangedUser:
    """Enable a user who was disabled.

    For administrators. A repeat changes nothing, and gets the same answer.
    """
    user = await directory.enable(user_id)
    return ChangedUser(user=user, notice="The user can log in again.")


router = Router(
    "/users",
    route_handlers=[
        list_users,
        get_user,
        add_to_group,
        remove_from_group,
        disable_user,
        enable_user,
    ],
    tags=["users"],
)
