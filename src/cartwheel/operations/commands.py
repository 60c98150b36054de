"""The command line of `cartwheel setup`, `demo`, `mail` and `admin`.

Each command imports its work when it starts, so `--help` does not load it.
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
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
    drop_older: Annotated[
        bool,
        typer.Option(
            "--drop-older",
            help="After an upgrade, delete the queues that only the previous version uses.",
        ),
    ] = False,
) -> None:
    """Declare queues and exchanges, create indexes, migrate data. May be repeated at any time.

    On a RabbitMQ cluster, it also gives each queue members on three nodes, removes members on
    forgotten nodes, and spreads the leaders. That needs RABBITMQ_MANAGEMENT_URL, or rabbitmqctl on
    PATH.
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
        str, typer.Option(help="The admin who creates the products.", envvar="DEMO_ADMIN_EMAIL")
    ] = ADMIN,
    admin_password: Annotated[
        str, typer.Option(help="Their password.", envvar="DEMO_ADMIN_PASSWORD", show_default=False)
    ] = PASSWORD,
) -> None:
    """Sign up, place an order, pay, and get the mail on the running system, step by step."""
    from cartwheel.operations import demo as trial

    settings = typed.settings(trial.Settings)
    work = trial.demo(settings, admin=(admin_email, admin_password), console=typed.output())
    typed.run(work, trial.DemoFailed)


mail = typer.Typer(help="List the mail that was sent, and send failed mail again.")


def _order(given: str | None) -> str | None:
    """Return the order's number in its normal form, or the order's id."""
    if given is None or given.startswith("ord_"):
        return given
    number = read_number(given)
    if number is None:
        raise typer.BadParameter(
            f"{given} is neither an order number (such as K7QM3-XWD9A) nor an order id (ord_…)"
        )
    return number


@mail.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    order: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|ID", help="Only mail about this order.", callback=_order),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Only mail to this address.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The largest number to list.")] = 20,
    whole: Annotated[bool, typer.Option("--whole", help="Show the text of each mail.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the mail that was sent, to whom, and why; or send failed mail again."""
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
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="The id, as `mail` lists it.")],
) -> None:
    """Send FAILED mail again, after the cause is fixed."""
    from cartwheel.operations import mail as mails

    settings = typed.settings(BusSettings)
    typed.run(mails.resent(settings, ids), mails.NotAllSent)


admin = typer.Typer(no_args_is_help=True, help="Manage the users' permissions.")


@admin.command()
def grant(
    email: Annotated[str, typer.Argument(help="The address of a user who has signed up.")],
) -> None:
    """Make a user an admin. They must log in again to get a token that shows it."""
    from cartwheel.operations import admin as admins

    typed.run(admins.grant(email, typed.settings(admins.Settings)), admins.NotGranted)
    typed.say_done(f"{email} is an admin from the next login on")
