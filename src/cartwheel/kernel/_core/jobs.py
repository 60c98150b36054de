"""Background jobs that work through items, such as payments to refund.

An item that fails is retried after a pause that grows each time, and does not delay other items.
Its failures are stored with the item, so that all replicas wait, even after a restart. Two replicas
may work on the same item at once, so the work must be idempotent.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from cartwheel.kernel._core.backoff import backoff
from cartwheel.kernel._core.messages import Clock
from cartwheel.kernel._core.outages import is_outage
from cartwheel.kernel._core.telemetry import log

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 300.0

NEEDS_A_PERSON_AFTER = timedelta(hours=24)

OUTAGES_IN_A_ROW = 5
"""After this many, the dependency is assumed to be down, rather than the items at fault."""

ITEMS_IN_A_RUN = 1000
"""The most new items in a run, and the most retried ones: neither kind starves the other. The next
run takes the rest."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """An item's failures so far: the first at `since`, the last at `at`."""

    failures: int
    since: datetime
    at: datetime
    error: str

    @property
    def due_at(self) -> datetime:
        """When the item is retried: after 5 s, then doubled each time, up to 5 minutes."""
        wait = backoff(self.failures, first=FIRST_WAIT_SECONDS, longest=LONGEST_WAIT_SECONDS)
        return self.at + timedelta(seconds=wait)

    @property
    def needs_a_person(self) -> bool:
        return self.at - self.since >= NEEDS_A_PERSON_AFTER


class Item(msgspec.Struct, frozen=True):
    """Something for a job to work on, with its earlier failures, if any."""

    id: str
    retry: Retry | None = None


class Items(Protocol):
    """The items of a job. `_store.due.DueItems` stores them in MongoDB."""

    async def due(self, now: datetime, *, limit: int) -> Sequence[Item]:
        """Return up to `limit` new items, then up to `limit` items whose pause is over."""
        ...

    async def failed(self, item: Item, retry: Retry, *, found_at: datetime) -> bool:
        """Store a failure of `item`, which was due at `found_at`.

        Return False if it is no longer due: it has changed, or another replica has stored its
        failure.
        """
        ...

    async def look_again(self, ids: Sequence[str], *, at: datetime) -> None:
        """Make items that have not failed, but are not done either, due again at `at`."""
        ...


async def for_each(
    job: str, items: Items, work: Callable[[str], Awaitable[object]], *, now: Clock
) -> None:
    """Run `work` with the id of each item that is due. A failed item does not stop the others.

    Raises:
        Exception: the fifth outage in a row, or an outage of the items' store.
    """

    async def work_on_one(ids: list[str]) -> None:
        await work(ids[0])

    await in_batches(job, items, work_on_one, now=now, size=1)


async def in_batches(
    job: str,
    items: Items,
    work: Callable[[list[str]], Awaitable[object]],
    *,
    now: Clock,
    size: int,
) -> None:
    """As `for_each`, but for up to `size` items at once. If a batch fails, run each item alone."""
    found_at = now()
    due = await items.due(found_at, limit=ITEMS_IN_A_RUN)
    outages = 0
    for start in range(0, len(due), size):
        batch = due[start : start + size]
        if len(batch) > 1 and await _succeeds(work, batch):
            outages = 0
            continue
        for item in batch:
            try:
                await work([item.id])
            except Exception as error:
                await _note(job, items, item, error, found_at=found_at, at=now())
                outages = outages + 1 if is_outage(error) else 0
                if outages == OUTAGES_IN_A_ROW:
                    raise
            else:
                outages = 0


async def _succeeds(work: Callable[[list[str]], Awaitable[object]], batch: Sequence[Item]) -> bool:
    try:
        await work([item.id for item in batch])
    except Exception:
        # One item may be at fault. It will fail again when it runs alone, and is reported then.
        return False
    return True


async def _note(
    job: str, items: Items, item: Item, error: Exception, *, found_at: datetime, at: datetime
) -> None:
    """Store the failure. Log it if it is the first, or differs from the last."""
    before = item.retry
    retry = Retry(
        failures=before.failures + 1 if before else 1,
        since=before.since if before else at,
        at=at,
        error=f"{type(error).__name__}: {error}"[:200],
    )
    if not await items.failed(item, retry, found_at=found_at):
        return
    if before is None or before.error != retry.error:
        log.warning(
            "item failed and will be tried again",
            job=job,
            item=item.id,
            error=retry.error,
            exc_info=None if is_outage(error) else error,
        )
    if retry.needs_a_person and not (before and before.needs_a_person):
        log.error(
            "item needs a person", job=job, item=item.id, since=retry.since, error=retry.error
        )
