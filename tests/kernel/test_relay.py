"""The outbox and its relay, on the real MongoDB and RabbitMQ."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from cartwheel.kernel.bus.consuming import Consumer, on
from cartwheel.kernel.bus.publishing import Publisher
from cartwheel.kernel.messages import Cause, CloudEvent, Event
from cartwheel.kernel.store import lease, outbox
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.relay import Relay

from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Happened, Unheard

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def things(database: Database) -> Database:
    await outbox.prepare(database["things"])
    return database


@pytest.fixture
async def seen(connect: Connect) -> list[tuple[str, int]]:
    """(subject, number) of each event, in the order of arrival."""
    arrived: list[tuple[str, int]] = []

    async def note(event: CloudEvent[Happened]) -> None:
        arrived.append((event.subject, event.data.number))

    async def probe() -> None: ...

    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))
    return arrived


async def relay_of(database: Database, connect: Connect) -> Relay:
    publisher = Publisher(frozenset({Happened.type, Unheard.type}))
    await connect(publisher)
    return Relay(database, ["things"], publisher, outboxes)


def thing(name: str, events: Sequence[Event]) -> Document:
    return {
        "_id": name,
        "outbox": outbox.to_publish(events, source="tests", subject=name, after=0, at=NOW),
    }


async def test_what_lay_there_before_and_what_comes_later_is_published_in_order(
    things: Database, connect: Connect, seen: list[tuple[str, int]]
) -> None:
    await things["things"].insert_one(thing("early", [Happened(number=n) for n in range(5)]))
    relay = await relay_of(things, connect)
    relay.start()
    try:
        await asyncio.sleep(0.5)
        await things["things"].insert_one(thing("late", [Happened(number=0)]))
        more = outbox.to_publish(
            [Happened(number=1), Happened(number=2)],
            source="tests",
            subject="late",
            after=1,
            at=NOW,
        )
        await things["things"].update_one({"_id": "late"}, {"$push": {"outbox": {"$each": more}}})

        async def all_there() -> None:
            assert [number for subject, number in seen if subject == "early"] == [0, 1, 2, 3, 4]
            assert [number for subject, number in seen if subject == "late"] == [0, 1, 2]
            assert await things["things"].count_documents(outbox.UNPUBLISHED) == 0

        await eventually(all_there, within=3)
    finally:
        await relay.stop()


async def test_of_two_relays_one_works_and_the_other_takes_over(
    things: Database, connect: Connect, seen: list[tuple[str, int]]
) -> None:
    first, second = await relay_of(things, connect), await relay_of(things, connect)
    first.start()
    await asyncio.sleep(0.5)
    second.start()
    await asyncio.sleep(0.5)
    await things["things"].insert_many([thing(f"a{n}", [Happened(number=n)]) for n in range(50)])

    async def each_once() -> None:
        assert sorted(number for _, number in seen) == list(range(50))

    await eventually(each_once)
    await first.stop()
    await things["things"].insert_one(thing("b", [Happened(number=50)]))

    async def taken_over() -> None:
        assert ("b", 50) in seen

    await eventually(taken_over)
    await second.stop()
    assert len(seen) == 51


async def test_what_cannot_be_published_stays_and_holds_back_what_follows_it(
    things: Database, connect: Connect, seen: list[tuple[str, int]]
) -> None:
    relay = await relay_of(things, connect)
    relay.start()
    try:
        await things["things"].insert_one(
            thing("stuck", [Happened(number=1), Unheard(), Happened(number=2)])
        )
        await things["things"].insert_one(thing("free", [Happened(number=3)]))

        async def published() -> None:
            assert set(seen) == {("stuck", 1), ("free", 3)}
            stuck = await things["things"].find_one({"_id": "stuck"})
            assert stuck is not None
            assert [event["type"] for event in stuck["outbox"]] == [Unheard.type, Happened.type]

        await eventually(published)
    finally:
        await relay.stop()


async def test_events_carry_the_trace_and_the_cause_of_the_change() -> None:
    cause = Cause(
        by="payments",
        event_id="evt_1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )

    (stored,) = outbox.to_publish(
        [Happened(number=1)], source="tests", subject="x", after=4, at=NOW, cause=cause
    )

    assert stored["sequence"] == 5
    assert stored["causation_id"] == "evt_1"
    assert stored["traceparent"] == cause.traceparent
    assert stored["correlation_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_a_lease_has_one_holder_until_it_runs_out_by_the_servers_clock(
    database: Database,
) -> None:
    assert await lease.take(database, "x", "one")
    assert await lease.take(database, "x", "one")
    assert not await lease.take(database, "x", "two")

    await database["leases"].update_one({"_id": "x"}, [{"$set": {"until": "$$NOW"}}])
    await asyncio.sleep(0.01)

    assert await lease.take(database, "x", "two")
    assert not await lease.take(database, "x", "one")


async def test_a_lease_that_is_dropped_is_free_but_only_its_holder_drops_it(
    database: Database,
) -> None:
    await lease.take(database, "x", "one")
    await lease.drop(database, "x", "two")
    assert not await lease.take(database, "x", "two")
    await lease.drop(database, "x", "one")
    assert await lease.take(database, "x", "two")


async def test_of_many_who_want_a_new_lease_at_once_one_gets_it(database: Database) -> None:
    taken = await asyncio.gather(*(lease.take(database, "x", f"p{n}") for n in range(20)))
    assert sum(taken) == 1
