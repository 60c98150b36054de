"""The command line of `cartwheel payments`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cartwheel.kernel.errors import Refusal
from cartwheel.local.console import Console
from cartwheel.operations import typed
from cartwheel.operations.commands import Json
from cartwheel.operations.reaching import BusSettings

if TYPE_CHECKING:
    from cartwheel.operations.reconciling import Result

payments = typer.Typer(no_args_is_help=True, help="Compare payments with the provider's ledger.")


@payments.callback()
def _payments() -> None:
    """Compare payments with the provider's ledger."""


@payments.command()
def reconcile(
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="A day, in UTC. Without it, yesterday and today."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the differences, and repair nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    json: Json = False,
) -> None:
    """Compare the payments of a day with the provider's ledger, and repair what can be.

    Shows the differences first, and asks. A payment is repaired by taking over what the provider
    says. Ends with status 1 if a difference is left.
    """
    from cartwheel.operations import reconciling as work

    settings = typed.settings(BusSettings)
    output = typed.output()

    def agreed(found: "Result") -> bool:
        if dry_run:
            return False
        if not json:
            work.show(found, output)
        question = f"Repair {found.repairable:,} of them?"
        return yes or typer.confirm(question, err=True)

    done = typed.run(
        work.reconciled(settings, day and day.date(), agreed=agreed, doing=Console().doing),
        Refusal,
    )
    if json:
        work.show_json(done, output)
    elif dry_run or not done.repairable:
        work.show(done, output)
    if done.count > done.left and not json:
        typed.say_done(f"{done.count - done.left:,} repaired, {done.left:,} left")
    if done.left:
        raise typer.Exit(1)
