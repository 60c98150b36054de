"""A change and its events are one write, and the relay learns of them at once."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from cartwheel.kernel._core.messages import Change, Event
from cartwheel.kernel._store.aggregates import Aggregates
from cartwheel.kernel._store.client import Database, Document
from cartwheel.kernel._store.outbox import Filled, Outboxes
from cartwheel.kernel.errors import NotFound

from .messages import Happened

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    version: int = 1
    updated_at: datetime = NOW
    sequence: int = 0
    events: tuple[Event, ...] = ()
    change: Change | None = Change(by="tests", at=NOW)


class NoSuchThing(NotFound):
    code = "no_such_thing"


NEW = Thing(id="a", name="new", events=(Happened(number=1),))
CHANGED = Thing(id="a", name="changed", version=2, sequence=1, events=(Happened(number=2),))


def stored_in(database: Database, outboxes: Outboxes) -> Aggregates[Thing]:
    return Aggregates(
        database["things"],
        Thing,
        source="tests",
        outboxes=outboxes,
        missing=lambda: NoSuchThing("there is no such thing"),
        lists=lambda thing, _: {"notes": [f"{thing.name}'s note"]},
    )


@pytest.fixture
def outboxes() -> Outboxes:
    return Outboxes()


@pytest.fixture
def things(database: Database, outboxes: Outboxes) -> Aggregates[Thing]:
    return stored_in(database, outboxes)


async def told_of(outboxes: Outboxes) -> dict[Filled, Sequence[Document]]:
    async with asyncio.timeout(5):
        await outboxes.some()
    told = outboxes.take()
    for filled in told:
        outboxes.done(filled)
    return told


async def test_a_stored_aggregate_holds_its_events_and_is_reported(
    things: Aggregates[Thing], outboxes: Outboxes, database: Database
) -> None:
    assert await things.insert(NEW)
    inserted = await told_of(outboxes)
    assert await things.save(CHANGED, expected=NEW)
    saved = await told_of(outboxes)

    stored = await database["things"].find_one({"_id": "a"})
    assert stored is not None
    assert (stored["name"], stored["version"], stored["sequence"]) == ("changed", 2, 2)
    assert stored["notes"] == ["new's note", "changed's note"]
    assert [event["sequence"] for event in stored["outbox"]] == [1, 2]
    assert inserted == {("things", "a"): stored["outbox"][:1]}
    assert saved == {("things", "a"): stored["outbox"][1:]}
    assert not {"events", "change", "id"} & set(stored)


async def test_an_aggregate_that_is_not_stored_is_not_reported(
    things: Aggregates[Thing], outboxes: Outboxes, database: Database
) -> None:
    assert await things.insert(NEW)
    await told_of(outboxes)

    assert not await things.insert(NEW)
    assert not await things.save(CHANGED, expected=CHANGED)

    assert not outboxes
    stored = await database["things"].find_one({"_id": "a"})
    assert stored is not None
    assert (stored["name"], len(stored["outbox"])) == ("new", 1)


async def test_a_change_without_events_is_not_reported(
    things: Aggregates[Thing], outboxes: Outboxes
) -> None:
    assert await things.insert(msgspec.structs.replace(NEW, events=()))
    assert await things.save(msgspec.structs.replace(CHANGED, events=()), expected=NEW)

    assert not outboxes


async def test_a_write_is_reported_even_if_its_caller_has_gone(
    things: Aggregates[Thing], outboxes: Outboxes
) -> None:
    for work in (things.insert(NEW), things.save(CHANGED, expected=NEW)):
        asking = asyncio.create_task(work)
        await asyncio.sleep(0)
        asking.cancel()

        assert list(await told_of(outboxes)) == [("things", "a")]
        assert asking.cancelled()


async def test_events_that_may_be_another_processs_are_read_from_the_outbox(
    things: Aggregates[Thing], outboxes: Outboxes, database: Database
) -> None:
    """Of a batch MongoDB tells how many were saved, not which."""
    other = Thing(id="b", name="new")
    await things.insert(NEW)
    await things.insert(other)
    await told_of(outboxes)
    by_another = stored_in(database, Outboxes())
    assert await by_another.save(CHANGED, expected=NEW)

    saved = await asyncio.gather(
        things.save(CHANGED, expected=NEW),
        things.save(msgspec.structs.replace(other, version=2), expected=other),
    )

    assert saved == [True, True]
    assert await told_of(outboxes) == {("things", "a"): ()}
