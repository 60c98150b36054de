"""What all commands share: settings, output, the user's name, and errors as one line."""

import asyncio
import os
import pwd
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from cartwheel.kernel.errors import Outage, Refusal
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.operations.reaching import NotRunning, use_running_instance

Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=msgspec.Struct)

_NO_LIMIT = 1_000_000
"""Columns: wider than any output."""


def settings(kind: type[Settings], *, databases: Iterable[str] = ()) -> Settings:
    """Return `kind` from the environment or the running instance; exit with 2 if it is not there.

    `databases` names the services whose databases the command uses.
    """
    from cartwheel.kernel.lowlevel import configure

    # A command prints its own errors. Log lines must not get into its output.
    configure("cartwheel", "CRITICAL")
    use_running_instance()
    try:
        return read(kind, databases=databases)
    except BadSettings as error:
        complain(f"{error}\nRun this where the system was started (make up), or set these.")
        raise typer.Exit(2) from None


def run(work: Coroutine[Any, Any, Result], *expected: type[Exception], failed: int = 1) -> Result:
    """Run a command's work.

    For `expected` errors and outages of dependencies, print one line and exit with `failed`.
    """
    try:
        return asyncio.run(work)
    except (NotRunning, Outage, OSError, *_of_the_drivers(), *expected) as error:
        complain(_sentence(error))
        raise typer.Exit(failed) from None


def _of_the_drivers() -> tuple[type[Exception], ...]:
    """Return the drivers' errors. Python evaluates this, and so imports them, only on an error."""
    from aiormq.exceptions import AMQPError

    from cartwheel.kernel.servers import Unusable

    return AMQPError, Unusable


def output() -> Console:
    """Return the console for a command's output.

    It is as wide as the terminal. In a pipe or a file, it has no limit, so that no line is broken.
    """
    console = Console()
    if not console.file.isatty():
        console.width = _NO_LIMIT
    return console


def say_done(text: str) -> None:
    output().print(Text.assemble(("✓", "green"), f" {text}"), soft_wrap=True)


def _sentence(error: Exception) -> str:
    """Return the text to print for `error`."""
    from aiormq.exceptions import AMQPError

    from cartwheel.kernel.servers import Unusable, why

    if isinstance(error, AMQPError):
        return why("RABBITMQ_URL", os.environ["RABBITMQ_URL"], error)
    if isinstance(error, Unusable):
        return error.in_full()
    if isinstance(error, Refusal):
        more = [each.message for each in error.errors if each.message != error.detail]
        return " ".join([error.detail, *more])
    return str(error) or type(error).__name__


def complain(text: str) -> None:
    told = Text.assemble(("✗", "red"), f" {text}")
    Console(stderr=True).print(told, soft_wrap=True)


def user() -> str:
    """Return the name of the operating system's user who runs the command."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a user id without a name
        return str(number)
