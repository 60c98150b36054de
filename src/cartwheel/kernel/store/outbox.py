"""The outbox, in the document it belongs to.

An aggregate's change and the events that tell of it are one write: either both are there or
neither. The relay publishes what lies in `outbox` and then takes it out. `sequence` counts an
aggregate's events from 1, so that consumers can tell old from new.

Pattern: https://microservices.io/patterns/data/transactional-outbox.html
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime

from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel.bus import wire
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import Cause, Event
from cartwheel.kernel.store.client import Document
from cartwheel.kernel.telemetry import traceparent

UNPUBLISHED: Document = {"outbox.0": {"$exists": True}}
"""Matches documents whose outbox is not empty."""

Filled = tuple[str, str]
"""A collection's name and a document's id."""


class Outboxes:
    """Which documents have something to publish, as told by whoever in this process wrote them.

    What nobody tells of, because its process died in between, the relay finds by looking.
    """

    def __init__(self) -> None:
        self._filled: set[Filled] = set()
        self._some = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._filled)

    def filled(self, collection: str, document_ids: Iterable[str]) -> None:
        """Tell that these documents are stored with something to publish. May be repeated."""
        self._filled.update((collection, document_id) for document_id in document_ids)
        if self._filled:
            self._some.set()

    async def take(self, most: int) -> list[Filled]:
        """Wait until there are some; return up to `most`, which are then no longer here."""
        await self._some.wait()
        taken = [self._filled.pop() for _ in range(min(most, len(self._filled)))]
        if not self._filled:
            self._some.clear()
        return taken


def to_publish(
    events: Sequence[Event],
    *,
    source: str,
    subject: str,
    after: int,
    at: datetime,
    cause: Cause | None = None,
) -> list[Document]:
    """Return `events` as they lie in the outbox of `subject`, whose last event had number `after`.

    They carry the trace of `cause`, or the current one.
    """
    trace = (cause and cause.traceparent) or traceparent()
    return [
        {
            "id": new_id("evt"),
            "type": event.type,
            "source": source,
            "subject": subject,
            "sequence": after + number,
            "time": at,
            "data": wire.encode(event).decode(),
            "correlation_id": trace.split("-")[1],
            "causation_id": cause and cause.event_id,
            "traceparent": trace,
        }
        for number, event in enumerate(events, start=1)
    ]


async def prepare(collection: AsyncCollection[Document]) -> None:
    """Make the index by which the relay finds what it has to publish. May be repeated."""
    await collection.create_index(
        [("outbox.id", ASCENDING)], name="unpublished", partialFilterExpression=UNPUBLISHED
    )
