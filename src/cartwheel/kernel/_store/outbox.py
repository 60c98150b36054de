"""The outbox, a field of each aggregate's document.

An aggregate's change and its events are one write: both are stored, or neither is. The relay
publishes the events in `outbox` and then removes them. `sequence` counts an aggregate's events from
1. By it, consumers can tell old events from new, and the relay knows whether earlier ones exist.

Pattern: https://microservices.io/patterns/data/transactional-outbox.html
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice

from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel._bus import wire
from cartwheel.kernel._core.ids import new_id
from cartwheel.kernel._core.messages import Change, Event
from cartwheel.kernel._core.telemetry import traceparent
from cartwheel.kernel._store.client import Document

UNPUBLISHED: Document = {"outbox.0": {"$exists": True}}
"""Matches documents whose outbox is not empty."""

Filled = tuple[str, str]
"""A collection's name and a document's id."""


KEPT = 1_000
"""Documents whose new events are kept in memory until they are published. While RabbitMQ is down,
more may wait: for those only the id is kept, and their outboxes are read later."""

IN_HAND = 256
"""Documents whose events are published at the same time."""


class Outboxes:
    """The documents that this process has written and that have events to publish.

    If the process dies first, the sweep finds the events. Each document is published by one task at
    a time; its newer events wait until that task is done.
    """

    def __init__(self) -> None:
        self._waiting: dict[Filled, Sequence[Document]] = {}
        self._in_hand: set[Filled] = set()
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._in_hand)

    def stored(self, collection: str, document_id: str, events: Sequence[Document]) -> None:
        """Report that this process has stored the document with these new events.

        They may be published without reading the outbox. So a majority must have them, and from
        this process's write: another process's events have other ids. If in doubt, call `filled`.
        """
        filled = (collection, document_id)
        # If a document is reported twice, read its outbox: the reports may be out of order.
        known = filled not in self._waiting and len(self._waiting) < KEPT
        self._wait(filled, events if known else ())

    def filled(self, collection: str, document_ids: Iterable[str]) -> None:
        """Report that these documents may have events to publish. May be repeated."""
        for document_id in document_ids:
            self._wait((collection, document_id), ())

    def _wait(self, filled: Filled, events: Sequence[Document]) -> None:
        self._waiting[filled] = events
        self._some.set()
        self._none.clear()

    async def some(self) -> None:
        """Return when there may be documents to take."""
        await self._some.wait()

    def take(self) -> dict[Filled, Sequence[Document]]:
        """Return documents to publish, up to `IN_HAND` together with those in progress.

        Each comes with the events that its one write has stored, or with none: then read its
        outbox. Call `done` for each.
        """
        ready = (filled for filled in self._waiting if filled not in self._in_hand)
        taken = list(islice(ready, IN_HAND - len(self._in_hand)))
        self._in_hand.update(taken)
        self._some.clear()
        return {filled: self._waiting.pop(filled) for filled in taken}

    def done(self, filled: Filled) -> None:
        self._in_hand.discard(filled)
        if self._waiting:
            self._some.set()
        elif not self._in_hand:
            self._none.set()

    async def none(self) -> None:
        """Return when no document is waiting or in progress."""
        await self._none.wait()


def to_publish(
    events: Sequence[Event],
    *,
    source: str,
    subject: str,
    after: int,
    change: Change,
) -> list[Document]:
    """Return `events` as they lie in the outbox of `subject`, whose last event had number `after`.

    They carry the trace of the `change` that they tell of, or the current one.
    """
    trace = change.traceparent or traceparent()
    return [
        {
            "id": new_id("evt"),
            "type": event.type,
            "source": source,
            "subject": subject,
            "sequence": after + number,
            "time": change.at,
            "data": wire.encode(event).decode(),
            "correlation_id": trace.split("-")[1],
            "causation_id": change.event_id,
            "traceparent": trace,
        }
        for number, event in enumerate(events, start=1)
    ]


async def index_outbox(collection: AsyncCollection[Document]) -> None:
    """Make the index by which the relay finds what it has to publish. May be repeated."""
    await collection.create_index(
        [("outbox.id", ASCENDING)], name="unpublished", partialFilterExpression=UNPUBLISHED
    )
