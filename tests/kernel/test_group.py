"""What is read and written together ends as if each had been alone."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.errors import WriteError

from cartwheel.kernel._core.ids import new_id
from cartwheel.kernel._store import client as mongodb
from cartwheel.kernel._store import group
from cartwheel.kernel._store.outbox import Outboxes
from cartwheel.local.up import System

AT = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def things(system: System) -> AsyncGenerator[Any]:
    async with mongodb.connect(system.environment["MONGODB_URI"], process="tests") as client:
        collection = mongodb.database(client, "tests")[new_id("things")]
        yield collection
        await collection.drop()


async def test_each_caller_finds_its_own_document_or_nothing(things: Any) -> None:
    await things.insert_many([{"_id": str(number), "secret": 1} for number in range(5)])
    lane = group.finds(things, "_id", secret=0)

    found = await asyncio.gather(*(lane.submit(str(number)) for number in range(7)))

    assert found == [{"_id": str(number)} for number in range(5)] + [{}, {}]


async def test_an_insert_that_a_unique_index_rejects_harms_no_other(things: Any) -> None:
    await things.insert_one({"_id": "3"})
    lane = group.inserts(things, Outboxes())

    inserted = await asyncio.gather(*(lane.submit({"_id": str(number)}) for number in range(6)))

    assert inserted == [True, True, True, False, True, True]
    assert await things.count_documents({}) == 6


def save(thing: str, expected: int, by: str) -> group.Save:
    state = {"version": expected + 1, "by": by, "at": AT, "lines": [{"price": 1}]}
    return group.Save(thing, expected, state, {"outbox": {"$each": [by]}})


async def test_only_one_of_several_saves_of_the_same_version_succeeds(things: Any) -> None:
    await things.insert_many([{"_id": name, "version": 1, "outbox": []} for name in "ab"])
    lane = group.saves(things, Outboxes())

    saved = await asyncio.gather(
        lane.submit(save("a", 1, "first")),
        lane.submit(save("b", 1, "alone")),
        lane.submit(save("a", 1, "second")),
        lane.submit(save("c", 1, "of nothing")),
    )

    assert saved == [True, True, False, False]
    stored = {thing["_id"]: thing async for thing in things.find()}
    assert stored["a"]["by"] == "first"
    assert stored["a"]["outbox"] == ["first"]
    assert stored["b"]["outbox"] == ["alone"]
    assert await lane.submit(save("a", 2, "third"))
    assert not await lane.submit(save("a", 2, "fourth"))


async def only_small_numbers(things: Any) -> None:
    """Have MongoDB refuse documents of `things` whose number is 10 or more."""
    await things.insert_one({"_id": "small", "number": 1})
    await things.database.command("collMod", things.name, validator={"number": {"$lt": 10}})


async def test_an_insert_that_mongodb_rejects_harms_no_other(things: Any) -> None:
    await only_small_numbers(things)
    outboxes = Outboxes()
    lane = group.inserts(things, outboxes)

    inserted = await asyncio.gather(
        *(
            lane.submit({"_id": str(number), "number": number, "outbox": ["told"]})
            for number in (8, 9, 10)
        ),
        return_exceptions=True,
    )

    assert inserted[:2] == [True, True]
    assert isinstance(inserted[2], WriteError)
    assert sorted(outboxes.take()) == [(things.name, "8"), (things.name, "9")]


async def test_a_save_that_mongodb_rejects_harms_no_other(things: Any) -> None:
    await only_small_numbers(things)
    await things.insert_many([{"_id": name, "version": 1, "number": 1} for name in "abc"])
    lane = group.saves(things, Outboxes())

    saved = await asyncio.gather(
        lane.submit(group.Save("a", 1, {"version": 2, "number": 2}, {})),
        lane.submit(group.Save("b", 1, {"version": 2, "number": 20}, {})),
        lane.submit(group.Save("c", 9, {"version": 10, "number": 2}, {})),
        return_exceptions=True,
    )

    assert [saved[0], saved[2]] == [True, False]
    assert isinstance(saved[1], WriteError)
