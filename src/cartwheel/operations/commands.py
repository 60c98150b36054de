"""`cartwheel setup`, `demo`, `mail` and `admin`, as typed by a person."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from aiormq.exceptions import AMQPError
from botocore.exceptions import BotoCoreError, ClientError
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.markup import escape

from cartwheel.kernel import telemetry
from cartwheel.kernel.errors import Outage
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.local.emulated_aws import ADMIN, PASSWORD
from cartwheel.operations import admin as admins
from cartwheel.operations import demo as trial
from cartwheel.operations import mail as mails
from cartwheel.operations import setup as preparation
from cartwheel.operations.reaching import BusSettings, NotRunning, use_running_instance

Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=msgspec.Struct)

_EXPECTED = (
    NotRunning,
    trial.DemoFailed,
    admins.NoSuchUser,
    Outage,
    OSError,
    AMQPError,
    PyMongoError,
    BotoCoreError,
    ClientError,
)


def setup() -> None:
    """Declare queues and exchanges, make indexes, migrate data. May be repeated at any time."""
    settings = _settings(preparation.Settings)
    ran = _run(preparation.setup(settings))
    for name, count in ran.items():
        Console().print(f"{name}: {count} migrations" if count else f"{name}: up to date")


def demo(
    admin_email: Annotated[
        str, typer.Option(help="Who creates the products.", envvar="DEMO_ADMIN_EMAIL")
    ] = ADMIN,
    admin_password: Annotated[
        str, typer.Option(help="Their password.", envvar="DEMO_ADMIN_PASSWORD", show_default=False)
    ] = PASSWORD,
) -> None:
    """Sign up, order, pay and get the mail, on the running system; show each step."""
    settings = _settings(trial.Settings)
    _run(trial.demo(settings, admin=(admin_email, admin_password), console=Console()))


def mail(
    order: Annotated[str | None, typer.Option(help="Only about this order (its id).")] = None,
    to: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    whole: Annotated[bool, typer.Option("--whole", help="Show what they say.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List which mail went to whom, and why."""
    settings = _settings(BusSettings)
    page = _run(mails.listed(settings, limit=limit, order_id=order, to=to))
    console = Console()
    if json:
        mails.show_json(page, console)
    elif whole:
        for each in page.data:
            mails.show_whole(each, console)
    else:
        mails.show_table(page, console)


admin = typer.Typer(no_args_is_help=True, help="Say who may do what.")


@admin.command()
def grant(email: Annotated[str, typer.Argument(help="Of somebody who has signed up.")]) -> None:
    """Put a user into the admin group. They log in again to get a token that says so."""
    _run(admins.grant(email, _settings(admins.Settings)))
    Console().print(f"[green]✓[/] {escape(email)} is an admin from the next log-in on")


def _settings(kind: type[Settings]) -> Settings:
    telemetry.configure("cartwheel", "ERROR")
    use_running_instance()
    try:
        return read(kind)
    except BadSettings as error:
        _complain(f"{error}\nRun this where the system was started (make up), or set these.")
        raise typer.Exit(2) from None


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work; what users can cause or mend is one line, not a traceback."""
    try:
        return asyncio.run(work)
    except _EXPECTED as error:
        _complain(str(error) or type(error).__name__)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _complain(text: str) -> None:
    Console(stderr=True).print(f"[red]✗[/] {escape(text)}", highlight=False)
