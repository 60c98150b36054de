"""The MongoDB part of a floor: plain driver calls, with the concerns that our services use.

    python -m bench.floors.mongo URI WORK IN_FLIGHT SECONDS

It works on copies of real documents in database `bench_floor`, and prints calls per second. Each of
the IN_FLIGHT tasks changes its own documents, so that none waits for another's lock.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import uvloop
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

DATABASE = "bench_floor"
DURABLE = WriteConcern("majority", j=True)
_WARM_UP = 0.5

Document = dict[str, Any]


class Work:
    """One method per kind of call. `who` is the number of the calling task."""

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._client = client
        database = client.get_database(
            DATABASE, write_concern=DURABLE, read_concern=ReadConcern("majority")
        )
        self._products = database["products"]
        self._orders = database["orders"]
        self._reservations = database["reservations"]
        self._product_ids: list[str] = []
        self._order_ids: list[str] = []
        self._order: Document = {}

    async def prepare(self) -> None:
        self._product_ids = [each["_id"] async for each in self._products.find({}, {"_id": 1})]
        found = self._orders.find({}, {"_id": 1}).limit(5_000)
        self._order_ids = [each["_id"] async for each in found]
        self._order = await self._orders.find_one({}) or {}

    async def get_order(self, who: int) -> None:
        """One order by its id."""
        await self._orders.find_one({"_id": random.choice(self._order_ids)})

    async def get_product(self, who: int) -> None:
        """One product by its id."""
        await self._products.find_one({"_id": random.choice(self._product_ids)})

    async def list_20(self, who: int) -> None:
        """The 20 newest active products, by index."""
        await self._list(20)

    async def list_100(self, who: int) -> None:
        """The 100 newest active products, by index."""
        await self._list(100)

    async def _list(self, limit: int) -> None:
        await self._products.find({"status": "ACTIVE"}).sort("_id", -1).limit(limit).to_list()

    async def reserve(self, who: int) -> None:
        """A transaction: one reservation inserted, two products changed."""
        one, other = self._product_ids[2 * who], self._product_ids[2 * who + 1]
        reservation: Document = {
            "_id": uuid4().hex,
            "status": "HELD",
            "lines": self._order.get("lines", []),
        }

        async def body(session: AsyncClientSession) -> None:
            await self._reservations.insert_one(reservation, session=session)
            for product_id in (one, other):
                change = {"$inc": {"stock.available": -1, "stock.reserved": 1}}
                await self._products.update_one({"_id": product_id}, change, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(
                body, read_concern=ReadConcern("snapshot"), write_concern=DURABLE
            )

    async def insert(self, who: int) -> None:
        """One order inserted, durably."""
        await self._orders.insert_one({**self._order, "_id": uuid4().hex})

    async def update(self, who: int) -> None:
        """One document changed by its id, durably."""
        await self._products.update_one({"_id": self._product_ids[who]}, {"$inc": {"changed": 1}})


async def measure(uri: str, work: str, in_flight: int, seconds: float) -> float:
    """Return how many of `work` were done per second."""
    count, over = 0, False
    async with AsyncMongoClient[Document](uri) as client:
        works = Work(client)
        await works.prepare()
        call: Callable[[int], Awaitable[None]] = getattr(works, work)

        async def one_after_the_other(who: int) -> None:
            nonlocal count
            while not over:
                await call(who)
                count += 1

        workers = [asyncio.create_task(one_after_the_other(n)) for n in range(in_flight)]
        await asyncio.sleep(_WARM_UP)
        before, began = count, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (count - before) / (time.perf_counter() - began)
        # End the tasks with a flag, because the driver may swallow a cancellation.
        over = True
        await asyncio.gather(*workers)
    return rate


def main() -> None:
    uri, work, in_flight, seconds = sys.argv[1:]
    sys.stdout.write(f"{uvloop.run(measure(uri, work, int(in_flight), float(seconds)))}\n")


if __name__ == "__main__":
    main()
