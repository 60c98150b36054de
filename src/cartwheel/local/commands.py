"""`cartwheel up`, `down` and `reset`, as typed by a person."""

import asyncio
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console as RichConsole
from rich.table import Table

from cartwheel.kernel.servers import Unusable
from cartwheel.kernel.settings import BadSettings
from cartwheel.local import instance, leftovers
from cartwheel.local.console import Console
from cartwheel.local.emulated_aws import ADMIN, CUSTOMER, PASSWORD, Unfit
from cartwheel.local.packages import Missing
from cartwheel.local.preflight import PortUnusable, gateway_port
from cartwheel.local.processes import PROCESSES, SETUP, Process
from cartwheel.local.supervisor import CannotStart
from cartwheel.local.up import System, running

_STOP_LIMIT = 15.0
_REFUSED = (
    BadSettings,
    Unusable,
    instance.InUse,
    instance.NotPrivate,
    PortUnusable,
    Missing,
    CannotStart,
    Unfit,
)
"""What may stop the start. The message is for the person who has typed it."""


def up() -> None:
    """Start everything, print where it is, and stop it on Ctrl-C."""
    console = Console()
    home = instance.folder()
    try:
        asyncio.run(run_until_stopped(home, gateway_port(os.environ), console))
    except _REFUSED as error:
        console.say(f"✗ {error.in_full() if isinstance(error, Unusable) else error}")
        raise typer.Exit(1) from None


async def run_until_stopped(
    home: Path,
    port: int,
    console: Console,
    *,
    processes: tuple[Process, ...] = PROCESSES,
    setup: tuple[str, ...] = SETUP,
) -> None:
    """Run the instance until SIGINT, SIGTERM or SIGHUP says to stop it."""
    _cancel_on_signals(console)
    try:
        async with running(
            home, port=port, console=console, processes=processes, setup=setup
        ) as system:
            _show(system, home)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        # Stopping is what was asked for, so it is no failure: `make up` ends without a complaint.
        console.say("✓ stopped; the data stays")


def _cancel_on_signals(console: Console) -> None:
    """Have SIGINT, SIGTERM and SIGHUP cancel this task, once: what is in hand is put away then."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        console.say("… stopping (up to 10 s)")
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)


def _show(system: System, home: Path) -> None:
    table = Table(title="Cartwheel is running", show_header=False, title_justify="left")
    table.add_row("API", f"{system.url}/api/v1")
    table.add_row("Documentation", f"{system.url}/api")
    if "AWS_ACCESS_KEY_ID" in system.environment:
        table.add_row("Administrator", f"{ADMIN}, password {PASSWORD}")
        table.add_row("Customer", f"{CUSTOMER}, password {PASSWORD}")
    table.add_row("Mail sent", ".venv/bin/cartwheel mail")
    table.add_row("Try it", ".venv/bin/cartwheel demo")
    table.add_row("Logs", f"{home}/logs")
    table.add_row("Stop", "Ctrl-C")
    RichConsole().print(table)


def down() -> None:
    """Stop the instance that was started elsewhere; clean up after one that was killed."""
    console = Console()
    home = instance.folder()
    pid = instance.runner(home)
    if pid is None:
        found = asyncio.run(leftovers.clear(home))
        instance.forget_environment(home)
        console.say(f"✓ ended {found} processes left behind" if found else "Nothing is running.")
        return
    with console.doing(f"stopping {home}"):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_LIMIT
        while instance.runner(home) == pid and time.monotonic() < deadline:
            time.sleep(0.1)
    if instance.runner(home) == pid:
        console.say(f"✗ process {pid} does not end; kill it, and repeat this")
        raise typer.Exit(1)


def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all data of this instance, after asking."""
    console = Console()
    home = instance.folder()
    if not home.exists():
        console.say(f"There is nothing in {home}.")
        return
    try:
        with instance.lock(home):
            if not yes:
                typer.confirm(f"Delete everything in {home}?", abort=True)
            asyncio.run(leftovers.clear(home))
            shutil.rmtree(home)
    except instance.InUse as error:
        console.say(f"✗ {error}; stop it first: cartwheel down")
        raise typer.Exit(1) from None
    console.say(f"✓ deleted {home}")
