"""`cartwheel setup`, `demo`, `mail` and `admin`, as typed by a person."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cartwheel.local.emulated_aws import ADMIN, PASSWORD
from cartwheel.operations import admin as admins
from cartwheel.operations import demo as trial
from cartwheel.operations import mail as mails
from cartwheel.operations import setup as preparation
from cartwheel.operations import typed
from cartwheel.operations.reaching import BusSettings


def setup() -> None:
    """Declare queues and exchanges, make indexes, migrate data. May be repeated at any time."""
    settings = typed.settings(preparation.Settings)
    ran = typed.run(preparation.setup(settings))
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
    settings = typed.settings(trial.Settings)
    work = trial.demo(settings, admin=(admin_email, admin_password), console=Console())
    typed.run(work, trial.DemoFailed)


mail = typer.Typer(help="See which mail went to whom, and why; send again what has failed.")


@mail.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    order: Annotated[str | None, typer.Option(help="Only about this order (its id).")] = None,
    to: Annotated[str | None, typer.Option(help="Only to this address.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    whole: Annotated[bool, typer.Option("--whole", help="Show what they say.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List which mail went to whom, and why; or send again what has failed."""
    if context.invoked_subcommand is not None:
        return
    settings = typed.settings(BusSettings)
    page = typed.run(mails.listed(settings, limit=limit, order_id=order, to=to))
    console = Console()
    if json:
        mails.show_json(page, console)
    elif whole:
        for each in page.data:
            mails.show_whole(each, console)
    else:
        mails.show_table(page, console)


@mail.command()
def resend(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As in the list.")],
) -> None:
    """Send FAILED mails again, once the cause is fixed."""
    settings = typed.settings(BusSettings)
    typed.run(mails.resent(settings, ids, Console()), mails.NotAllSent)


admin = typer.Typer(no_args_is_help=True, help="Say who may do what.")


@admin.command()
def grant(email: Annotated[str, typer.Argument(help="Of somebody who has signed up.")]) -> None:
    """Put a user into the admin group. They log in again to get a token that says so."""
    typed.run(admins.grant(email, typed.settings(admins.Settings)), admins.NotGranted)
    Console().print(f"[green]✓[/] {escape(email)} is an admin from the next log-in on")
