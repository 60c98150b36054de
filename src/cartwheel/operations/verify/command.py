"""`cartwheel verify`, as typed by a person: 0 all is well, 1 violations, 2 it could not be done."""

from datetime import timedelta
from typing import Annotated

import typer

from cartwheel.operations import typed
from cartwheel.operations.verify.patience import Patience
from cartwheel.services import SERVICES


def verify(
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds in which what is younger may still be in flight.")
    ] = Patience().grace.total_seconds(),
    again_after: Annotated[
        float, typer.Option(min=0, help="Seconds until what disagrees is looked at again.")
    ] = 2.0,
    hold: Annotated[
        float, typer.Option(min=0, help="Seconds for which stock may be held without an order.")
    ] = Patience().orphaned_hold.total_seconds(),
    stuck_after: Annotated[
        float, typer.Option(min=0, help="Seconds after which nothing is in flight any more.")
    ] = Patience().stuck_after.total_seconds(),
) -> None:
    """Check that the promises hold for everything stored. Safe while the system runs."""
    from cartwheel.operations.verify import run
    from cartwheel.operations.verify.records import Unreadable
    from cartwheel.operations.verify.report import JsonReport, Report

    settings = typed.settings(run.Settings, databases=SERVICES)
    report = (JsonReport if json else Report)(typed.output())
    patience = Patience(
        grace=timedelta(seconds=grace),
        orphaned_hold=timedelta(seconds=hold),
        stuck_after=timedelta(seconds=stuck_after),
    )
    work = run.verify(settings, patience, timedelta(seconds=again_after), report)
    typed.run(work, Unreadable, failed=2)
    if report.by_promise:
        raise typer.Exit(1)
