"""Batches concurrent reads and writes of single documents.

A durable write waits for the journal, which costs nearly the same for one document as for many.
Each kind of operation has a `Batcher`: one command is in flight while the next one fills.
"""

from collections.abc import Sequence
from itertools import compress

import bson
import msgspec
from bson.codec_options import CodecOptions
from pymongo import InsertOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from cartwheel.kernel._core.batcher import Batcher
from cartwheel.kernel._store import bulk
from cartwheel.kernel._store.client import Document
from cartwheel.kernel._store.due import AFRESH
from cartwheel.kernel._store.outbox import Outboxes

_AS_READ: CodecOptions[Document] = CodecOptions(tz_aware=True)


class Save(msgspec.Struct, frozen=True):
    """A document's next state if its version is `expected`. `push` appends to its lists."""

    id: str
    expected: int
    state: Document
    push: Document


def finds(collection: AsyncCollection[Document], key: str, **fields: int) -> Batcher[str, Document]:
    """Return a batcher that finds documents by `key`; a missing one is an empty document. `fields`
    is a MongoDB projection."""

    async def find(values: list[str]) -> Sequence[Document]:
        cursor = collection.find({key: {"$in": values}}, fields or None)
        found = {document[key]: document async for document in cursor}
        return [found.get(value, {}) for value in values]

    return Batcher(find)


def inserts(collection: AsyncCollection[Document], outboxes: Outboxes) -> Batcher[Document, bool]:
    """Return a batcher that inserts. The result is False if a unique index rejects a document.

    It reports stored events to `outboxes`, even if the caller is gone.
    """

    async def insert(documents: list[Document]) -> Sequence[bool | Exception]:
        written = await bulk.write_all(collection, [InsertOne(document) for document in documents])
        stored = [written.faults.get(number, True) for number in range(len(documents))]
        for new, outcome in zip(documents, stored, strict=True):
            if outcome is True and new.get("outbox"):
                outboxes.stored(collection.name, new["_id"], new["outbox"])
        return [False if isinstance(each, DuplicateKeyError) else each for each in stored]

    return Batcher(insert)


def saves(collection: AsyncCollection[Document], outboxes: Outboxes) -> Batcher[Save, bool]:
    """Return a batcher that saves. The result is False if the version is not the expected one.

    It reports stored events to `outboxes`, as `inserts` does.
    """

    async def save(changes: list[Save]) -> Sequence[bool | Exception]:
        written = await bulk.write_all(
            collection,
            [
                UpdateOne(
                    {"_id": change.id, "version": change.expected},
                    {"$set": change.state, "$unset": AFRESH}
                    | ({"$push": change.push} if change.push else {}),
                )
                for change in changes
            ],
        )
        certain = not written.faults and written.matched in (0, len(changes))
        saved = [written.matched > 0] * len(changes) if certain else await those_saved(changes)
        for change in compress(changes, saved):
            if "outbox" not in change.push:
                continue
            if certain:
                outboxes.stored(collection.name, change.id, change.push["outbox"]["$each"])
            else:
                # Another process may have stored the same state, with its own events.
                outboxes.filled(collection.name, [change.id])
        return [written.faults.get(number, done) for number, done in enumerate(saved)]

    async def those_saved(changes: list[Save]) -> list[bool]:
        # MongoDB reports how many were saved, not which. If a document has this state, this save
        # succeeded, or another process has done the same.
        found = collection.find({"_id": {"$in": [change.id for change in changes]}})
        stored = {document["_id"]: document async for document in found}
        return [
            _as_read(change.state).items() <= stored.get(change.id, {}).items()
            for change in changes
        ]

    return Batcher(save)


def _as_read(document: Document) -> Document:
    """Return `document` as MongoDB returns it: times in milliseconds."""
    stored = bson.encode(document)
    return bson.decode(stored, _AS_READ)  # pyright: ignore[reportUnknownMemberType] because of one of its overloads
