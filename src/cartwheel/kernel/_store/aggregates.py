"""Aggregates in a collection: a change and its events are one write.

An aggregate is a frozen Struct. `events` are its new events, not stored yet, and `change` is their
cause. `sequence` is the number of the last stored event, and `version` counts the changes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple

from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel._core.messages import Change, Event
from cartwheel.kernel._store import codec, group
from cartwheel.kernel._store.client import Document
from cartwheel.kernel._store.optimistic import change_stored
from cartwheel.kernel._store.outbox import Outboxes, to_publish
from cartwheel.kernel.errors import Refusal


class Eventful(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def events(self) -> Sequence[Event]: ...


class Aggregate(Eventful, Protocol):
    @property
    def version(self) -> int: ...
    @property
    def change(self) -> Change | None: ...


Kind = TypeVar("Kind", bound=Aggregate)
Facts = TypeVarTuple("Facts")


def _no_lists(_: object, __: Sequence[Document]) -> Mapping[str, Sequence[Any]]:
    return {}


class Aggregates(Generic[Kind]):
    """The aggregates of the service `source` in one collection.

        class MongoOrders(Aggregates[Order]):
            def __init__(self, database: Database, outboxes: Outboxes) -> None:
                super().__init__(
                    database["orders"], Order, source="orders", outboxes=outboxes, missing=_missing
                )

    Concurrent reads and writes share a command.

    Args:
        missing: returns the refusal for an unknown id.
        lists: returns entries to append to the document's own lists, by name. It gets the new
            events too, as they lie in the outbox.
        unread: fields of the document that `kind` does not have and that may be large.
    """

    def __init__(
        self,
        collection: AsyncCollection[Document],
        kind: type[Kind],
        *,
        source: str,
        outboxes: Outboxes,
        missing: Callable[[], Refusal],
        lists: Callable[[Kind, Sequence[Document]], Mapping[str, Sequence[Any]]] = _no_lists,
        unread: Iterable[str] = (),
    ) -> None:
        self.collection = collection
        self._kind = kind
        self._source = source
        self._missing = missing
        self._lists = lists
        self._fields = dict.fromkeys(("outbox", *unread), 0)
        self._inserts = group.inserts(collection, outboxes)
        self._saves = group.saves(collection, outboxes)
        self._by_id = group.finds(collection, "_id", **self._fields)

    async def insert(self, aggregate: Kind) -> bool:
        """Store a new aggregate; return False if a unique index rejects it. May be repeated."""
        new = self._happened(aggregate)
        document = {"_id": aggregate.id, **state(aggregate), **new}
        return await self._inserts.submit({**document, **self._lists(aggregate, new["outbox"])})

    async def find(self, aggregate_id: str) -> Kind | None:
        """Return the aggregate, or None if there is none."""
        document = await self._by_id.submit(aggregate_id)
        return self.read(document) if document else None

    async def get(self, aggregate_id: str) -> Kind:
        """Return the aggregate.

        Raises:
            Refusal: there is none.
        """
        found = await self.find(aggregate_id)
        if found is None:
            raise self._missing()
        return found

    async def get_many(self, ids: Sequence[str]) -> dict[str, Kind]:
        """Return the aggregates that exist, by id."""
        found = await self.matching({"_id": {"$in": list(set(ids))}})
        return {each.id: each for each in found}

    async def matching(self, query: Document, *, by: str | None = None) -> list[Kind]:
        """Return all aggregates that match `query`, sorted by the field `by` if given."""
        found = self.collection.find(query, self._fields)
        if by is not None:
            found = found.sort(by)
        return [self.read(document) async for document in found]

    async def change(
        self,
        aggregate_id: str,
        decide: Callable[[Kind, *Facts, Change], Kind],
        *facts: *Facts,
        by: Change,
        known: Kind | None = None,
    ) -> Kind:
        """Read, decide and store; repeat if somebody else has changed it in between.

            await orders.change(order_id, domain.pay, event.data, by=change)

        `decide` gets the aggregate, `facts` and the change. It returns the same object if there is
        nothing to change. It may run several times. `known`, the aggregate as last stored or read,
        saves the first read.

        Raises:
            Refusal: from `decide`, or because there is no such aggregate.
        """
        return await change_stored(
            lambda: self.get(aggregate_id),
            lambda aggregate: decide(aggregate, *facts, by),
            self.save,
            known=known,
        )

    def read(self, document: Document) -> Kind:
        return codec.from_document(document, self._kind)

    async def save(self, aggregate: Kind, /, *, expected: Kind) -> bool:
        """Store a changed aggregate; return False if the stored version is not `expected`'s."""
        new = self._happened(aggregate)
        added = {"outbox": new["outbox"], **self._lists(aggregate, new["outbox"])}
        return await self._saves.submit(
            group.Save(
                aggregate.id,
                expected.version,
                {**state(aggregate), "sequence": new["sequence"]},
                {name: {"$each": entries} for name, entries in added.items() if entries},
            )
        )

    def _happened(self, aggregate: Kind) -> Document:
        return happened(aggregate, source=self._source, change=aggregate.change)


def state(aggregate: object) -> Document:
    """Return the fields of `aggregate` to store, without its id and events."""
    document = codec.to_document(aggregate)
    for name in ("_id", "events", "change", "sequence"):
        document.pop(name, None)
    return document


def happened(aggregate: Eventful, *, source: str, change: Change | None) -> Document:
    """Return the fields for the new events: the last one's number, and the outbox."""
    if change is None:
        if aggregate.events:
            raise ValueError(f"{aggregate.id} does not say what its events tell of")
        return {"sequence": aggregate.sequence, "outbox": []}
    return {
        "sequence": aggregate.sequence + len(aggregate.events),
        "outbox": to_publish(
            aggregate.events,
            source=source,
            subject=aggregate.id,
            after=aggregate.sequence,
            change=change,
        ),
    }
