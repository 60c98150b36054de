"""The work of the `cartwheel dlq` commands, from connecting to the last line of output."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from aio_pika.abc import AbstractConnection
from rich.progress import Progress

from cartwheel.kernel import mongodb
from cartwheel.kernel.settings import DatabaseAddresses, DatabasePrefix
from cartwheel.operations import typed
from cartwheel.operations.dead_letters import actions, display, listing, queue
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.operations.reaching import BusSettings
from cartwheel.services import OPERATIONS, SERVICES


class Settings(BusSettings, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""


class NoSuchDeadLetter(Exception):
    """There is no dead letter with the ids that the message names."""


async def show_list(
    settings: BusSettings, services: Sequence[str], *, limit: int, json: bool
) -> None:
    """Print the first `limit` dead letters; 0 for all."""
    show = listing.show_json if json else listing.show
    async with queue.reach(settings.rabbitmq_url) as connection:
        await show(connection, services, limit=limit, console=typed.output())


async def find(settings: BusSettings, id: str) -> list[DeadLetter]:
    """Return all dead letters with this `id`.

    Raises:
        NoSuchDeadLetter: there are none.
    """
    async with queue.reach(settings.rabbitmq_url) as connection:
        found = await actions.find(connection, SERVICES, frozenset({id}))
    _check([id], {letter.id for letter in found})
    return found


async def act(
    settings: Settings,
    action: Action,
    ids: Sequence[str],
    services: Sequence[str],
    *,
    why: str | None = None,
) -> None:
    """Replay or drop the dead letters with these `ids`, and print a line for each.

    Raises:
        NoSuchDeadLetter: some were not found. Those that were found are done.
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
            on_done=lambda line: display.say(line, console),
        )
    _check(ids, found)


async def replay_all(settings: Settings, services: Sequence[str], rate: float) -> None:
    """Replay all current dead letters, at most `rate` a second, and print a line for each."""
    console = typed.output()
    async with _reach(settings) as (connection, audit):
        total = sum((await queue.counts(connection, services)).values())
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("replaying", total=total)

            def on_done(line: Line) -> None:
                display.say(line, console)
                progress.advance(task)

            done = await actions.replay_all(
                connection, services, rate=rate, audit=audit, on_done=on_done
            )
    console.print(f"replayed {done} of {total}", highlight=False)


async def show_audit(settings: Settings, *, limit: int, json: bool) -> None:
    """Print the newest `limit` lines; 0 for all."""
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
    """Check that all `ids` were found.

    Raises:
        NoSuchDeadLetter: some were not.
    """
    if missing := [id for id in ids if id not in found]:
        raise NoSuchDeadLetter(f"no dead letter {', '.join(missing)} (see `cartwheel dlq list`)")
