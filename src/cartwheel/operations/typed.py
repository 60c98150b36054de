"""What every command typed by a person shares: settings, a name, one line for what went wrong."""

import asyncio
import os
import pwd
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import typer
from aiormq.exceptions import AMQPError
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.markup import escape

from cartwheel.kernel import telemetry
from cartwheel.kernel.errors import Outage
from cartwheel.kernel.servers import Unusable, why
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.operations.reaching import NotRunning, use_running_instance

Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=msgspec.Struct)

_EXPECTED = (NotRunning, Unusable, Outage, OSError, AMQPError, PyMongoError)


def settings(kind: type[Settings]) -> Settings:
    """Return `kind` from the environment or the running instance; ends with status 2 otherwise."""
    telemetry.configure("cartwheel", "ERROR")
    use_running_instance()
    try:
        return read(kind)
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
    except (*_EXPECTED, *mendable) as error:
        complain(_sentence(error))
        raise typer.Exit(failed) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _sentence(error: Exception) -> str:
    """Return what to say of `error`."""
    if isinstance(error, PyMongoError):
        return why("MONGODB_URI", os.environ["MONGODB_URI"], error)
    if isinstance(error, AMQPError):
        return why("RABBITMQ_URL", os.environ["RABBITMQ_URL"], error)
    if isinstance(error, Unusable):
        return error.in_full()
    return str(error) or type(error).__name__


def complain(text: str) -> None:
    Console(stderr=True).print(f"[red]✗[/] {escape(text)}", highlight=False)


def user() -> str:
    """Return who typed the command, as the operating system knows them."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container may run as a number without a name
        return str(number)
