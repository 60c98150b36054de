"""The relay publishes the events in the outboxes of a service's collections.

Each process publishes the events that it has written, as soon as they are stored: a document's
events in order (each after the confirm of the one before), many documents concurrently. Once a
second it removes published events from the outboxes, in bulk. A crash in between publishes them
again: at least once. If a process dies first, the sweep finds its events: one replica per service,
which holds a lease, looks for them.

Order: no event is first published before an earlier event of its document. An event is published
from memory if it is its document's first, or if this process has published the one before it, as
the numbers show. Otherwise the relay reads the outbox, after this process's own write. So it also
finds events that another replica wrote earlier and has not removed yet.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel._amqp.interface import NotTaken, Unroutable
from cartwheel.kernel._bus.publishing import Publisher
from cartwheel.kernel._bus.wire import StoredEvent
from cartwheel.kernel._core.ids import earliest_id, new_id
from cartwheel.kernel._core.outages import is_outage
from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel._store import group, lease
from cartwheel.kernel._store.client import Database, Document
from cartwheel.kernel._store.outbox import UNPUBLISHED, Filled, Outboxes

CLEAR_EVERY_SECONDS = 1.0
"""Seconds between removals of published events from the outboxes."""

SWEEP_EVERY_SECONDS = 2.0
LEFT_BEHIND_SECONDS = 4.0
"""Seconds after which an event in an outbox counts as left behind. Its id holds the time, by the
writer's clock; a wrong clock delays or repeats an event. The sweep also repeats what a healthy
replica takes more than 3 s longer for than `CLEAR_EVERY_SECONDS`."""

CONFIRM_TIMEOUT_SECONDS = 10.0
"""Seconds. A publish in flight when RabbitMQ goes down can hang; it is simply repeated."""

REPEAT_AFTER_SECONDS = 0.5
"""Seconds before a failed document is published again."""

STOP_WITHIN_SECONDS = 1.0
"""Seconds at shutdown for publishing the last events."""

BATCH_DOCUMENTS = 256
"""Documents whose outboxes are cleared by one command."""

REMEMBERED = 10_000
"""Documents whose last published event this process remembers. For others it reads the outbox,
unless an event is the document's first."""

_LEASE = "relay"


class Last(NamedTuple):
    """The last event that this process has published of a document."""

    id: str
    sequence: int


class Relay:
    def __init__(
        self,
        database: Database,
        collections: Sequence[str],
        publisher: Publisher,
        outboxes: Outboxes,
    ) -> None:
        self._database = database
        self._collections = {name: database[name] for name in collections}
        self._publisher = publisher
        self._outboxes = outboxes
        self._outbox_of = {
            name: group.finds(collection, "_id", outbox=1)
            for name, collection in self._collections.items()
        }
        self._publishing: set[asyncio.Task[None]] = set()
        self._last: OrderedDict[Filled, Last] = OrderedDict()
        self._published: defaultdict[Filled, set[str]] = defaultdict(set)
        self._left: dict[Filled, str] = {}
        self._some_published = asyncio.Event()
        self._holder = new_id("relay")
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._keep_on(work))
            for work in (self._publish_filled, self._clear_published, self._sweep)
        ]

    async def stop(self) -> None:
        """Publish what is in progress and release the lease."""
        if not self._tasks:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_SECONDS):
                await self._outboxes.none()
        ending = (*self._tasks, *self._publishing)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await self._clear()
                await lease.drop(self._database, _LEASE, self._holder)

    async def _keep_on(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                return
            except Exception as error:
                if is_outage(error):
                    log.warning("relay waits", error=repr(error))
                else:
                    log.exception("relay failed and starts again")
            await asyncio.sleep(1)

    async def _sweep(self) -> None:
        """Look for events left behind, unless another replica does."""
        while True:
            # A replica that cannot publish leaves the lease to others.
            await self._publisher.opened()
            if await lease.take(self._database, _LEASE, self._holder):
                left = {"$lt": earliest_id("evt", time.time() - LEFT_BEHIND_SECONDS)}
                for name, collection in self._collections.items():
                    found = collection.find({"outbox.id": left, **UNPUBLISHED}, {"_id": 1})
                    self._outboxes.filled(name, [document["_id"] async for document in found])
            await asyncio.sleep(SWEEP_EVERY_SECONDS)

    async def _publish_filled(self) -> None:
        while True:
            await self._outboxes.some()
            await self._publisher.opened()
            for filled, stored in self._outboxes.take().items():
                publishing = asyncio.create_task(self._publish(filled, stored))
                self._publishing.add(publishing)
                publishing.add_done_callback(self._publishing.discard)

    async def _publish(self, filled: Filled, stored: Sequence[Document]) -> None:
        """Publish a document's events: `stored` if they come next, otherwise its outbox."""
        collection, document_id = filled
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT_SECONDS):
                if not self._are_next(filled, stored):
                    found = await self._outbox_of[collection].submit(document_id)
                    stored = found.get("outbox", ())
                await self._publish_in_order(filled, stored)
        except Exception as error:
            passes = is_outage(error) or isinstance(error, NotTaken)
            tell = log.warning if passes else log.exception
            tell("publishing will be repeated", document=document_id, error=repr(error))
            await asyncio.sleep(REPEAT_AFTER_SECONDS)
            self._outboxes.filled(collection, [document_id])
        finally:
            self._outboxes.done(filled)

    def _are_next(self, filled: Filled, stored: Sequence[Document]) -> bool:
        """Return whether `stored` is not empty and all earlier events are certainly published.

        A document's events are numbered from 1 without gaps, by the write that stores them. A
        process that has published number n knows that all earlier ones are published.
        """
        if not stored:
            return False
        last = self._last.get(filled)
        return stored[0]["sequence"] == (last.sequence if last else 0) + 1

    async def _publish_in_order(self, filled: Filled, outbox: Sequence[Document]) -> None:
        """Publish a document's events, each after the confirm of the one before.

        Events that have no queue or cannot be read are left to the sweep.

        Raises:
            Exception: RabbitMQ is down or has not confirmed. Repeat it soon.
        """
        events, fault = _unpublished(outbox, self._last.get(filled))
        for event in events:
            try:
                await self._publisher.publish(event)
            except Unroutable:
                self._leave(filled, f"no queue takes {event.type}: run `cartwheel setup`")
                return
            self._note(filled, event)
        if fault is None:
            self._left.pop(filled, None)
        else:
            self._leave(filled, f"it cannot be read: {fault}")

    def _note(self, filled: Filled, event: StoredEvent) -> None:
        """Note that `event` and all before it are published."""
        self._published[filled].add(event.id)
        self._some_published.set()
        self._last[filled] = Last(event.id, event.sequence)
        self._last.move_to_end(filled)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def _leave(self, filled: Filled, why: str) -> None:
        """Leave a document to the sweep. Log the reason once, though each sweep finds it again."""
        if self._left.get(filled) != why:
            self._left[filled] = why
            collection, document_id = filled
            log.error(
                "event left unpublished", why=why, collection=collection, document=document_id
            )

    async def _clear_published(self) -> None:
        while True:
            await self._some_published.wait()
            await asyncio.sleep(CLEAR_EVERY_SECONDS)
            await self._clear()
            if not self._published:
                self._some_published.clear()

    async def _clear(self) -> None:
        """Remove published events from the outboxes."""
        for name, collection in self._collections.items():
            documents = [filled for filled in self._published if filled[0] == name]
            for start in range(0, len(documents), BATCH_DOCUMENTS):
                await self._clear_some(collection, documents[start : start + BATCH_DOCUMENTS])

    async def _clear_some(
        self, collection: AsyncCollection[Document], documents: list[Filled]
    ) -> None:
        cleared = {filled: frozenset(self._published[filled]) for filled in documents}
        event_ids = [event_id for event_ids in cleared.values() for event_id in event_ids]
        await collection.update_many(
            {"_id": {"$in": [document_id for _, document_id in documents]}},
            {"$pull": {"outbox": {"id": {"$in": event_ids}}}},
        )
        for filled, event_ids in cleared.items():
            self._published[filled] -= event_ids
            if not self._published[filled]:
                del self._published[filled]


def _unpublished(
    outbox: Sequence[Document], last: Last | None
) -> tuple[list[StoredEvent], msgspec.ValidationError | None]:
    """Return the readable events after `last` in `outbox`, and the error of the first bad one."""
    events: list[StoredEvent] = []
    for stored in outbox:
        try:
            event = msgspec.convert(stored, StoredEvent)
        except msgspec.ValidationError as error:
            return events, error
        events.append(event)
        if last and event.id == last.id:
            events.clear()
    return events, None
