"""A run on the running system: connect, verify, report. A terminal shows a progress bar."""

import time
from collections import Counter
from datetime import timedelta

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from cartwheel.kernel import mongodb
from cartwheel.kernel.settings import AmqpUrl, DatabaseAddresses, DatabasePrefix
from cartwheel.operations.verify import passes, queues, reading
from cartwheel.operations.verify.ledger import LedgerSettings
from cartwheel.operations.verify.passes import World
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.reading import Databases
from cartwheel.operations.verify.report import Report, Summary
from cartwheel.operations.verify.spool import Spool


class Settings(LedgerSettings, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl


async def verify(
    settings: Settings, patience: Patience, again_after: timedelta, report: Report
) -> None:
    async with (
        mongodb.opened(
            settings.databases,
            process="verify",
            prefix=settings.mongodb_database_prefix,
            timeout=None,
        ) as databases,
        queues.reach(settings.rabbitmq_url) as waiting,
    ):
        with Spool() as spool:
            world = World(
                databases=Databases.of(databases),
                ledger=settings,
                queues=waiting,
                spool=spool,
                patience=patience,
                again_after=again_after,
            )
            report.end(await _watched(world, report))


async def _watched(world: World, report: Report) -> Summary:
    """Verify, with a progress bar on a terminal; return the totals."""
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
        parked=await world.queues.count_dead_letters(),
        waiting_for_parked=excused.dead_lettered,
        refunds_pending=await reading.refunds_pending(world.databases),
        noticed=noticed,
        seconds=round(time.monotonic() - began, 3),
    )
