"""The items of a job (`kernel/_core/jobs.py`), stored in their documents.

A document has two fields beside the aggregate's own: `due_at`, before which no job works on the
item, and `retry`, its failures so far. Writing them does not change the aggregate's `version`,
`updated_at` or events. A change of the aggregate removes them, since failures of the old state say
nothing about the new one.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel._core.jobs import Item, Retry
from cartwheel.kernel._store.client import Document

DUE_AT = "due_at"
RETRY = "retry"
AFRESH: Document = {DUE_AT: "", RETRY: ""}
"""The fields to `$unset` in every change of the aggregate."""


class DueItems:
    """Documents that match `query` and `when(now)`, and whose `due_at`, if any, has passed.

    They need an index on the fields of `query`, then `due_at`, then the fields of `when`.
    """

    def __init__(
        self,
        collection: AsyncCollection[Document],
        query: Document,
        *,
        when: Callable[[datetime], Document] = lambda _: {},
    ) -> None:
        self._collection = collection
        self._query = query
        self._when = when

    async def due(self, now: datetime, *, limit: int) -> Sequence[Item]:
        # Reads only these fields: a document that cannot be decoded fails alone, in its own work.
        return [
            Item(document["_id"], _retry(document.get(RETRY)))
            for query in self._due(now)
            async for document in self._collection.find(query, {RETRY: 1}).limit(limit)
        ]

    async def failed(self, item: Item, retry: Retry, *, found_at: datetime) -> bool:
        noted = {DUE_AT: retry.due_at, RETRY: msgspec.structs.asdict(retry)}
        result = await self._collection.update_one(
            {"_id": item.id, "$or": self._due(found_at)}, {"$set": noted}
        )
        return result.matched_count > 0

    async def look_again(self, ids: Sequence[str], *, at: datetime) -> None:
        await self._collection.update_many(
            {"_id": {"$in": list(ids)}, **self._query},
            {"$set": {DUE_AT: at}, "$unset": {RETRY: ""}},
        )

    def _due(self, now: datetime) -> tuple[Document, Document]:
        """Return queries for new items, and for items whose pause is over."""
        return (
            {**self._query, DUE_AT: None, **self._when(now)},
            {**self._query, DUE_AT: {"$lte": now}, **self._when(now)},
        )


def _retry(stored: object) -> Retry | None:
    try:
        return msgspec.convert(stored, Retry | None)
    except msgspec.ValidationError:  # written by another version: count again from the next failure
        return None
