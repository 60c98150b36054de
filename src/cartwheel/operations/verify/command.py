"""`cartwheel verify`, as typed by a person: 0 all is well, 1 violations, 2 it could not be done."""

import time
from collections import Counter
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from cartwheel.kernel.settings import AmqpUrl, MongodbUri
from cartwheel.kernel.store import client as mongodb
from cartwheel.operations import typed
from cartwheel.operations.verify import passes, queues, reading
from cartwheel.operations.verify.case import Patience
from cartwheel.operations.verify.ledger import LedgerSettings
from cartwheel.operations.verify.passes import World
from cartwheel.operations.verify.reading import Databases
from cartwheel.operations.verify.records import Unreadable
from cartwheel.operations.verify.report import JsonReport, Report, Summary
from cartwheel.operations.verify.spool import Spool


class Settings(LedgerSettings, frozen=True, kw_only=True):
    mongodb_uri: MongodbUri
    rabbitmq_url: AmqpUrl


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
    settings = typed.settings(Settings)
    report = (JsonReport if json else Report)(Console())
    patience = Patience(
        grace=timedelta(seconds=grace),
        orphaned_hold=timedelta(seconds=hold),
        stuck_after=timedelta(seconds=stuck_after),
    )
    typed.run(
        _verify(settings, patience, timedelta(seconds=again_after), report), Unreadable, failed=2
    )
    if report.by_promise:
        raise typer.Exit(1)


async def _verify(
    settings: Settings, patience: Patience, again_after: timedelta, report: Report
) -> None:
    async with (
        mongodb.connect(settings.mongodb_uri, process="verify", timeout=None) as client,
        queues.reach(settings.rabbitmq_url) as waiting,
    ):
        with Spool() as spool:
            world = World(
                databases=Databases.named(client),
                ledger=settings,
                queues=waiting,
                spool=spool,
                patience=patience,
                again_after=again_after,
            )
            report.end(await _watched(world, report))


async def _watched(world: World, report: Report) -> Summary:
    """Run it, on a terminal with a progress bar; return the sums."""
    began = time.monotonic()
    looked_at: Counter[str] = Counter()
    totals = await reading.about_how_many(world.databases)
    errors = Console(stderr=True)
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(
        *columns, console=errors, disable=not errors.is_terminal, transient=True
    ) as progress:
        tasks = {name: progress.add_task(name, total=total) for name, total in totals.items()}

        def advance(name: str, count: int) -> None:
            if count:
                looked_at[name] += count
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=None)
            progress.advance(tasks[name], count)

        excused, noticed = await passes.verify(world, tell=report.tell, progress=advance)
    return Summary(
        looked_at=dict(looked_at),
        in_flight=excused.in_flight,
        waiting=await world.queues.waiting(),
        parked=await world.queues.parked(),
        waiting_for_parked=excused.parked,
        refunds_pending=await reading.refunds_pending(world.databases),
        noticed=noticed,
        seconds=round(time.monotonic() - began, 3),
    )
