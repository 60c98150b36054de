"""`cartwheel users`: who has an account, who is an administrator, who is disabled.

The same calls of Cognito as `/users` of the API makes, with the AWS credentials of whoever types.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from rich.console import Console
from rich.text import Text

from cartwheel.gateway.directory import MOST_ON_A_PAGE, Directory, ListedUser, UserView
from cartwheel.operations import tables, typed
from cartwheel.operations.tables import Column

_COLUMNS = (
    Column("email"),
    Column("name", prose=True),
    Column("status", prose=True),
    Column("since"),
    Column("id"),
)


LATER = {
    "disable": "Access tokens that they have already live on, for up to an hour.",
    "enable": "They need no new password.",
    "grant": "Their next access token says so: after a log-in or a refresh.",
    "revoke": "Access tokens that they have already live on, for up to an hour.",
}
"""When a change takes effect, by the command."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    cognito_user_pool_id: str


@asynccontextmanager
async def directory(settings: Settings) -> AsyncGenerator[Directory]:
    # Here, because it takes as long to import as everything else, and `--help` does without.
    from cartwheel.gateway import cognito

    pool = settings.cognito_user_pool_id
    # The app client is for what users do themselves.
    async with cognito.connect(region=pool.partition("_")[0], client_id="") as users:
        yield Directory(users, pool)


async def listed(settings: Settings, *, limit: int, email: str | None) -> list[ListedUser]:
    """Return up to `limit` users, in Cognito's own order; with this mail address, if it is given.

    Raises:
        Refusal, Outage: Cognito does not answer with them.
    """
    found: list[ListedUser] = []
    cursor: str | None = None
    async with directory(settings) as users:
        while len(found) < limit:
            most = min(limit - len(found), MOST_ON_A_PAGE)
            page = await users.page(limit=most, cursor=cursor, email=email)
            found += page.data
            cursor = page.next_cursor
            if cursor is None:
                break
    return found


async def shown(settings: Settings, who: str) -> UserView:
    """Return the user with this mail address or id.

    Raises:
        Refusal, Outage: there is none, or Cognito does not answer.
    """
    async with directory(settings) as users:
        return await users.get(who)


async def changed(settings: Settings, what: str, who: str, group: str = "") -> UserView:
    """Disable or enable a user, or grant them a group or revoke it; return them after that.

    Raises:
        Refusal, Outage: it was not done.
    """
    async with directory(settings) as users:
        match what:
            case "disable":
                return await users.disable(who)
            case "enable":
                return await users.enable(who)
            case "grant":
                return await users.add_to_group(who, group)
            case _:
                return await users.remove_from_group(who, group)


def show_json(users: ListedUser | list[ListedUser], console: Console) -> None:
    console.out(msgspec.json.encode(users).decode(), highlight=False)


def show_list(users: list[ListedUser], console: Console) -> None:
    if not users:
        console.print("There is no such user.")
        return
    tables.show(_COLUMNS, [_row(user) for user in users], console)


def show_one(user: UserView, console: Console) -> None:
    cells = (*_row(user), ", ".join(user.groups) or "none")
    tables.show((*_COLUMNS, Column("groups")), [cells], console)


def _row(user: ListedUser) -> tuple[str, ...]:
    status = user.status if user.enabled else f"{user.status}, disabled"
    return user.email, user.name, status, f"{user.created_at:%Y-%m-%d}", user.id


def say_done(text: str, later: str) -> None:
    """Say what was done, and on a second line when it takes effect."""
    typed.say_done(text)
    typed.output().print(Text(f"  {later}"), soft_wrap=True)
