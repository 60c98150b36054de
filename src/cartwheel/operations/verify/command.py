"""The command line of `cartwheel verify`. Exit status: 0 no violations, 1 violations, 2 failed."""

from datetime import timedelta
from typing import Annotated

import typer

from cartwheel.operations import typed
from cartwheel.operations.verify.patience import Patience
from cartwheel.services import SERVICES


def verify(
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds during which recent changes may be in flight.")
    ] = Patience().grace.total_seconds(),
    again_after: Annotated[
        float, typer.Option(min=0, help="Seconds until mismatches are checked again.")
    ] = 2.0,
    hold: Annotated[
        float, typer.Option(min=0, help="Seconds that stock may be reserved without an order.")
    ] = Patience().orphaned_reservation.total_seconds(),
    stuck_after: Annotated[
        float, typer.Option(min=0, help="Seconds after which nothing counts as in flight.")
    ] = Patience().stuck_after.total_seconds(),
) -> None:
    """Check all stored data against the promises. Safe while the system is running."""
    from cartwheel.operations.verify import run
    from cartwheel.operations.verify.records import Unreadable
    from cartwheel.operations.verify.report import JsonReport, Report

    settings = typed.settings(run.Settings, databases=SERVICES)
    report = (JsonReport if json else Report)(typed.output())
    patience = Patience(
        grace=timedelta(seconds=grace),
        orphaned_reservation=timedelta(seconds=hold),
        stuck_after=timedelta(seconds=stuck_after),
    )
    work = run.verify(settings, patience, timedelta(seconds=again_after), report)
    typed.run(work, Unreadable, failed=2)
    if report.by_promise:
        raise typer.Exit(1)
