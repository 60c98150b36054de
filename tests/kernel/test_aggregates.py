"""A change and its events are one write, and whoever publishes them is told at once."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from cartwheel.kernel.messages import Cause, Event
from cartwheel.kernel.store.aggregates import Aggregates
from cartwheel.kernel.store.client import Database
from cartwheel.kernel.store.outbox import Filled, Outboxes

from .messages import Happened

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    version: int = 1
    updated_at: datetime = NOW
    sequence: int = 0
    events: tuple[Event, ...] = ()
    cause: Cause | None = None


NEW = Thing(id="a", name="new", events=(Happened(number=1),))
CHANGED = Thing(id="a", name="changed", version=2, sequence=1, events=(Happened(number=2),))


@pytest.fixture
def outboxes() -> Outboxes:
    return Outboxes()


@pytest.fixture
def things(database: Database, outboxes: Outboxes) -> Aggregates:
    return Aggregates(database["things"], source="tests", outboxes=outboxes)


async def told_of(outboxes: Outboxes) -> list[Filled]:
    async with asyncio.timeout(5):
        return await outboxes.take(9)


async def test_what_is_inserted_or_saved_holds_its_events_and_is_told_of(
    things: Aggregates, outboxes: Outboxes, database: Database
) -> None:
    assert await things.insert(NEW, {"notes": ["first"]})
    assert await told_of(outboxes) == [("things", "a")]
    assert await things.save(CHANGED, expected=NEW, lists={"notes": ["second"]})
    assert await told_of(outboxes) == [("things", "a")]

    stored = await database["things"].find_one({"_id": "a"})
    assert stored is not None
    assert (stored["name"], stored["version"], stored["sequence"]) == ("changed", 2, 2)
    assert stored["notes"] == ["first", "second"]
    assert [event["sequence"] for event in stored["outbox"]] == [1, 2]
    assert not {"events", "cause", "id"} & set(stored)


async def test_what_is_not_stored_is_not_told_of(
    things: Aggregates, outboxes: Outboxes, database: Database
) -> None:
    assert await things.insert(NEW)
    await told_of(outboxes)

    assert not await things.insert(NEW)
    assert not await things.save(CHANGED, expected=CHANGED)

    assert not outboxes
    stored = await database["things"].find_one({"_id": "a"})
    assert stored is not None
    assert (stored["name"], len(stored["outbox"])) == ("new", 1)


async def test_a_change_without_events_is_not_told_of(
    things: Aggregates, outboxes: Outboxes
) -> None:
    assert await things.insert(msgspec.structs.replace(NEW, events=()))
    assert await things.save(msgspec.structs.replace(CHANGED, events=()), expected=NEW)

    assert not outboxes


async def test_what_is_stored_after_whoever_asked_has_gone_is_told_of(
    things: Aggregates, outboxes: Outboxes
) -> None:
    for work in (things.insert(NEW), things.save(CHANGED, expected=NEW)):
        asking = asyncio.create_task(work)
        await asyncio.sleep(0)
        asking.cancel()

        assert await told_of(outboxes) == [("things", "a")]
        assert asking.cancelled()


async def test_many_are_taken_some_at_a_time(outboxes: Outboxes) -> None:
    outboxes.filled("things", ["a", "b", "c"])
    outboxes.filled("things", ["b"])
    outboxes.filled("others", ["b"])

    taken = [await outboxes.take(3), await outboxes.take(3)]

    assert [len(some) for some in taken] == [3, 1]
    assert {each for some in taken for each in some} == {
        ("things", "a"),
        ("things", "b"),
        ("things", "c"),
        ("others", "b"),
    }
    assert not outboxes
