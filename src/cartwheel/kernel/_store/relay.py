"""The relay publishes what lies in the outboxes of a service's collections.

Each process publishes what it has written itself, as soon as it is stored: each document's events
in order (the next one after the last is confirmed), many documents at once. Once a second
it takes out what is published, in bulk. A crash in between publishes again: at least once. What a
process left behind when it died, one replica per service finds by looking, by a lease.

Order: no event is ahead of an earlier one of its document when it is published for the first time.
An event goes out from memory if it is its document's first, or if this process has published the
one before it: their numbers tell. All else is read from the outbox, after this process's own
write, and so with what another replica wrote before and has not taken out yet.
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
"""Seconds for which published events are gathered before they are taken out of the outboxes."""

SWEEP_EVERY_SECONDS = 2.0
LEFT_BEHIND_SECONDS = 4.0
"""Seconds after which an event that is still in its outbox is nobody's. Told by its id, hence by
the clock of whoever wrote it; one that is wrong delays an event, or repeats it. What another
replica that is well takes more than 3 s longer for than `CLEAR_EVERY_SECONDS`, the sweep
repeats."""

CONFIRM_TIMEOUT_SECONDS = 10.0
"""Seconds. A publish in flight when the broker goes can hang; it is simply repeated."""

REPEAT_AFTER_SECONDS = 0.5
"""Seconds after which a document is published again that could not be."""

STOP_WITHIN_SECONDS = 1.0
"""Seconds for publishing what was written last."""

BATCH_DOCUMENTS = 256
"""Documents whose outboxes are cleared by one command."""

REMEMBERED = 10_000
"""Documents of which this process knows what it has published last. Of others it reads the outbox,
unless an event is the first one."""

_LEASE = "relay"


class Last(NamedTuple):
    """The last event of a document that this process has published."""

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
        """Publish what is in hand and give the lease up."""
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
        """Look for what was left behind, as long as no other replica does."""
        while True:
            # Whoever could not publish what it finds leaves the lease to others.
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
        """Publish a document's events: `stored` if they are the next ones, else its outbox."""
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
        """Return whether `stored` is known, and all events before it are certainly published.

        A document's events are numbered from 1 without a gap, by the write that stores them. Who
        has published number n has published or found published all before it.
        """
        if not stored:
            return False
        last = self._last.get(filled)
        return stored[0]["sequence"] == (last.sequence if last else 0) + 1

    async def _publish_in_order(self, filled: Filled, outbox: Sequence[Document]) -> None:
        """Publish a document's events, the next one after the last is confirmed.

        What has no queue, and what cannot be read, is left to the sweep.

        Raises:
            Exception: RabbitMQ is away, or has not confirmed; to be repeated soon.
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
        """Leave a document to the sweep, which will come upon it every time: say why only once."""
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
        """Take what is published out of the outboxes."""
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
    """Return what follows the `last` event in `outbox`, and what is wrong with the next one."""
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
