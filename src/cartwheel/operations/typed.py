"""What every command typed by a person shares: settings, a name, what it prints, and one line for
what went wrong."""

import asyncio
import os
import pwd
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from cartwheel.kernel.errors import Outage
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.operations.reaching import NotRunning, use_running_instance

Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=msgspec.Struct)

_NO_LIMIT = 1_000_000
"""Columns; wider than anything that is printed."""


def settings(kind: type[Settings], *, databases: Iterable[str] = ()) -> Settings:
    """Return `kind` from the environment or the running instance; ends with status 2 otherwise.

    `databases` names the services whose databases the command uses.
    """
    from cartwheel.kernel.lowlevel import configure

    # A command says itself what went wrong: no log gets into what it prints.
    configure("cartwheel", "CRITICAL")
    use_running_instance()
    try:
        return read(kind, databases=databases)
    except BadSettings as error:
        complain(f"{error}\nRun this where the system was started (make up), or set these.")
        raise typer.Exit(2) from None


def run(work: Coroutine[Any, Any, Result], *mendable: type[Exception], failed: int = 1) -> Result:
    """Run a command's work.

    What users can cause or mend (the `mendable` errors, and a part that is away) is one line and
    the status `failed`.
    """
    try:
        return asyncio.run(work)
    except (NotRunning, Outage, OSError, *_of_the_drivers(), *mendable) as error:
        complain(_sentence(error))
        raise typer.Exit(failed) from None


def _of_the_drivers() -> tuple[type[Exception], ...]:
    """Return what drivers raise; evaluated once something was raised, and imported then."""
    from aiormq.exceptions import AMQPError

    from cartwheel.kernel.servers import Unusable

    return AMQPError, Unusable


def output() -> Console:
    """Return where a command prints: as wide as the terminal; into a pipe or file, without limit,
    so that nothing is broken there."""
    console = Console()
    if not console.file.isatty():
        console.width = _NO_LIMIT
    return console


def say_done(text: str) -> None:
    output().print(Text.assemble(("✓", "green"), f" {text}"), soft_wrap=True)


def _sentence(error: Exception) -> str:
    """Return what to say of `error`."""
    from aiormq.exceptions import AMQPError

    from cartwheel.kernel.servers import Unusable, why

    if isinstance(error, AMQPError):
        return why("RABBITMQ_URL", os.environ["RABBITMQ_URL"], error)
    if isinstance(error, Unusable):
        return error.in_full()
    return str(error) or type(error).__name__


def complain(text: str) -> None:
    told = Text.assemble(("✗", "red"), f" {text}")
    Console(stderr=True).print(told, soft_wrap=True)


def user() -> str:
    """Return who typed the command, as the operating system knows them."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(number)
