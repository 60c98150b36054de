"""Background jobs that work through items, such as the payments to be refunded.

An item that fails waits, longer each time, and keeps no other item waiting. What is known of its
failures is stored with the item: another replica, and this one after a restart, waits as well.
Two replicas may work on one item at once, so the work must bear being repeated.
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
"""After so many it is the dependency that is down, rather than the items that are at fault."""

ITEMS_IN_A_RUN = 1000
"""So many that are new, and as many that have waited: neither keep the others waiting. The next run
takes the rest, as what this one has worked on is done or waits."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """An item's failures so far: the first one was at `since`, the last one at `at`."""

    failures: int
    since: datetime
    at: datetime
    error: str

    @property
    def due_at(self) -> datetime:
        """When the item is tried again: after 5 s, doubled each time up to 5 minutes."""
        wait = backoff(self.failures, first=FIRST_WAIT_SECONDS, longest=LONGEST_WAIT_SECONDS)
        return self.at + timedelta(seconds=wait)

    @property
    def needs_a_person(self) -> bool:
        return self.at - self.since >= NEEDS_A_PERSON_AFTER


class Item(msgspec.Struct, frozen=True):
    """Something that a job has to work on, and how it has failed before, if it has."""

    id: str
    retry: Retry | None = None


class Items(Protocol):
    """What a job has to work on. `store.due.DueItems` keeps it in MongoDB."""

    async def due(self, now: datetime, *, limit: int) -> Sequence[Item]:
        """Return up to `limit` items that have not waited yet, then as many whose wait is over."""
        ...

    async def failed(self, item: Item, retry: Retry, *, found_at: datetime) -> bool:
        """Store that `item`, which was due at `found_at`, has failed again.

        Return False if it is no longer due: it has changed since, or another replica has stored
        its failure.
        """
        ...

    async def look_again(self, ids: Sequence[str], *, at: datetime) -> None:
        """Let items that are well, and not yet done, be due again at `at`."""
        ...


async def for_each(
    job: str, items: Items, work: Callable[[str], Awaitable[object]], *, now: Clock
) -> None:
    """Do `work` for each item that is due, by its id; go on past those that fail.

    Raises:
        Exception: the outage of an item, if that was the fifth in a row; or of the items' store.
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
    """As `for_each`, for up to `size` items together. If that fails, it is done for each alone."""
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
        # One item may be at fault. Whoever meets the error again, alone, tells of it.
        return False
    return True


async def _note(
    job: str, items: Items, item: Item, error: Exception, *, found_at: datetime, at: datetime
) -> None:
    """Store the failure, and log it if it is the first one or unlike the last one."""
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
