"""The outbox, in the document it belongs to.

An aggregate's change and the events that tell of it are one write: either both are there or
neither. The relay publishes what lies in `outbox` and then takes it out. `sequence` counts an
aggregate's events from 1, so that consumers can tell old from new, and the relay whether others
came before.

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
"""Documents whose new events are kept in memory until they are published. While RabbitMQ is away,
more may wait: of those only the id is kept, and their outboxes are read."""

IN_HAND = 256
"""Documents whose events are published at the same time."""


class Outboxes:
    """Which documents have something to publish, as told by whoever in this process wrote them.

    If the process dies first, the sweep finds the events. A document is in one hand at a time:
    what is told of it meanwhile waits until it is done with.
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
        """Tell that this process has stored the document with these new events.

        They may be published without a look at the outbox. So a majority must have them, and by
        this process's write: another's has other ids. Where that is not certain, tell `filled`.
        """
        filled = (collection, document_id)
        # Told of a document twice, read both: the later write may have been told of first.
        known = filled not in self._waiting and len(self._waiting) < KEPT
        self._wait(filled, events if known else ())

    def filled(self, collection: str, document_ids: Iterable[str]) -> None:
        """Tell that these documents may hold something to publish. May be repeated."""
        for document_id in document_ids:
            self._wait((collection, document_id), ())

    def _wait(self, filled: Filled, events: Sequence[Document]) -> None:
        self._waiting[filled] = events
        self._some.set()
        self._none.clear()

    async def some(self) -> None:
        """Return when there may be something to take."""
        await self._some.wait()

    def take(self) -> dict[Filled, Sequence[Document]]:
        """Return documents to be published, up to `IN_HAND` with those that are in hand already.

        Each comes with the events that its one write has stored, or with none: then its outbox is
        to be read. Say `done` of each.
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
        """Return when nothing waits and nothing is in hand."""
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
