"""The outbox and its relay, on the real MongoDB and RabbitMQ."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from cartwheel.kernel._bus.consuming import Consumer, on
from cartwheel.kernel._bus.publishing import Publisher
from cartwheel.kernel._bus.wire import StoredEvent
from cartwheel.kernel._core.messages import Change, CloudEvent, Event
from cartwheel.kernel._store import lease, outbox
from cartwheel.kernel._store import relay as relays
from cartwheel.kernel._store.client import Database, Document
from cartwheel.kernel._store.outbox import Outboxes
from cartwheel.kernel._store.relay import Relay
from cartwheel.local.up import System

from ..alarms import rabbitmq_full
from ..logs import logged_by
from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Happened, Unheard

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BY_TESTS = Change(by="tests", at=NOW)

Seen = list[tuple[str, int]]
"""(subject, number) of each event, in the order of arrival."""

Start = Callable[..., Awaitable[Relay]]
"""Starts a relay of the outboxes it is given, and of a publisher if it is to be a certain one."""


class Counted(Publisher):
    """Counts what it has been asked to publish."""

    count = 0

    async def publish(self, event: StoredEvent) -> None:
        self.count += 1
        await super().publish(event)


class Slow(Counted):
    """Publishes what happens to the thing `a` only once it is told to go `on`."""

    def __init__(self) -> None:
        super().__init__(frozenset({Happened.type}))
        self.asked = 0
        self.on = asyncio.Event()

    async def publish(self, event: StoredEvent) -> None:
        if event.subject == "a":
            self.asked += 1
            await self.on.wait()
        await super().publish(event)


class Failing(Counted):
    """Publishes the first event, and does not learn of it."""

    async def publish(self, event: StoredEvent) -> None:
        await super().publish(event)
        if self.count == 1:
            raise ConnectionError("no confirm has come")


def publishing() -> Counted:
    return Counted(frozenset({Happened.type, Unheard.type}))


@pytest.fixture
async def things(database: Database) -> Database:
    await outbox.index_outbox(database["things"])
    return database


@pytest.fixture
async def seen(connect: Connect) -> Seen:
    arrived: Seen = []

    async def note(event: CloudEvent[Happened]) -> None:
        arrived.append((event.subject, event.data.number))

    async def probe() -> None: ...

    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))
    return arrived


@pytest.fixture
async def start(things: Database, connect: Connect) -> AsyncGenerator[Start]:
    running: list[Relay] = []

    async def started(outboxes: Outboxes, publisher: Publisher | None = None) -> Relay:
        publisher = publisher or publishing()
        await connect(publisher)
        relay = Relay(things, ["things"], publisher, outboxes)
        running.append(relay)
        relay.start()
        return relay

    yield started
    for relay in running:
        await relay.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays look for what was left behind at once and all the time, and so may publish twice."""
    monkeypatch.setattr(relays, "LEFT_BEHIND_SECONDS", 0.0)
    monkeypatch.setattr(relays, "SWEEP_EVERY_SECONDS", 0.05)


@pytest.fixture
def without_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays that publish reported events but never sweep."""
    monkeypatch.setattr(relays, "SWEEP_EVERY_SECONDS", 3600.0)


def thing(name: str, *events: Event, after: int = 0) -> Document:
    return {"_id": name, "outbox": lying(name, *events, after=after)}


def lying(name: str, *events: Event, after: int = 0) -> list[Document]:
    return outbox.to_publish(events, source="tests", subject=name, after=after, change=BY_TESTS)


async def unpublished(things: Database) -> int:
    """Return how many things have something to publish."""
    return await things["things"].count_documents({"outbox.id": {"$gt": ""}, **outbox.UNPUBLISHED})


async def add(things: Database, name: str, *events: Event, after: int) -> list[Document]:
    """Let more happen to the thing `name`; return what is added to its outbox."""
    more = lying(name, *events, after=after)
    await things["things"].update_one({"_id": name}, {"$push": {"outbox": {"$each": more}}})
    return more


async def taken_out(things: Database) -> None:
    async def nothing_is_left() -> None:
        assert await unpublished(things) == 0

    await eventually(nothing_is_left)


async def told(happens: Callable[[], bool]) -> None:
    async def has_happened() -> None:
        assert happens()

    await eventually(has_happened)


@pytest.mark.usefixtures("without_sweeps")
async def test_stored_events_are_published_at_once_in_order_and_then_removed(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    await start(outboxes)
    await things["things"].insert_one(thing("a", *(Happened(number=n) for n in range(5))))
    outboxes.filled("things", ["a"])
    await told(lambda: seen == [("a", n) for n in range(5)])
    await add(things, "a", Happened(number=5), Happened(number=6), after=5)
    outboxes.filled("things", ["a", "never stored"])

    await told(lambda: seen == [("a", n) for n in range(7)])
    await taken_out(things)


async def test_a_published_event_still_in_the_outbox_is_not_published_again(
    things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "CLEAR_EVERY_SECONDS", 3600)
    outboxes = Outboxes()
    relay = await start(outboxes)
    await things["things"].insert_one(thing("a", Happened(number=0)))
    outboxes.filled("things", ["a"])
    await told(lambda: seen == [("a", 0)])
    await add(things, "a", Happened(number=1), after=1)
    outboxes.filled("things", ["a"])
    await told(lambda: len(seen) > 1)

    await relay.stop()

    assert seen == [("a", 0), ("a", 1)]
    assert await unpublished(things) == 0


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_does_not_overtake_an_earlier_one_of_another_replica(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    await start(outboxes)
    await things["things"].insert_one(thing("a", Happened(number=0)))  # who wrote this is slow
    await add(things, "a", Happened(number=1), after=1)
    outboxes.filled("things", ["a"])

    await told(lambda: seen == [("a", 0), ("a", 1)])


@pytest.mark.usefixtures("without_sweeps")
async def test_events_are_published_unread_from_the_first_one_on(start: Start, seen: Seen) -> None:
    outboxes = Outboxes()
    await start(outboxes)
    # Nothing of this is stored: what is published has not been read.
    outboxes.stored("things", "a", lying("a", Happened(number=0), Happened(number=1)))
    await told(lambda: seen == [("a", 0), ("a", 1)])
    outboxes.stored("things", "a", lying("a", Happened(number=2), after=2))

    await told(lambda: seen == [("a", 0), ("a", 1), ("a", 2)])


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_does_not_overtake_one_that_another_replica_wrote_in_between(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    await start(outboxes)
    first = thing("a", Happened(number=0))
    await things["things"].insert_one(first)
    outboxes.stored("things", "a", first["outbox"])
    await told(lambda: seen == [("a", 0)])
    await add(things, "a", Happened(number=1), after=1)  # who wrote this is slow
    third = await add(things, "a", Happened(number=2), after=2)

    outboxes.stored("things", "a", third)

    await told(lambda: seen == [("a", 0), ("a", 1), ("a", 2)])


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_does_not_overtake_what_this_process_has_yet_to_publish(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    publisher = Slow()
    await start(outboxes, publisher)
    first = thing("a", Happened(number=0))
    await things["things"].insert_one(first)
    outboxes.stored("things", "a", first["outbox"])
    await told(lambda: publisher.asked == 1)
    for number in (1, 2):
        outboxes.stored(
            "things", "a", await add(things, "a", Happened(number=number), after=number)
        )
    await asyncio.sleep(0.1)  # in which an event might overtake
    publisher.on.set()

    await told(lambda: seen == [("a", 0), ("a", 1), ("a", 2)])


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_reported_before_an_earlier_one_does_not_overtake_it(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    await start(outboxes)
    first = thing("a", Happened(number=0))
    await things["things"].insert_one(first)
    outboxes.stored("things", "a", await add(things, "a", Happened(number=1), after=1))
    await told(lambda: seen == [("a", 0), ("a", 1)])

    outboxes.stored("things", "a", first["outbox"])  # whose write's answer was late

    await outboxes.none()
    await taken_out(things)
    assert seen == [("a", 0), ("a", 1)]


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_does_not_overtake_one_whose_publishing_has_failed(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    await start(outboxes, Failing(frozenset({Happened.type})))
    first = thing("a", Happened(number=0), Happened(number=1))
    await things["things"].insert_one(first)
    outboxes.stored("things", "a", first["outbox"])
    await told(lambda: len(seen) == 1)
    outboxes.stored("things", "a", await add(things, "a", Happened(number=2), after=2))

    await told(lambda: seen == [("a", 0), ("a", 0), ("a", 1), ("a", 2)])
    await taken_out(things)


@pytest.mark.usefixtures("without_sweeps")
async def test_the_outbox_is_read_if_the_last_event_was_published_long_ago(
    things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "REMEMBERED", 1)
    outboxes = Outboxes()
    await start(outboxes)
    outboxes.stored("things", "a", lying("a", Happened(number=0)))
    await told(lambda: seen == [("a", 0)])
    outboxes.stored("things", "b", lying("b", Happened(number=0)))
    await told(lambda: len(seen) == 2)

    outboxes.stored("things", "a", lying("a", Happened(number=1), after=1))  # and not stored
    outboxes.stored("things", "b", lying("b", Happened(number=1), after=1))

    await told(lambda: seen[2:] == [("b", 1)])
    await outboxes.none()
    assert seen[2:] == [("b", 1)]


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_read_just_before_its_removal_is_not_published_again(
    things: Database, start: Start, seen: Seen
) -> None:
    outboxes = Outboxes()
    publisher = publishing()
    await start(outboxes, publisher)
    first = thing("a", Happened(number=0), Happened(number=1))
    await things["things"].insert_one(first)
    outboxes.filled("things", "a")
    await told(lambda: len(seen) == 2)
    await taken_out(things)

    # As a relay sees it that has read before.
    await things["things"].update_one({"_id": "a"}, {"$set": {"outbox": first["outbox"]}})
    outboxes.filled("things", "a")
    await outboxes.none()

    assert publisher.count == 2


@pytest.mark.usefixtures("without_sweeps")
async def test_a_missing_confirm_does_not_delay_other_documents(
    things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "CONFIRM_TIMEOUT_SECONDS", 3600.0)
    outboxes = Outboxes()
    publisher = Slow()
    await start(outboxes, publisher)
    await things["things"].insert_many([thing(name, Happened(number=0)) for name in "abc"])
    outboxes.filled("things", "ab")
    await told(lambda: seen == [("b", 0)])
    outboxes.filled("things", "c")
    await told(lambda: seen == [("b", 0), ("c", 0)])
    publisher.on.set()

    await told(lambda: seen == [("b", 0), ("c", 0), ("a", 0)])


@pytest.mark.usefixtures("without_sweeps")
async def test_an_event_whose_confirm_does_not_come_is_published_again(
    things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "CONFIRM_TIMEOUT_SECONDS", 0.5)
    outboxes = Outboxes()
    publisher = Slow()
    await start(outboxes, publisher)
    first = thing("a", Happened(number=0))
    await things["things"].insert_one(first)
    outboxes.stored("things", "a", first["outbox"])
    await told(lambda: publisher.asked > 1)
    monkeypatch.setattr(
        relays, "CONFIRM_TIMEOUT_SECONDS", 30.0
    )  # a busy machine takes more than 0.5 s
    publisher.on.set()

    await told(lambda: ("a", 0) in seen)
    await taken_out(things)


async def test_nothing_more_is_sent_while_rabbitmq_accepts_nothing(
    system: System, things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        relays, "CONFIRM_TIMEOUT_SECONDS", 2.0
    )  # and not so short that a yes is missed
    outboxes = Outboxes()
    await start(outboxes)
    async with rabbitmq_full(system.supervisor):
        await things["things"].insert_one(thing("a", Happened(number=0)))
        outboxes.filled("things", ["a"])
        await asyncio.sleep(5)
        assert seen == []
    await taken_out(things)
    # The one by which RabbitMQ's silence was noticed, and its repetition.
    await told(lambda: seen in ([("a", 0)], [("a", 0)] * 2))


async def test_the_relay_publishes_its_last_events_before_it_stops(
    things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        relays, "STOP_WITHIN_SECONDS", 30.0
    )  # a busy machine takes more than a second
    outboxes = Outboxes()
    relay = await start(outboxes)
    names = [f"a{n}" for n in range(600)]
    await things["things"].insert_many([thing(name, Happened(number=0)) for name in names])
    outboxes.filled("things", names)

    await relay.stop()

    assert await unpublished(things) == 0
    await told(lambda: sorted(name for name, _ in seen) == sorted(names))


async def test_the_sweep_finds_old_events_but_not_ones_just_written(
    things: Database, start: Start, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays, "LEFT_BEHIND_SECONDS", 1.0)
    monkeypatch.setattr(relays, "SWEEP_EVERY_SECONDS", 0.1)
    await start(Outboxes())
    written = time.monotonic()
    await things["things"].insert_one(thing("a", *(Happened(number=n) for n in range(5))))
    await told(lambda: seen == [("a", n) for n in range(5)])
    assert time.monotonic() - written > 0.9


@pytest.mark.usefixtures("impatient")
async def test_one_of_two_relays_sweeps_and_the_other_takes_over(
    things: Database, start: Start, seen: Seen
) -> None:
    by_second = publishing()
    first = await start(Outboxes())
    await things["things"].insert_one(thing("first", Happened(number=50)))
    await told(lambda: ("first", 50) in seen)
    second = await start(Outboxes(), by_second)
    await things["things"].insert_many([thing(f"a{n}", Happened(number=n)) for n in range(50)])

    await told(lambda: {number for _, number in seen} == set(range(51)))
    assert by_second.count == 0
    await first.stop()
    await things["things"].insert_one(thing("last", Happened(number=51)))

    await told(lambda: ("last", 51) in seen)
    assert by_second.count > 0
    await second.stop()


@pytest.mark.usefixtures("impatient")
async def test_an_unpublishable_event_stays_and_holds_back_its_successors(
    things: Database, start: Start, seen: Seen
) -> None:
    await start(Outboxes())
    await things["things"].insert_one(
        thing("stuck", Happened(number=1), Unheard(), Happened(number=2))
    )
    await things["things"].insert_one(thing("free", Happened(number=3)))

    async def published() -> None:
        assert set(seen) == {("stuck", 1), ("free", 3)}
        stuck = await things["things"].find_one({"_id": "stuck"})
        assert stuck is not None
        assert [event["type"] for event in stuck["outbox"]] == [Unheard.type, Happened.type]

    await eventually(published)


@pytest.mark.usefixtures("impatient")
async def test_an_unreadable_event_holds_back_only_its_successors(
    things: Database, connect: Connect, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = logged_by(monkeypatch, "kernel._store.relay")
    unreadable = thing("stuck", Happened(number=98), Happened(number=99))
    unreadable["outbox"][0]["sequence"] = "first"
    await things["things"].insert_many(
        [unreadable, *(thing(f"a{n}", Happened(number=n)) for n in range(50))]
    )
    await outbox.index_outbox(things["others"])
    await things["others"].insert_one(thing("b", Happened(number=50)))
    publisher = Publisher(frozenset({Happened.type}))
    await connect(publisher)
    relay = Relay(things, ["things", "others"], publisher, Outboxes())

    relay.start()
    try:
        await told(lambda: {number for _, number in seen} >= set(range(51)))
        await asyncio.sleep(0.5)
    finally:
        await relay.stop()

    assert {number for _, number in seen} == set(range(51))
    assert [line["document"] for line in logged] == ["stuck"]


async def test_events_carry_the_trace_and_the_cause_of_the_change() -> None:
    change = Change(
        by="payments",
        at=NOW,
        event_id="evt_1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )

    (stored,) = outbox.to_publish(
        [Happened(number=1)], source="tests", subject="x", after=4, change=change
    )

    assert stored["sequence"] == 5
    assert stored["causation_id"] == "evt_1"
    assert stored["traceparent"] == change.traceparent
    assert stored["correlation_id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_a_lease_has_one_holder_until_it_expires_by_the_servers_clock(
    database: Database,
) -> None:
    assert await lease.take(database, "x", "one")
    assert await lease.take(database, "x", "one")
    assert not await lease.take(database, "x", "two")

    await database["leases"].update_one({"_id": "x"}, [{"$set": {"until": "$$NOW"}}])
    await asyncio.sleep(0.01)

    assert await lease.take(database, "x", "two")
    assert not await lease.take(database, "x", "one")


async def test_only_its_holder_can_release_a_lease(
    database: Database,
) -> None:
    await lease.take(database, "x", "one")
    await lease.drop(database, "x", "two")
    assert not await lease.take(database, "x", "two")
    await lease.drop(database, "x", "one")
    assert await lease.take(database, "x", "two")


async def test_only_one_of_many_concurrent_callers_gets_a_new_lease(database: Database) -> None:
    taken = await asyncio.gather(*(lease.take(database, "x", f"p{n}") for n in range(20)))
    assert sum(taken) == 1
