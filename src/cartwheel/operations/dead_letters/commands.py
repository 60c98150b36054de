"""The command line of `cartwheel dlq`. Each command imports its work when it starts."""

from typing import Annotated

import typer

from cartwheel.operations import typed
from cartwheel.operations.reaching import BusSettings
from cartwheel.services import OPERATIONS, SERVICES

dlq = typer.Typer(no_args_is_help=True, help="List, replay or drop dead-lettered events.")


def _known(services: list[str]) -> list[str]:
    for service in services:
        if service not in SERVICES:
            raise typer.BadParameter(f"{service} is none of {', '.join(SERVICES)}")
    return services


def _some_words(given: str) -> str:
    if not given.strip():
        raise typer.BadParameter("give a reason of a few words")
    return given.strip()


_AS_LISTED = "The id, as `dlq list` shows it."
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
_Limit = Annotated[int, typer.Option(min=0, help="The largest number to list; 0 lists all.")]
_Services = Annotated[
    list[str],
    typer.Option(
        "--service",
        metavar="SERVICE",
        help="Only events for this service. May be repeated.",
        callback=_known,
        show_default="all of them",
    ),
]
_ALL: list[str] = [*SERVICES]


@dlq.command("list")
def list_(service: _Services = _ALL, limit: _Limit = 50, json: _Json = False) -> None:
    """List the dead-lettered events, with their service and the reason."""
    from cartwheel.operations.dead_letters import work

    settings = typed.settings(BusSettings)
    typed.run(work.show_list(settings, service, limit=limit, json=json))


@dlq.command()
def show(id: Annotated[str, typer.Argument(help=_AS_LISTED)], json: _Json = False) -> None:
    """Show a dead-lettered event in full."""
    from cartwheel.operations.dead_letters import display, work

    settings = typed.settings(BusSettings)
    found = typed.run(work.find(settings, id), work.NoSuchDeadLetter)
    console = typed.output()
    if json:
        everything = [display.whole(letter) for letter in found]
        console.out(display.as_json(everything), highlight=False)
        return
    for letter in found:
        display.show_whole(letter, console)


@dlq.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help=_AS_LISTED)] = None,
    all_: Annotated[bool, typer.Option("--all", help="Replay all current dead letters.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="With --all: the rate per second.")] = 50.0,
    service: _Services = _ALL,
) -> None:
    """Send dead-lettered events to their service again, after the cause is fixed."""
    if all_ == bool(ids):
        raise typer.BadParameter("give either ids or --all", param_hint="ID… or --all")
    from cartwheel.operations.dead_letters import work
    from cartwheel.operations.dead_letters.audit import Action

    settings = typed.settings(work.Settings, databases=[OPERATIONS])
    if ids:
        typed.run(work.act(settings, Action.REPLAY, ids, service), work.NoSuchDeadLetter)
    else:
        typed.run(work.replay_all(settings, service, rate))


@dlq.command()
def drop(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help=_AS_LISTED)],
    why: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="The reason, which the audit keeps.", callback=_some_words
        ),
    ],
    service: _Services = _ALL,
) -> None:
    """Delete dead-lettered events for good. The audit keeps their content."""
    from cartwheel.operations.dead_letters import work
    from cartwheel.operations.dead_letters.audit import Action

    settings = typed.settings(work.Settings, databases=[OPERATIONS])
    typed.run(work.act(settings, Action.DROP, ids, service, why=why), work.NoSuchDeadLetter)


@dlq.command()
def audit(limit: _Limit = 50, json: _Json = False) -> None:
    """List who replayed or dropped what, newest first."""
    from cartwheel.operations.dead_letters import work

    settings = typed.settings(work.Settings, databases=[OPERATIONS])
    typed.run(work.show_audit(settings, limit=limit, json=json))
