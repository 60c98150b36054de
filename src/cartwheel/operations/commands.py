"""The command line of `cartwheel setup`, `demo`, `mail` and `admin`.

Each command imports its work when it starts, so `--help` does not load it.
"""

from pathlib import Path
from typing import Annotated

import typer

from cartwheel.contracts.order_number import read_number
from cartwheel.contracts.products import AdjustmentKind, StockAccount
from cartwheel.contracts.text import one_line
from cartwheel.kernel.errors import Refusal
from cartwheel.local.console import Console
from cartwheel.local.demo_users import ADMIN, PASSWORD
from cartwheel.operations import typed
from cartwheel.operations.reaching import BusSettings
from cartwheel.services import GATEWAY, SERVICES


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

    settings = typed.settings(preparation.Settings, databases=(*SERVICES, GATEWAY))
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


mail = typer.Typer(help="List the mail that was sent, send failed mail again, preview all mail.")


def order_name(given: str | None) -> str | None:
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
        typer.Option(metavar="NUMBER|ID", help="Only mail about this order.", callback=order_name),
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


@mail.command()
def preview(
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the page to this file, not to a new one."),
    ] = None,
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Write the page, and open no browser.")
    ] = False,
) -> None:
    """Show every mail that is sent, in HTML and text, on one page in the browser.

    The orders are examples. SHOP_NAME, SHOP_ADDRESS and ORDER_URL are those of the environment.
    """
    import webbrowser

    from cartwheel.notifications.settings import ShopSettings
    from cartwheel.operations import mail_preview

    try:
        page = mail_preview.written(typed.settings(ShopSettings), to)
    except OSError as error:
        typed.complain(f"the page cannot be written: {error}")
        raise typer.Exit(1) from None
    typed.say_done(f"{page}")
    if not no_open:
        webbrowser.open(page.as_uri())


stock = typer.Typer(no_args_is_help=True, help="Explain, repair and adjust stock.")

_Product = Annotated[
    str, typer.Argument(metavar="PRODUCT", help="The product's id (prd_…) or SKU.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def sentence(given: str | None) -> str | None:
    if given is not None and one_line(given, longest=500) != given:
        raise typer.BadParameter("one line of text is needed, of at most 500 characters")
    return given


@stock.command()
def explain(product: _Product, json: Json = False) -> None:
    """Show what a product's stock adds up to, line by line.

    Ends with status 1 if something does not agree.
    """
    from cartwheel.operations import stock as work

    settings = typed.settings(BusSettings)
    account = typed.run(work.explained(settings, product), Refusal)
    if json:
        work.show_json(work.account_as_json(account), typed.output())
    else:
        work.show_account(account, typed.output())
    if not account.agrees:
        raise typer.Exit(1)


@stock.command()
def repair(
    product: _Product,
    reason: Annotated[
        str | None, typer.Option(help="Why; it is kept with the correction.", callback=sentence)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    json: Json = False,
) -> None:
    """Set reserved and sold to what the reservations say, and record the difference.

    Shows both first, and asks. The available pieces stay as they are.
    """
    from cartwheel.operations import stock as work

    settings = typed.settings(BusSettings)
    console = typed.output()

    def agreed(account: StockAccount) -> bool:
        if not json:
            work.show_account(account, console)
        return yes or typer.confirm("Repair it?", abort=True, err=json)

    done = typed.run(work.repaired(settings, product, reason=reason, agreed=agreed), Refusal)
    if json:
        work.show_json(done, console)
    elif done.correction is None:
        work.show_account(done.before, console)
    else:
        work.show_repair(done, console)


@stock.command()
def adjust(
    product: _Product,
    kind: Annotated[AdjustmentKind, typer.Option(help="What has happened.")],
    reason: Annotated[
        str, typer.Option(help="Why, in a few words. It is kept.", callback=sentence)
    ],
    delta: Annotated[
        int | None, typer.Option(help="The pieces to add, or with a minus to take away.")
    ] = None,
    counted: Annotated[
        int | None, typer.Option(min=0, help="The pieces that were counted on the shelf.")
    ] = None,
    expected: Annotated[
        int | None,
        typer.Option(min=0, help="Adjust only if exactly so many pieces are on hand."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The same key and values adjust once, however often they are sent."),
    ] = None,
    json: Json = False,
) -> None:
    """Change a product's stock by --delta, or so that --counted pieces are on hand."""
    if (delta is None) == (counted is None):
        raise typer.BadParameter("give one of them", param_hint="--delta or --counted")
    from cartwheel.operations import stock as work

    settings = typed.settings(BusSettings)
    made = typed.run(
        work.adjusted(
            settings,
            product,
            kind=kind,
            reason=reason,
            delta=delta,
            counted=counted,
            expected=expected,
            key=key,
        ),
        Refusal,
    )
    if json:
        work.show_json(made, typed.output())
    else:
        work.show_adjustment(made)


orders = typer.Typer(no_args_is_help=True, help="Show and cancel orders.")

Which = Annotated[
    str,
    typer.Argument(metavar="NUMBER|ID", help="The order's number, or its id.", callback=order_name),
]


@orders.command("show")
def show_order(which: Which, json: Json = False) -> None:
    """Show an order, its payments, and all that happened to them: when, by whom and why."""
    from cartwheel.operations import orders as work

    found = typed.run(work.shown(typed.settings(BusSettings), which), Refusal)
    if json:
        work.show_json(found, typed.output())
    else:
        work.show_whole(found, typed.output())


@orders.command("cancel")
def cancel_order(
    which: Which,
    reason: Annotated[
        str,
        typer.Option(help="Why, in a few words. The customer is told.", callback=sentence),
    ],
    json: Json = False,
) -> None:
    """Cancel an order, also a paid one. Captured money is refunded. May be repeated."""
    from cartwheel.operations import orders as work

    order = typed.run(work.canceled(typed.settings(BusSettings), which, reason=reason), Refusal)
    if json:
        work.show_json(order, typed.output())
    else:
        typed.say_done(f"{order.number} is {order.status}")


admin = typer.Typer(no_args_is_help=True, help="Manage the users' permissions.")


@admin.command()
def grant(
    email: Annotated[str, typer.Argument(help="The address of a user who has signed up.")],
) -> None:
    """Make a user an admin. They must log in again to get a token that shows it."""
    from cartwheel.operations import admin as admins

    typed.run(admins.grant(email, typed.settings(admins.Settings)), admins.NotGranted)
    typed.say_done(f"{email} is an admin from the next login on")


users = typer.Typer(
    no_args_is_help=True, help="Find users; disable and enable them; make administrators."
)
Who = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="Their mail address, or their id.")]
Group = Annotated[str, typer.Argument(help="A group of the user pool.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@users.command("list")
def list_users(
    email: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Only with this mail address.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 60,
    json: AsJson = False,
) -> None:
    """List users, in no order."""
    from cartwheel.kernel.errors import Refusal
    from cartwheel.operations import users as accounts

    work = accounts.listed(
        typed.settings(accounts.Settings), limit=limit, email=email and email.strip().lower()
    )
    found = typed.run(work, Refusal)
    (accounts.show_json if json else accounts.show_list)(found, typed.output())


@users.command("show")
def show_user(who: Who, json: AsJson = False) -> None:
    """Show a user and their groups."""
    from cartwheel.kernel.errors import Refusal
    from cartwheel.operations import users as accounts

    work = accounts.shown(typed.settings(accounts.Settings), _who(who))
    user = typed.run(work, Refusal)
    if json:
        accounts.show_json(user, typed.output())
    else:
        accounts.show_one(user, typed.output())


@users.command("disable")
def disable_user(who: Who, json: AsJson = False) -> None:
    """Keep a user from logging in. Tokens that they have live for up to an hour."""
    _change_user("disable", who, "", "{email} is disabled", json=json)


@users.command("enable")
def enable_user(who: Who, json: AsJson = False) -> None:
    """Let a user who was disabled log in again."""
    _change_user("enable", who, "", "{email} can log in again", json=json)


@users.command("grant")
def grant_group(who: Who, group: Group = "admin", json: AsJson = False) -> None:
    """Put a user into a group. Their next access token says so."""
    _change_user("grant", who, group, "{email} is in the group {group}", json=json)


@users.command("revoke")
def revoke_group(who: Who, group: Group = "admin", json: AsJson = False) -> None:
    """Take a user out of a group. Tokens that they have live for up to an hour."""
    _change_user("revoke", who, group, "{email} is not in the group {group}", json=json)


def _change_user(what: str, who: str, group: str, done: str, *, json: bool) -> None:
    from cartwheel.kernel.errors import Refusal
    from cartwheel.operations import users as accounts

    settings = typed.settings(accounts.Settings)
    user = typed.run(accounts.changed(settings, what, _who(who), group), Refusal)
    if json:
        accounts.show_json(user, typed.output())
        return
    accounts.say_done(done.format(email=user.email, group=group), accounts.LATER[what])


def _who(given: str) -> str:
    """Return the mail address as it is stored, or the id."""
    return given.strip().lower()
