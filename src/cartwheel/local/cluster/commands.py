"""The command line of `cartwheel cluster`.

Code that only a running cluster needs is imported when one starts, so `--help` does not load it.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console as RichConsole

from cartwheel.kernel.settings import BadSettings
from cartwheel.local import instance
from cartwheel.local.commands import cancel_on_signals, end, say_where
from cartwheel.local.console import Console
from cartwheel.local.packages import Missing
from cartwheel.local.preflight import PortUnusable, gateway_port
from cartwheel.local.processes import drain_seconds
from cartwheel.local.supervisor import CannotStart, Supervisor

if TYPE_CHECKING:
    from cartwheel.local.cluster.control import Answer, Verb
    from cartwheel.local.cluster.running import Cluster

cluster = typer.Typer(
    no_args_is_help=True,
    help="Run a cluster on this machine, and break it on purpose.",
)

_MISTYPED = 2
_STOP_SECONDS = 40.0

Nodes = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME…",
        help="Such as rabbitmq.1, mongod.3, orders.2, gateway.1, haproxy; `status` lists them.",
    ),
]


@cluster.command()
def up() -> None:
    """Start everything, print where it is, stop it on Ctrl-C."""
    from cartwheel.local.cluster.running import ServerGiven
    from cartwheel.local.emulated_aws import Unfit

    console = Console()
    try:
        asyncio.run(_until_stopped(instance.cluster_folder(), gateway_port(os.environ), console))
    except (
        BadSettings,
        CannotStart,
        ServerGiven,
        instance.InUse,
        instance.NotPrivate,
        Missing,
        PortUnusable,
        Unfit,
    ) as error:
        console.say(f"✗ {error}")
        raise typer.Exit(1) from None


async def _until_stopped(home: Path, port: int, console: Console) -> None:
    from cartwheel.local.cluster import control
    from cartwheel.local.cluster.replicas import with_drain
    from cartwheel.local.cluster.running import STOP_SECONDS
    from cartwheel.local.cluster.running import cluster as running

    draining: list[Supervisor] = []
    cancel_on_signals(
        console,
        within_seconds=STOP_SECONDS + drain_seconds(with_drain(os.environ)),
        again=lambda: [each.hurry() for each in draining],
    )
    try:
        async with (
            running(home, port=port, console=console) as started,
            control.listening(started.faults, started.system.supervisor),
        ):
            draining.append(started.system.supervisor)
            _show(started, home)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        console.say("✓ stopped; the data stays")


def _show(started: "Cluster", home: Path) -> None:
    """Print the addresses, and the commands for the cluster."""
    from cartwheel.local.cluster.table import rows, table

    shown = table(tuple(rows(started.faults, started.system.supervisor)))
    shown.title = "Cartwheel is running as a cluster"
    shown.add_section()
    say_where(started.system, home, shown)
    shown.add_row("Break it", ".venv/bin/cartwheel cluster kill rabbitmq.1")
    shown.add_row("Undo that", ".venv/bin/cartwheel cluster heal rabbitmq.1")
    RichConsole().print(shown)


@cluster.command()
def down() -> None:
    """Stop a cluster that was started in another terminal, or clean up after a killed one."""
    from cartwheel.local.cluster.network import remove

    console = Console()
    home = instance.cluster_folder()
    end(home, console, within_seconds=_STOP_SECONDS)
    if instance.runner(home) is None:
        asyncio.run(remove(home))


@cluster.command()
def status() -> None:
    """List what runs, where, and what was done to it."""
    from cartwheel.local.cluster.table import table

    RichConsole().print(table(_ordered("status", []).rows))


@cluster.command()
def kill(names: Nodes) -> None:
    """Kill -9. It stays down until it is healed."""
    _do("kill", names, "killing")


@cluster.command()
def stop(names: Nodes) -> None:
    """Freeze by SIGSTOP. Connections stay open, and nothing is answered until it is healed."""
    _do("stop", names, "stopping")


@cluster.command()
def partition(names: Nodes) -> None:
    """Cut a node off from everybody until it is healed.

    Other nodes and clients no longer reach it, nor it them, and no connection is reset. Only nodes
    of RabbitMQ and MongoDB can be cut off, and only if the cluster was started as root.
    """
    _do("partition", names, "cutting off")


@cluster.command()
def heal(names: Nodes) -> None:
    """Undo kill, stop and partition.

    What was killed is started, what was stopped continues, what was cut off is connected again.
    """
    _do("heal", names, "healing")


@cluster.command()
def restart(names: Nodes) -> None:
    """Restart one after the other: SIGTERM, wait, start."""
    _do("restart", names, "restarting")


def _do(verb: "Verb", names: list[str], doing: str) -> None:
    with Console().doing(f"{doing} {', '.join(names)}"):
        _ordered(verb, names)


def _ordered(verb: "Verb", names: list[str]) -> "Answer":
    from cartwheel.local.cluster import control

    try:
        answer = control.give(instance.cluster_folder(), control.Order(verb, tuple(names)))
    except control.NotRunning as error:
        sys.stderr.write(f"✗ {error}\n")
        raise typer.Exit(1) from None
    if answer.refused:
        sys.stderr.write(f"✗ {answer.refused}\n")
        raise typer.Exit(_MISTYPED if answer.mistyped else 1)
    return answer
