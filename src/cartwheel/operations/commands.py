"""`cartwheel setup`, `demo`, `mail` and `admin`, as typed by a person.

Each command imports its work when it begins: `--help` does without.
"""

from typing import Annotated

import typer

from cartwheel.contracts.order_number import read_number
from cartwheel.local.console import Console
from cartwheel.local.demo_users import ADMIN, PASSWORD
from cartwheel.operations import typed
from cartwheel.operations.reaching import BusSettings
from cartwheel.services import SERVICES


def setup(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    drop_older: Annotated[
        bool,
        typer.Option(
            "--drop-older",
            help="Delete the queues that only the version before uses: after an upgrade.",
        ),
    ] = False,
) -> None:
    """Declare queues and exchanges, make indexes, migrate data. May be repeated at any time.

    Where RabbitMQ is a cluster: give each queue its members on three nodes, drop those on forgotten
    nodes, and spread the leaders. That needs RABBITMQ_MANAGEMENT_URL, or rabbitmqctl on PATH.
    """
    from cartwheel.operations import setup as preparation
    from cartwheel.operations import shown_setup

    settings = typed.settings(preparation.Settings, databases=SERVICES)
    work = preparation.setup(
        settings, dry_run=dry_run, drop_older=drop_older, doing=Console().doing
    )
    shown_setup.show(typed.run(work), dry_run=dry_run)


def demo(
    admin_email: Annotated[
        str, typer.Option(help="Who creates the products.", envvar="DEMO_ADMIN_EMAIL")
    ] = ADMIN,
    admin_password: Annotated[
        str, typer.Option(help="Their password.", envvar="DEMO_ADMIN_PASSWORD", show_default=False)
    ] = PASSWORD,
) -> None:
    """Sign up, order, pay and get the mail, on the running system. Shows each step."""
    from cartwheel.operations import demo as trial

    settings = typed.settings(trial.Settings)
    work = trial.demo(settings, admin=(admin_email, admin_password), console=typed.output())
    typed.run(work, trial.DemoFailed)


mail = typer.Typer(help="See which mail went to whom, and why; send again what has failed.")


def _order(given: str | None) -> str | None:
    """Return an order's number as it is written, or its id."""
    if given is None or given.startswith("ord_"):
        return given
    number = read_number(given)
    if number is None:
        raise typer.BadParameter(
            f"{given} is neither an order's number (such as K7QM3-XWD9A) nor its id (ord_…)"
        )
    return number


@mail.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    order: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|ID", help="Only about this order.", callback=_order),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Only to this address.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    whole: Annotated[bool, typer.Option("--whole", help="Show what they say.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List which mail went to whom, and why; or send again what has failed."""
    if context.invoked_subcommand is not None:
        return
    from cartwheel.operations import mail as mails

    settings = typed.settings(BusSettings)
    page = typed.run(mails.listed(settings, limit=limit, order=order, to=to))
    console = typed.output()
    if json:
        mails.show_json(page, console)
    elif not page.data:
        mails.show_none(console, order=order, to=to)
    elif whole:
        for each in page.data:
            mails.show_whole(each, console)
    else:
        mails.show_list(page, console)


@mail.command()
def resend(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As in the list.")],
) -> None:
    """Send FAILED mails again, once the cause is fixed."""
    from cartwheel.operations import mail as mails

    settings = typed.settings(BusSettings)
    typed.run(mails.resent(settings, ids), mails.NotAllSent)


admin = typer.Typer(no_args_is_help=True, help="Say who may do what.")


@admin.command()
def grant(email: Annotated[str, typer.Argument(help="Of somebody who has signed up.")]) -> None:
    """Put a user into the admin group. They log in again to get a token that says so."""
    from cartwheel.operations import admin as admins

    typed.run(admins.grant(email, typed.settings(admins.Settings)), admins.NotGranted)
    typed.say_done(f"{email} is an admin from the next log-in on")
