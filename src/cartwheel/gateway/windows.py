"""Where rate limits count: in this process, or in MongoDB for all gateways.

Both are storages of the library `limits`, which brings the algorithm: a window begins with the
first request that it counts and ends `expiry` seconds later. The library's own storages do not fit.
The one in memory looks through all keys with each request, and the one in MongoDB needs Motor,
which is no longer maintained.
"""

import time
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import msgspec
from cachetools import TLRUCache
from limits.aio.storage import Storage
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from cartwheel.kernel.mongodb import Database, Document

KEPT = 20_000
"""Windows that a process remembers, about 400 bytes each. If there are more, the one that was used
least recently is forgotten, and its client counts from zero."""

COLLECTION = "rate_limits"


class Window(msgspec.Struct):
    """`ends_at` is in Unix seconds."""

    count: int
    ends_at: float


class Windows(Storage):
    """Counts in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: TLRUCache[str, Window] = TLRUCache(
            KEPT, ttu=lambda _key, window, _now: window.ends_at, timer=time.time
        )

    @property
    def base_exceptions(self) -> type[Exception]:
        return PyMongoError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(0, time.time() + expiry)
        window.count += amount
        return window.count

    def seen(self, key: str) -> Window:
        """Return the window as this process last saw it."""
        return self._windows.get(key) or Window(0, time.time())

    async def get(self, key: str) -> int:
        return self.seen(key).count

    async def get_expiry(self, key: str) -> float:
        return self.seen(key).ends_at

    async def give_back(self, keys: Sequence[str]) -> None:
        """Count one less under each of `keys`."""
        for key in keys:
            if (window := self._windows.get(key)) and window.count > 0:
                window.count -= 1

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        self._windows.clear()
        return None

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)


class SharedWindows(Windows):
    """Counts in MongoDB, in one command, and remembers what it answered.

    A count that a crash of MongoDB loses does no harm, so no write waits for the journal.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._collection = database.get_collection(
            COLLECTION, write_concern=WriteConcern(1, j=False), read_concern=ReadConcern("local")
        )

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        try:
            document = await self._incremented(key, expiry, amount)
        except DuplicateKeyError:  # another request inserted it at the same moment
            document = await self._incremented(key, expiry, amount)
        ends_at = document["expires_at"].replace(tzinfo=UTC).timestamp()
        self._windows[key] = Window(document["count"], ends_at)
        return document["count"]

    async def _incremented(self, key: str, expiry: int, amount: int) -> Document:
        # By MongoDB's clock, so that the clocks of gateways may differ.
        runs = {"$gt": ["$expires_at", "$$NOW"]}
        end = {"$add": ["$$NOW", expiry * 1000]}
        change: dict[str, Any] = {
            "count": {"$cond": [runs, {"$add": ["$count", amount]}, amount]},
            "expires_at": {"$cond": [runs, "$expires_at", end]},
        }
        document: Any = await self._collection.find_one_and_update(
            {"_id": key}, [{"$set": change}], upsert=True, return_document=ReturnDocument.AFTER
        )
        return document

    async def give_back(self, keys: Sequence[str]) -> None:
        await super().give_back(keys)
        await self._collection.update_many(
            {"_id": {"$in": [*keys]}, "count": {"$gt": 0}}, {"$inc": {"count": -1}}
        )


async def _create_indexes(database: Database) -> None:
    await database[COLLECTION].create_index("expires_at", expireAfterSeconds=0, name="expired")


MIGRATIONS = (_create_indexes,)
