"""The command line of `cartwheel up`, `down` and `reset`.

Code that only a running instance needs is imported when one starts, so `--help` does not load it.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console as RichConsole
from rich.table import Table

from cartwheel.kernel.settings import BadSettings
from cartwheel.local import instance, leftovers
from cartwheel.local.console import Console
from cartwheel.local.demo_users import ADMIN, CUSTOMER, PASSWORD, RESET_CODE, SIGN_UP_CODE
from cartwheel.local.packages import Missing
from cartwheel.local.preflight import PortUnusable, gateway_port
from cartwheel.local.processes import PROCESSES, SETUP, Process, drain_seconds
from cartwheel.local.replicas import BadReplicas, replicated
from cartwheel.local.supervisor import CannotStart, Supervisor

if TYPE_CHECKING:
    from cartwheel.local.up import System

_STOPPED_WITHIN_SECONDS = 10
_STOP_LIMIT = 15.0


def up(
    replicas: Annotated[
        str,
        typer.Option(
            metavar="NAME=NUMBER,…",
            help="Run several replicas, such as products=2,orders=3,gateway=2.",
        ),
    ] = "",
) -> None:
    """Start everything, print the addresses, and stop everything on Ctrl-C."""
    from cartwheel.kernel.servers import Unusable
    from cartwheel.local.emulated_aws import Unfit

    try:
        processes = replicated(replicas)
    except BadReplicas as error:
        raise typer.BadParameter(str(error), param_hint="--replicas") from None
    console = Console()
    home = instance.folder()
    try:
        asyncio.run(run_until_stopped(home, gateway_port(os.environ), console, processes=processes))
    except Unusable as error:
        console.say(f"✗ {error.in_full()}")
        raise typer.Exit(1) from None
    except (
        BadSettings,
        instance.InUse,
        instance.NotPrivate,
        PortUnusable,
        Missing,
        CannotStart,
        Unfit,
    ) as error:
        console.say(f"✗ {error}")
        raise typer.Exit(1) from None


async def run_until_stopped(
    home: Path,
    port: int,
    console: Console,
    *,
    processes: tuple[Process, ...] = PROCESSES,
    setup: tuple[str, ...] = SETUP,
) -> None:
    """Run the instance until SIGINT, SIGTERM or SIGHUP.

    A second signal ends the drain of the processes.
    """
    from cartwheel.local.up import running

    draining: list[Supervisor] = []
    cancel_on_signals(
        console,
        within_seconds=_STOPPED_WITHIN_SECONDS + drain_seconds(os.environ),
        again=lambda: [each.hurry() for each in draining],
    )
    try:
        async with running(
            home, port=port, console=console, processes=processes, setup=setup
        ) as system:
            draining.append(system.supervisor)
            show(system, home)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        # A requested stop is not a failure, so `make up` ends without an error.
        console.say("✓ stopped; the data stays")


def cancel_on_signals(
    console: Console, *, within_seconds: float, again: Callable[[], object]
) -> None:
    """Let the first SIGINT, SIGTERM or SIGHUP cancel this task; each further one calls `again`.

    The task then has at most `within_seconds` to clean up.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, again)
        console.say(f"… stopping (up to {within_seconds:g} s)")
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


def show(system: "System", home: Path) -> None:
    """Print the addresses and, with the emulator, the users who can log in."""
    table = Table(title="Cartwheel is running", show_header=False, title_justify="left")
    say_where(system, home, table)
    RichConsole().print(table)


def say_where(system: "System", home: Path, table: Table) -> None:
    """Add rows of two columns to `table`: the addresses, and the users who can log in."""
    table.add_row("API", f"{system.url}/api/v1")
    table.add_row("Documentation", f"{system.url}/api")
    table.add_row(
        "Card tokens",
        f"{system.environment['SIMULATOR_URL']}/v1/payment_methods, "
        f"key {system.environment['SIMULATOR_PUBLISHABLE_KEY']}",
    )
    if "AWS_ACCESS_KEY_ID" in system.environment:
        table.add_row("Administrator", f"{ADMIN}, password {PASSWORD}")
        table.add_row("Customer", f"{CUSTOMER}, password {PASSWORD}")
        table.add_row(
            "Codes by mail", f"{SIGN_UP_CODE} to sign up, {RESET_CODE} for a new password"
        )
    kinds = Counter(name.partition(".")[0] for name in system.supervisor.names)
    if several := [f"{count} {kind}" for kind, count in kinds.items() if count > 1]:
        table.add_row("Replicas", ", ".join(several))
    table.add_row("Mail sent", ".venv/bin/cartwheel mail")
    table.add_row("Try it", ".venv/bin/cartwheel demo")
    table.add_row("Logs", f"{home}/logs")
    table.add_row("Stop", "Ctrl-C")


def down() -> None:
    """Stop an instance that was started in another terminal, or clean up after a killed one."""
    console = Console()
    end(instance.folder(), console, within_seconds=_STOP_LIMIT)
    if instance.runner(instance.cluster_folder()) is not None:
        console.say("A cluster is running. Stop it with `cartwheel cluster down`.")


def end(home: Path, console: Console, *, within_seconds: float) -> None:
    """Stop the instance in `home`, or end the processes that a killed one left behind.

    Raises:
        typer.Exit: it is still running after `within_seconds`.
    """
    pid = instance.runner(home)
    if pid is None:
        found = asyncio.run(leftovers.clear(home))
        instance.forget_environment(home)
        console.say(f"✓ ended {found} processes left behind" if found else "Nothing is running.")
        return
    limit = within_seconds + drain_seconds(instance.environment(home))
    with console.doing(f"stopping {home}"):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + limit
        while instance.runner(home) == pid and time.monotonic() < deadline:
            time.sleep(0.1)
    if instance.runner(home) == pid:
        console.say(f"✗ process {pid} does not end; kill it, and repeat this")
        raise typer.Exit(1)


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """After asking, delete all data of this instance, including data on external servers."""
    # Imported here because no other command needs it.
    from cartwheel.local import reset as resetting
    from cartwheel.local.places import NotOurs

    console = Console()
    home = instance.folder()
    if not home.exists():
        console.say(f"There is no {home}, so no data on servers is known.")
        return
    try:
        resetting.reset(
            home,
            os.environ,
            console,
            ask=lambda: yes or _confirm("Delete all of this?"),
        )
    except instance.InUse as error:
        console.say(f"✗ {error}; stop it first: cartwheel down")
        raise typer.Exit(1) from None
    except (BadSettings, NotOurs, resetting.Refused, resetting.NotAllDeleted) as error:
        console.say(f"✗ {error}")
        raise typer.Exit(1) from None
    console.say(f"✓ deleted {home}")


def _confirm(question: str) -> None:
    """Return if the answer is yes. Unlike typer's own question, a Ctrl-C gives status 130, not 1.

    Raises:
        typer.Abort: the answer is anything else.
    """
    if input(f"{question} [y/N]: ").strip().lower() not in ("y", "yes"):
        raise typer.Abort
