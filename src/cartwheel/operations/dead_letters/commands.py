"""`cartwheel dlq`, as typed by a person."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from aio_pika.abc import AbstractConnection
from rich.console import Console
from rich.progress import Progress

from cartwheel.contracts import catalogue
from cartwheel.kernel.settings import MongodbUri
from cartwheel.kernel.store import client as mongodb
from cartwheel.operations import typed
from cartwheel.operations.dead_letters import actions, display, listing, queue
from cartwheel.operations.dead_letters.audit import DATABASE, Action, Audit, Line
from cartwheel.operations.reaching import BusSettings

dlq = typer.Typer(no_args_is_help=True, help="Look at parked events, replay them or drop them.")

_AS_LISTED = "As in the list."
_Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
_Limit = Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")]
_Services = Annotated[
    list[str] | None, typer.Option("--service", help="Only this service's; may be repeated.")
]


class Settings(BusSettings, frozen=True, kw_only=True):
    mongodb_uri: MongodbUri


class NotParked(Exception):
    """Nothing is parked under the ids that the message names."""


@dlq.command("list")
def list_(service: _Services = None, limit: _Limit = 50, json: _Json = False) -> None:
    """List what is parked, for which service, and why."""

    async def work(settings: BusSettings) -> None:
        show = listing.show_json if json else listing.show
        async with queue.reach(settings.rabbitmq_url) as connection:
            await show(connection, _services(service), limit=limit, console=Console())

    typed.run(work(typed.settings(BusSettings)))


@dlq.command()
def show(id: Annotated[str, typer.Argument(help=_AS_LISTED)], json: _Json = False) -> None:
    """Show everything about a parked message."""

    async def work(settings: BusSettings) -> None:
        async with queue.reach(settings.rabbitmq_url) as connection:
            found = await actions.find(connection, catalogue.SERVICES, frozenset({id}))
        _check([id], {parked.id for parked in found})
        console = Console()
        if json:
            everything = [display.whole(parked) for parked in found]
            console.out(display.as_json(everything), highlight=False)
            return
        for parked in found:
            display.show_whole(parked, console)

    typed.run(work(typed.settings(BusSettings)), NotParked)


@dlq.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help=_AS_LISTED)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that is parked now.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="With --all: so many a second.")] = 50.0,
    service: _Services = None,
) -> None:
    """Give parked messages to their service again, once the cause is mended."""
    if all_ == bool(ids):
        raise typer.BadParameter("name the messages, or say --all")
    if ids:
        _act(Action.REPLAY, ids, service)
    else:
        typed.run(_replay_all(typed.settings(Settings), _services(service), rate))


@dlq.command()
def drop(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help=_AS_LISTED)],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Goes into the audit.")],
    service: _Services = None,
) -> None:
    """Take parked messages away for good; the audit keeps what they said."""
    if not why.strip():
        raise typer.BadParameter("a few words are needed", param_hint="--why")
    _act(Action.DROP, ids, service, why=why.strip())


@dlq.command()
def audit(limit: _Limit = 50, json: _Json = False) -> None:
    """List who replayed or dropped what, newest first."""

    async def work(settings: Settings) -> None:
        async with mongodb.connect(settings.mongodb_uri, process="dlq") as client:
            lines = Audit(mongodb.database(client, DATABASE)).newest(limit)
            show = display.show_audit_json if json else display.show_audit
            await show(lines, Console())

    typed.run(work(typed.settings(Settings)))


def _act(action: Action, ids: list[str], service: list[str] | None, why: str | None = None) -> None:
    async def work(settings: Settings) -> None:
        console = Console()
        async with _reach(settings) as (connection, audit):
            found = await actions.act(
                connection,
                _services(service),
                frozenset(ids),
                action=action,
                why=why,
                audit=audit,
                told=lambda line: display.say(line, console),
            )
        _check(ids, found)

    typed.run(work(typed.settings(Settings)), NotParked)


async def _replay_all(settings: Settings, services: list[str], rate: float) -> None:
    console = Console()
    async with _reach(settings) as (connection, audit):
        total = sum((await queue.counts(connection, services)).values())
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("replaying", total=total)

            def told(line: Line) -> None:
                display.say(line, console)
                progress.advance(task)

            done = await actions.replay_all(connection, services, rate=rate, audit=audit, told=told)
    console.print(f"replayed {done} of {total}", highlight=False)


@asynccontextmanager
async def _reach(settings: Settings) -> AsyncGenerator[tuple[AbstractConnection, Audit]]:
    async with (
        mongodb.connect(settings.mongodb_uri, process="dlq") as client,
        queue.reach(settings.rabbitmq_url) as connection,
    ):
        yield connection, Audit(mongodb.database(client, DATABASE))


def _services(given: list[str] | None) -> list[str]:
    for service in given or []:
        if service not in catalogue.SERVICES:
            raise typer.BadParameter(f"{service} is none of {', '.join(catalogue.SERVICES)}")
    return given or list(catalogue.SERVICES)


def _check(ids: list[str], found: set[str] | frozenset[str]) -> None:
    """Raises:
    NotParked: some of `ids` are not among `found`.
    """
    if missing := [id for id in ids if id not in found]:
        raise NotParked(f"nothing is parked as {', '.join(missing)} (see `cartwheel dlq list`)")
