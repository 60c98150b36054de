"""The relay publishes what lies in the outboxes of a service's collections.

A change stream and a sweep only name documents that may have something to publish; one loop reads
those outboxes, publishes each document's events in order (the next one after the last is
confirmed), many documents at once, and then takes out what is published, in bulk. A crash in
between publishes again: at least once. At its start it opens the stream, then sweeps, then
follows, so that nothing falls between and no resume token is needed.

One copy per service is active, by a lease.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
from aiormq.exceptions import PublishError
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel.bus.publishing import Publisher
from cartwheel.kernel.bus.wire import StoredEvent
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.outages import is_outage
from cartwheel.kernel.store import lease
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.outbox import UNPUBLISHED
from cartwheel.kernel.telemetry import log

SWEEP_EVERY = 5.0
RENEW_EVERY = lease.LENGTH / 3
CONFIRM_TIMEOUT = 10.0
"""Seconds. A publish in flight when the broker goes can hang; it is simply repeated."""

BATCH = 256
"""Documents whose outboxes are read, published and cleared together."""

_LEASE = "relay"
_STREAM: list[Document] = [
    {"$match": {"operationType": {"$in": ["insert", "update"]}}},
    # Emptying an outbox is a change too, but nothing to publish.
    {"$match": {"updateDescription.updatedFields.outbox": {"$ne": []}}},
    {"$project": {"documentKey": 1, "ns": 1}},
]

Dirty = tuple[str, str]
"""A collection's name and a document's id."""


class Relay:
    def __init__(
        self, database: Database, collections: Sequence[str], publisher: Publisher
    ) -> None:
        self._database = database
        self._collections = {name: database[name] for name in collections}
        self._publisher = publisher
        self._holder = new_id("relay")
        self._dirty: set[Dirty] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the batch in hand and give the lease up."""
        if self._task is None:
            return
        self._stopping = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await lease.drop(self._database, _LEASE, self._holder)

    async def _run(self) -> None:
        while True:
            try:
                if await lease.take(self._database, _LEASE, self._holder):
                    log.info("relay active")
                    await self._be_active()
                    log.warning("relay lost its lease")
            except asyncio.CancelledError:
                # aiormq may cancel what waits for a connection that goes; that is not for us.
                if self._stopping:
                    raise
                log.warning("relay waits", error="cancelled")
            except Exception as error:
                if is_outage(error):
                    log.warning("relay waits", error=repr(error))
                else:
                    log.exception("relay failed and starts again")
            await asyncio.sleep(1)

    async def _be_active(self) -> None:
        """Publish until the lease is lost or something fails."""
        work = [
            asyncio.create_task(self._keep_lease()),
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._publish_dirty()),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY)
            if not await lease.take(self._database, _LEASE, self._holder):
                return

    async def _follow(self) -> None:
        names = {"ns.coll": {"$in": list(self._collections)}}
        stream = await self._database.watch([{"$match": names}, *_STREAM])
        async with stream:
            sweeping = asyncio.create_task(self._sweep())
            try:
                async for change in stream:
                    self._add(change["ns"]["coll"], change["documentKey"]["_id"])
            finally:
                sweeping.cancel()
                await asyncio.gather(sweeping, return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            for name, collection in self._collections.items():
                async for document in collection.find(UNPUBLISHED, {"_id": 1}):
                    self._add(name, document["_id"])
            await asyncio.sleep(SWEEP_EVERY)

    def _add(self, collection: str, document_id: str) -> None:
        self._dirty.add((collection, document_id))
        self._wake.set()

    async def _publish_dirty(self) -> None:
        while True:
            await self._wake.wait()
            await self._publisher.opened()
            batch = [self._dirty.pop() for _ in range(min(BATCH, len(self._dirty)))]
            if not self._dirty:
                self._wake.clear()
            try:
                for name, collection in self._collections.items():
                    ids = [document_id for owner, document_id in batch if owner == name]
                    if ids:
                        await self._publish(collection, ids)
            except Exception:
                self._dirty.update(batch)
                self._wake.set()
                raise

    async def _publish(self, collection: AsyncCollection[Document], ids: list[str]) -> None:
        query = {"_id": {"$in": ids}, **UNPUBLISHED}
        found = await collection.find(query, {"outbox": 1}).to_list()
        if not found:
            return
        publishing = [asyncio.create_task(self._publish_one(document)) for document in found]
        _, late = await asyncio.wait(publishing, timeout=CONFIRM_TIMEOUT)
        for task in late:
            task.cancel()
        done = [task for task in publishing if task not in late]
        published = [event_id for task in done for event_id in task.result()]
        if published:
            await collection.update_many(
                {"_id": {"$in": [document["_id"] for document in found]}},
                {"$pull": {"outbox": {"id": {"$in": published}}}},
            )
        if len(published) < sum(len(document["outbox"]) for document in found):
            # What was confirmed is taken out all the same; the sweep brings the rest back.
            await asyncio.sleep(0.5)

    async def _publish_one(self, document: Document) -> list[str]:
        """Publish a document's events in order; return the ids of those that are confirmed."""
        published: list[str] = []
        for stored in document["outbox"]:
            event = msgspec.convert(stored, StoredEvent)
            try:
                await self._publisher.publish(event)
            except PublishError:
                log.error("no queue for an event: run `cartwheel setup`", type=event.type)
                break
            except Exception as error:
                log.warning("publishing will be repeated", type=event.type, error=repr(error))
                break
            published.append(event.id)
        return published
