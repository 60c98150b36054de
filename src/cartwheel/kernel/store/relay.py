"""The relay publishes what lies in the outboxes of a service's collections.

Each process publishes what it has written itself, as soon as it is stored: one loop reads those
outboxes, publishes each document's events in order (the next one after the last is confirmed),
many documents at once; another takes out what is published, in bulk. A crash in between publishes
again: at least once. What a process left behind when it died, one copy per service finds by
looking, by a lease.

Order: whoever publishes reads the outbox after its own write, and so finds there what another copy
wrote before and has not taken out yet. Events may be repeated, but no event is ahead of an earlier
one of its document when it is published for the first time.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel.amqp.interface import Unroutable
from cartwheel.kernel.bus.publishing import Publisher
from cartwheel.kernel.bus.wire import StoredEvent
from cartwheel.kernel.ids import earliest_id, new_id
from cartwheel.kernel.outages import is_outage
from cartwheel.kernel.store import lease
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.outbox import UNPUBLISHED, Filled, Outboxes
from cartwheel.kernel.telemetry import log

CLEAR_EVERY = 0.25
"""Seconds for which published events are gathered before they are taken out of the outboxes."""

SWEEP_EVERY = 2.0
LEFT_BEHIND = 3.0
"""Seconds after which an event that is still in its outbox is nobody's. Told by its id, hence by
the clock of whoever wrote it; one that is wrong delays an event, or repeats it."""

CONFIRM_TIMEOUT = 10.0
"""Seconds. A publish in flight when the broker goes can hang; it is simply repeated."""

STOP_WITHIN = 1.0
"""Seconds for publishing what was written last."""

BATCH = 256
"""Documents whose outboxes are read, published or cleared together."""

_LEASE = "relay"


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
        self._in_hand: list[Filled] = []
        self._published: defaultdict[Filled, set[str]] = defaultdict(set)
        self._left: dict[Filled, str] = {}
        self._some_published = asyncio.Event()
        self._holder = new_id("relay")
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._keep_on(work))
            for work in (self._publish_filled, self._clear_published, self._sweep)
        ]

    async def stop(self) -> None:
        """Publish what is in hand and give the lease up."""
        if not self._tasks:
            return
        self._stopping = True
        publishing = self._tasks[0]
        if self._outboxes or self._in_hand:
            await asyncio.wait({publishing}, timeout=STOP_WITHIN)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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
        """Look for what was left behind, as long as no other copy does."""
        while True:
            # Whoever could not publish what it finds leaves the lease to others.
            await self._publisher.opened()
            if await lease.take(self._database, _LEASE, self._holder):
                left = {"$lt": earliest_id("evt", time.time() - LEFT_BEHIND)}
                for name, collection in self._collections.items():
                    found = collection.find({"outbox.id": left, **UNPUBLISHED}, {"_id": 1})
                    self._outboxes.filled(name, [document["_id"] async for document in found])
            await asyncio.sleep(SWEEP_EVERY)

    async def _publish_filled(self) -> None:
        while self._outboxes or not self._stopping:
            self._in_hand = await self._outboxes.take(BATCH)
            try:
                await self._publisher.opened()
                for name in self._collections:
                    ids = [document_id for owner, document_id in self._in_hand if owner == name]
                    if ids:
                        await self._publish(name, ids)
            except BaseException:
                for name, document_id in self._in_hand:
                    self._outboxes.filled(name, [document_id])
                raise
            finally:
                self._in_hand = []

    async def _publish(self, name: str, ids: list[str]) -> None:
        query = {"_id": {"$in": ids}, **UNPUBLISHED}
        found = await self._collections[name].find(query, {"outbox": 1}).to_list()
        publishing = {
            asyncio.create_task(
                self._publish_one((name, document["_id"]), document["outbox"])
            ): document["_id"]
            for document in found
        }
        if not publishing:
            return
        try:
            done, _ = await asyncio.wait(publishing, timeout=CONFIRM_TIMEOUT)
        finally:
            for task in publishing:
                task.cancel()
        # What was confirmed is taken out all the same; the rest is tried again.
        left = [publishing[task] for task in publishing if task not in done or not task.result()]
        if left:
            await asyncio.sleep(0.5)
            self._outboxes.filled(name, left)

    async def _publish_one(self, filled: Filled, outbox: list[Document]) -> bool:
        """Publish a document's events in order; return False if that is to be repeated soon.

        What has no queue, and what cannot be read, is left to the sweep.
        """
        for stored in outbox:
            try:
                event = msgspec.convert(stored, StoredEvent)
            except msgspec.ValidationError as error:
                self._leave(filled, f"it cannot be read: {error}")
                return True
            if event.id in self._published.get(filled, ()):
                continue
            try:
                await self._publisher.publish(event)
            except Unroutable:
                self._leave(filled, f"no queue takes {event.type}: run `cartwheel setup`")
                return True
            except Exception as error:
                log.warning("publishing will be repeated", type=event.type, error=repr(error))
                return False
            self._published[filled].add(event.id)
            self._some_published.set()
        self._left.pop(filled, None)
        return True

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
            await asyncio.sleep(CLEAR_EVERY)
            await self._clear()
            if not self._published:
                self._some_published.clear()

    async def _clear(self) -> None:
        """Take what is published out of the outboxes."""
        for name, collection in self._collections.items():
            documents = [filled for filled in self._published if filled[0] == name]
            for start in range(0, len(documents), BATCH):
                await self._clear_some(collection, documents[start : start + BATCH])

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
