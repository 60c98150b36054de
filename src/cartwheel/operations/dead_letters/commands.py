"""`cartwheel dlq`, as typed by a person. Each command imports its work when it begins."""

from typing import Annotated

import typer

from cartwheel.operations import typed
from cartwheel.operations.reaching import BusSettings
from cartwheel.services import OPERATIONS, SERVICES

dlq = typer.Typer(no_args_is_help=True, help="Look at parked events, replay them or drop them.")


def _known(services: list[str]) -> list[str]:
    for service in services:
        if service not in SERVICES:
            raise typer.BadParameter(f"{service} is none of {', '.join(SERVICES)}")
    return services


def _some_words(given: str) -> str:
    if not given.strip():
        raise typer.BadParameter("a few words are needed")
    return given.strip()


_AS_LISTED = "As in the list."
_Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
_Limit = Annotated[int, typer.Option(min=0, help="How many at most; 0 for all.")]
_Services = Annotated[
    list[str],
    typer.Option(
        "--service",
        metavar="SERVICE",
        help="Only this service's; may be repeated.",
        callback=_known,
        show_default="all of them",
    ),
]
_ALL: list[str] = [*SERVICES]


@dlq.command("list")
def list_(service: _Services = _ALL, limit: _Limit = 50, json: _Json = False) -> None:
    """List what is parked, for which service, and why."""
    from cartwheel.operations.dead_letters import work

    settings = typed.settings(BusSettings)
    typed.run(work.show_list(settings, service, limit=limit, json=json))


@dlq.command()
def show(id: Annotated[str, typer.Argument(help=_AS_LISTED)], json: _Json = False) -> None:
    """Show everything about a parked message."""
    from cartwheel.operations.dead_letters import display, work

    settings = typed.settings(BusSettings)
    found = typed.run(work.find(settings, id), work.NotParked)
    console = typed.output()
    if json:
        everything = [display.whole(parked) for parked in found]
        console.out(display.as_json(everything), highlight=False)
        return
    for parked in found:
        display.show_whole(parked, console)


@dlq.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help=_AS_LISTED)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that is parked now.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="With --all: so many a second.")] = 50.0,
    service: _Services = _ALL,
) -> None:
    """Give parked messages to their service again, once the cause is mended."""
    if all_ == bool(ids):
        raise typer.BadParameter("name the messages, or say --all", param_hint="ID… or --all")
    from cartwheel.operations.dead_letters import work
    from cartwheel.operations.dead_letters.audit import Action

    settings = typed.settings(work.Settings, databases=[OPERATIONS])
    if ids:
        typed.run(work.act(settings, Action.REPLAY, ids, service), work.NotParked)
    else:
        typed.run(work.replay_all(settings, service, rate))


@dlq.command()
def drop(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help=_AS_LISTED)],
    why: Annotated[
        str, typer.Option(metavar="TEXT", help="Goes into the audit.", callback=_some_words)
    ],
    service: _Services = _ALL,
) -> None:
    """Take parked messages away for good; the audit keeps what they said."""
    from cartwheel.operations.dead_letters import work
    from cartwheel.operations.dead_letters.audit import Action

    settings = typed.settings(work.Settings, databases=[OPERATIONS])
    typed.run(work.act(settings, Action.DROP, ids, service, why=why), work.NotParked)


@dlq.command()
def audit(limit: _Limit = 50, json: _Json = False) -> None:
    """List who replayed or dropped what, newest first."""
    from cartwheel.operations.dead_letters import work

    settings = typed.settings(work.Settings, databases=[OPERATIONS])
    typed.run(work.show_audit(settings, limit=limit, json=json))
