"""What the commands of `cartwheel dlq` do, from connecting to the last line they print."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractConnection
from rich.progress import Progress

from cartwheel.kernel import mongodb
from cartwheel.kernel.settings import DatabaseAddresses, DatabasePrefix
from cartwheel.operations import typed
from cartwheel.operations.dead_letters import actions, display, listing, queue
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.parked import Parked
from cartwheel.operations.reaching import BusSettings
from cartwheel.services import OPERATIONS, SERVICES


class Settings(BusSettings, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""


class NotParked(Exception):
    """Nothing is parked under the ids that the message names."""


async def show_list(
    settings: BusSettings, services: Sequence[str], *, limit: int, json: bool
) -> None:
    """Print the first `limit` parked messages; 0 for all."""
    show = listing.show_json if json else listing.show
    async with queue.reach(settings.rabbitmq_url) as connection:
        await show(connection, services, limit=limit, console=typed.output())


async def find(settings: BusSettings, id: str) -> list[Parked]:
    """Return everything parked under `id`.

    Raises:
        NotParked: there is nothing.
    """
    async with queue.reach(settings.rabbitmq_url) as connection:
        found = await actions.find(connection, SERVICES, frozenset({id}))
    _check([id], {parked.id for parked in found})
    return found


async def act(
    settings: Settings,
    action: Action,
    ids: Sequence[str],
    services: Sequence[str],
    *,
    why: str | None = None,
) -> None:
    """Replay or drop what is parked under `ids`, and tell of each.

    Raises:
        NotParked: under some there is nothing; what was found of the others is done.
    """
    console = typed.output()
    async with _reach(settings) as (connection, audit):
        found = await actions.act(
            connection,
            services,
            frozenset(ids),
            action=action,
            why=why,
            audit=audit,
            told=lambda line: display.say(line, console),
        )
    _check(ids, found)


async def replay_all(settings: Settings, services: Sequence[str], rate: float) -> None:
    """Replay everything parked now, `rate` a second at most, and tell of each."""
    console = typed.output()
    async with _reach(settings) as (connection, audit):
        total = sum((await queue.counts(connection, services)).values())
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("replaying", total=total)

            def told(line: Line) -> None:
                display.say(line, console)
                progress.advance(task)

            done = await actions.replay_all(connection, services, rate=rate, audit=audit, told=told)
    console.print(f"replayed {done} of {total}", highlight=False)


async def show_audit(settings: Settings, *, limit: int, json: bool) -> None:
    """Print the newest lines; 0 for all."""
    show = display.show_audit_json if json else display.show_audit
    async with _audit(settings) as audit:
        await show(audit.newest(limit), typed.output())


@asynccontextmanager
async def _reach(settings: Settings) -> AsyncGenerator[tuple[AbstractConnection, Audit]]:
    async with (
        _audit(settings) as audit,
        queue.reach(settings.rabbitmq_url) as connection,
    ):
        yield connection, audit


@asynccontextmanager
async def _audit(settings: Settings) -> AsyncGenerator[Audit]:
    async with mongodb.opened(
        settings.databases, process="dlq", prefix=settings.mongodb_database_prefix
    ) as databases:
        yield Audit(databases[OPERATIONS])


def _check(ids: Sequence[str], found: set[str] | frozenset[str]) -> None:
    """Raises:
    NotParked: some of `ids` are not among `found`.
    """
    if missing := [id for id in ids if id not in found]:
        raise NotParked(f"nothing is parked as {', '.join(missing)} (see `cartwheel dlq list`)")
