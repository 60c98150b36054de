"""Aggregates in a collection: a change and the events that tell of it are one write.

An aggregate is a frozen Struct. Its `events` are those that it has not been stored with yet;
`sequence` is the number of the last one before them, `version` counts its changes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel.messages import Cause, Event
from cartwheel.kernel.store import codec, group
from cartwheel.kernel.store.client import Document
from cartwheel.kernel.store.outbox import Outboxes, to_publish


class Versioned(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...


class Eventful(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def events(self) -> Sequence[Event]: ...


class Aggregate(Versioned, Eventful, Protocol):
    @property
    def updated_at(self) -> datetime: ...
    @property
    def cause(self) -> Cause | None: ...


class Aggregates:
    """Stores the aggregates of a service `source`; those that come at the same time, together.

    `lists` holds entries to be added to the document's own lists, by their names.
    """

    def __init__(
        self, collection: AsyncCollection[Document], *, source: str, outboxes: Outboxes
    ) -> None:
        self._source = source
        self._inserts = group.inserts(collection, outboxes)
        self._saves = group.saves(collection, outboxes)

    async def insert(
        self, aggregate: Aggregate, lists: Mapping[str, Sequence[Any]] | None = None
    ) -> bool:
        """Store a new aggregate; return False if a unique index keeps it out."""
        document = {"_id": aggregate.id, **state(aggregate), **(lists or {})}
        return await self._inserts.submit({**document, **self._happened(aggregate)})

    async def save(
        self,
        aggregate: Aggregate,
        *,
        expected: Versioned,
        lists: Mapping[str, Sequence[Any]] | None = None,
    ) -> bool:
        """Store a changed aggregate; return False if its version is no longer `expected`'s."""
        new = self._happened(aggregate)
        added = {"outbox": new["outbox"], **(lists or {})}
        return await self._saves.submit(
            group.Save(
                aggregate.id,
                expected.version,
                {**state(aggregate), "sequence": new["sequence"]},
                {name: {"$each": entries} for name, entries in added.items() if entries},
            )
        )

    def _happened(self, aggregate: Aggregate) -> Document:
        return happened(
            aggregate, source=self._source, at=aggregate.updated_at, cause=aggregate.cause
        )


def state(aggregate: object) -> Document:
    """Return what is stored of `aggregate` beside its id and what has happened to it."""
    document = codec.to_document(aggregate)
    for name in ("_id", "events", "cause", "sequence"):
        document.pop(name, None)
    return document


def happened(
    aggregate: Eventful, *, source: str, at: datetime, cause: Cause | None = None
) -> Document:
    """Return what the new events add to the document: the last one's number, and the outbox."""
    return {
        "sequence": aggregate.sequence + len(aggregate.events),
        "outbox": to_publish(
            aggregate.events,
            source=source,
            subject=aggregate.id,
            after=aggregate.sequence,
            at=at,
            cause=cause,
        ),
    }
