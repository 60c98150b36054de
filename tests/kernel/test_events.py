"""Events over the real RabbitMQ: done, retried, dead-lettered or waiting."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pymongo.errors import OperationFailure

from cartwheel.kernel._amqp.interface import Unroutable
from cartwheel.kernel._bus import consuming, topology, wire
from cartwheel.kernel._bus.consuming import Consumer, on, on_batch
from cartwheel.kernel._bus.publishing import Publisher
from cartwheel.kernel._bus.wire import StoredEvent
from cartwheel.kernel._core.batcher import Gather
from cartwheel.kernel._core.ids import new_id
from cartwheel.kernel._core.messages import CloudEvent
from cartwheel.kernel.errors import Conflict, Contention, DeadLetter, RetryLater, Unavailable
from cartwheel.operations.dead_letters.queue import as_published

from ..proxy import proxy_to
from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Happened, Unheard, headers_of

RETRY = topology.retry_queue(SERVICE, topology.RETRY_DELAYS[0])
DEAD = topology.dead_queue(SERVICE)


def happened(number: int) -> StoredEvent:
    return StoredEvent(
        id=new_id("evt"),
        type=Happened.type,
        source="tests",
        subject="thing_1",
        sequence=number,
        time=datetime.now(UTC),
        data=wire.encode(Happened(number=number)).decode(),
        causation_id="evt_cause",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


async def probe() -> None:
    """Everything is there."""


async def publish(connect: Connect, *events: StoredEvent) -> None:
    publisher = Publisher(frozenset({Happened.type, Unheard.type}))
    await connect(publisher)
    await asyncio.gather(*(publisher.publish(event) for event in events))


async def publish_to_a_reader_that_dies(connect: Connect, *events: StoredEvent) -> None:
    """Publish `events`, and end their reader once it has all of them in hand: they come again."""
    in_hand = 0
    all_in_hand = asyncio.Event()

    async def hang(_: CloudEvent[Happened]) -> None:
        nonlocal in_hand
        in_hand += 1
        if in_hand == len(events):
            all_in_hand.set()
        await asyncio.Event().wait()

    reader = await connect(Consumer(SERVICE, [on(Happened, hang)], probe=probe))
    await publish(connect, *events)
    await all_in_hand.wait()
    await reader.stop()


async def taken(channel: AbstractChannel, queue: str) -> AbstractIncomingMessage:
    """Return the next message of `queue`."""
    opened = await channel.get_queue(queue)
    message = await opened.get(fail=False)
    assert message is not None
    await message.ack()
    return message


async def count(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0


async def test_an_event_arrives_with_all_its_attributes(connect: Connect) -> None:
    seen: list[CloudEvent[Happened]] = []

    async def note(event: CloudEvent[Happened]) -> None:
        seen.append(event)

    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))
    sent = happened(7)
    await publish(connect, sent)

    async def arrived() -> CloudEvent[Happened]:
        assert seen
        return seen[0]

    event = await eventually(arrived)
    assert event.data == Happened(number=7)
    assert (event.id, event.subject, event.sequence) == (sent.id, "thing_1", 7)
    assert (event.source, event.causation_id) == ("tests", "evt_cause")
    assert event.traceparent == sent.traceparent
    assert event.time == sent.time


async def test_events_that_are_there_together_are_handled_together(connect: Connect) -> None:
    batches: list[int] = []

    async def together(events: list[CloudEvent[Happened]]) -> Sequence[None]:
        batches.append(len(events))
        await asyncio.sleep(0.1)
        return [None] * len(events)

    await publish(connect, *(happened(n) for n in range(1, 101)))
    await connect(Consumer(SERVICE, [on_batch(Happened, together)], probe=probe))

    async def all_done() -> None:
        assert sum(batches) == 100

    await eventually(all_done)
    assert len(batches) < 20


async def test_an_event_is_acknowledged_only_after_its_effect(connect: Connect) -> None:
    await publish_to_a_reader_that_dies(connect, happened(1))

    again: list[CloudEvent[Happened]] = []

    async def note(event: CloudEvent[Happened]) -> None:
        again.append(event)

    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))

    async def redelivered() -> None:
        assert len(again) == 1

    await eventually(redelivered)


async def test_an_event_that_the_domain_refuses_is_done(
    connect: Connect, channel: AbstractChannel
) -> None:
    refused = asyncio.Event()

    async def refuse(event: CloudEvent[Happened]) -> None:
        refused.set()
        raise Conflict("not now, not ever")

    await connect(Consumer(SERVICE, [on(Happened, refuse)], probe=probe))
    await publish(connect, happened(1))
    await refused.wait()
    await asyncio.sleep(0.2)

    for queue in (topology.event_queue(SERVICE), RETRY, DEAD):
        assert await count(channel, queue) == 0


async def test_a_failed_event_waits_for_its_retry(
    connect: Connect, channel: AbstractChannel
) -> None:
    async def fail(event: CloudEvent[Happened]) -> None:
        raise ZeroDivisionError

    await connect(Consumer(SERVICE, [on(Happened, fail)], probe=probe))
    sent = happened(1)
    await publish(connect, sent)

    message = await eventually(lambda: taken(channel, RETRY))
    assert message.headers[consuming.ATTEMPTS] == 1
    assert message.message_id == sent.id


async def test_an_event_that_keeps_failing_is_dead_lettered_with_its_story(
    connect: Connect, channel: AbstractChannel
) -> None:
    async def fail(event: CloudEvent[Happened]) -> None:
        raise ZeroDivisionError("by zero")

    await connect(Consumer(SERVICE, [on(Happened, fail)], probe=probe))
    last_attempt = as_published(wire.write_event(happened(1)))
    last_attempt.headers[consuming.ATTEMPTS] = 3
    await channel.default_exchange.publish(last_attempt, topology.event_queue(SERVICE))

    parked = await eventually(lambda: taken(channel, DEAD))
    assert parked.headers["reason"] == "by zero"
    assert parked.headers["attempts"] == 4
    assert "ZeroDivisionError" in str(parked.headers["stack"])
    assert parked.headers["origin"] == topology.event_queue(SERVICE)
    assert parked.body == last_attempt.body


async def test_an_event_that_its_handler_gives_up_is_dead_lettered_at_once(
    connect: Connect, channel: AbstractChannel
) -> None:
    async def give_up(event: CloudEvent[Happened]) -> None:
        raise DeadLetter("it failed for ten minutes")

    await connect(Consumer(SERVICE, [on(Happened, give_up)], probe=probe))
    await publish(connect, happened(1))

    dead = await eventually(lambda: taken(channel, DEAD))
    assert dead.headers["reason"] == "it failed for ten minutes"
    assert dead.headers["attempts"] == 1


@pytest.mark.parametrize(
    "broken",
    [
        Message(b"{}", delivery_mode=DeliveryMode.PERSISTENT),
        Message(b"not json", headers=headers_of(happened(1))),
        Message(b"{}", headers={**headers_of(happened(1)), "cloudEvents_type": "x"}),
        Message(
            b'{"number":1}',
            headers={**headers_of(happened(1)), "cloudEvents_sequence": "one"},
        ),
        Message(b"[" * 100_000, headers=headers_of(happened(1))),
        Message(
            b'{"number":1,"ignored":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            headers=headers_of(happened(1)),
        ),
        *(
            Message(
                b'{"number":1}',
                headers={**headers_of(happened(1)), consuming.ATTEMPTS: attempts},
            )
            for attempts in ("abc", -5, "9" * 5000, True)
        ),
    ],
    ids=[
        "no attributes",
        "no json",
        "unknown type",
        "bad attribute",
        "deep",
        "deep in an ignored field",
        "attempts abc",
        "attempts -5",
        "attempts of 5,000 digits",
        "attempts true",
    ],
)
async def test_an_unreadable_event_is_dead_lettered_at_once_and_the_next_is_handled(
    connect: Connect, channel: AbstractChannel, broken: Message
) -> None:
    seen: list[int] = []

    async def note(event: CloudEvent[Happened]) -> None:
        seen.append(event.data.number)

    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))
    await channel.default_exchange.publish(broken, topology.event_queue(SERVICE))
    await publish(connect, happened(2))

    parked = await eventually(lambda: taken(channel, DEAD))
    assert parked.headers["attempts"] == 1

    async def handled() -> None:
        assert seen == [2]

    await eventually(handled)
    assert await count(channel, topology.event_queue(SERVICE)) == 0


async def test_a_handler_may_ask_for_any_number_of_retries(
    connect: Connect, channel: AbstractChannel
) -> None:
    async def fail(event: CloudEvent[Happened]) -> None:
        raise RetryLater("this mail alone")

    await connect(Consumer(SERVICE, [on(Happened, fail)], probe=probe))
    tried_often = as_published(wire.write_event(happened(1)))
    tried_often.headers[consuming.RETRIES_REQUESTED] = 40
    await channel.default_exchange.publish(tried_often, topology.event_queue(SERVICE))

    later = topology.retry_queue(SERVICE, topology.RETRY_DELAYS[-1])
    message = await eventually(lambda: taken(channel, later))
    assert message.headers[consuming.RETRIES_REQUESTED] == 41
    assert consuming.ATTEMPTS not in message.headers  # a failure would still be tried four times
    assert await count(channel, DEAD) == 0


async def test_contention_is_retried_at_once_and_delays_no_other_event(
    connect: Connect, channel: AbstractChannel
) -> None:
    tries: list[int] = []
    done: list[int] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        tries.append(event.data.number)
        if event.data.number == 1 and tries.count(1) < 5:
            raise OperationFailure("WriteConflict", 112)
        done.append(event.data.number)

    async def unasked() -> None:
        raise AssertionError("nothing is down")

    await connect(Consumer(SERVICE, [on(Happened, handle)], probe=unasked))
    await publish(connect, happened(1), happened(2))

    async def both_done() -> None:
        assert sorted(done) == [1, 2]

    await eventually(both_done, within=5)
    for queue in (topology.event_queue(SERVICE), RETRY, DEAD):
        assert await count(channel, queue) == 0


async def test_contention_that_never_ends_is_a_failure_of_that_event_alone(
    connect: Connect, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "CONTENTION_PAUSES", (0.01, 0.01))

    async def conflict(event: CloudEvent[Happened]) -> None:
        raise Contention("others were faster")

    await connect(Consumer(SERVICE, [on(Happened, conflict)], probe=probe))
    await publish(connect, happened(1))

    message = await eventually(lambda: taken(channel, RETRY))
    assert message.headers[consuming.ATTEMPTS] == 1


async def test_a_bug_of_the_consumer_itself_dead_letters_the_event_and_goes_on(
    connect: Connect, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    async def note(event: CloudEvent[Happened]) -> None:
        seen.append(event.data.number)

    def fail(_: str | None) -> str:
        monkeypatch.undo()
        raise KeyError("a bug")

    monkeypatch.setattr(consuming, "continue_trace", fail)
    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))
    await publish(connect, happened(1))
    await eventually(lambda: taken(channel, DEAD))
    await publish(connect, happened(2))

    async def handled() -> None:
        assert seen == [2]

    await eventually(handled)


async def test_during_an_outage_events_wait_and_none_is_dead_lettered(
    connect: Connect, channel: AbstractChannel
) -> None:
    away = True
    tries = 0
    done: list[int] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        nonlocal tries
        tries += 1
        if away:
            raise Unavailable("the database is down")
        done.append(event.data.number)

    async def is_back() -> None:
        if away:
            raise Unavailable("still away")

    await connect(Consumer(SERVICE, [on(Happened, handle)], probe=is_back))
    await publish(connect, *(happened(n) for n in range(10)))
    await asyncio.sleep(2)
    tried_while_away = tries
    away = False

    async def all_done() -> None:
        assert sorted(done) == list(range(10))

    await eventually(all_done)
    assert tried_while_away <= 10  # one look each, not a storm
    assert await count(channel, DEAD) == 0
    assert await count(channel, RETRY) == 0


async def test_waiting_for_a_dependency_counts_no_delivery_even_if_probes_succeed(
    connect: Connect, channel: AbstractChannel
) -> None:
    """Each requeue of an event counts toward its delivery limit."""
    tries = 0

    async def handle(_: CloudEvent[Happened]) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("SES asks to wait")

    connection = await connect(Consumer(SERVICE, [on(Happened, handle)], probe=probe))
    await publish(connect, happened(1))

    async def tried_again() -> None:
        assert tries >= 3

    await eventually(tried_again)
    await connection.stop()

    queue = await channel.get_queue(topology.event_queue(SERVICE))

    async def given_back() -> AbstractIncomingMessage:
        message = await queue.get(fail=False)
        assert message is not None
        return message

    message = await eventually(given_back)
    await message.ack()
    assert message.headers["x-delivery-count"] == 1


async def test_a_redelivered_event_is_handled_past_the_batch(connect: Connect) -> None:
    sizes: list[int] = []

    async def note(events: list[CloudEvent[Happened]]) -> Sequence[None]:
        sizes.append(len(events))
        await asyncio.sleep(0.02)
        return [None] * len(events)

    await publish_to_a_reader_that_dies(connect, *map(happened, range(20)))
    await connect(Consumer(SERVICE, [on_batch(Happened, note)], probe=probe))

    async def all_done() -> None:
        assert sum(sizes) == 20

    await eventually(all_done)
    assert set(sizes) == {1}


FOR_EVER = 3600.0
"""Seconds for which events gather that are to go for another reason."""


class Gathered:
    """Handles events that gather, and remembers the batches."""

    def __init__(self, seconds: float = FOR_EVER, limit: int = 64) -> None:
        self.batches: list[list[int]] = []
        self.stop = asyncio.Event()
        row = on_batch(Happened, self._note, Gather(seconds, self.stop, limit))
        self.consumer = Consumer(SERVICE, [row], probe=probe)

    @property
    def handled(self) -> list[int]:
        return sorted(number for batch in self.batches for number in batch)

    async def _note(self, events: list[CloudEvent[Happened]]) -> Sequence[None]:
        self.batches.append([event.data.number for event in events])
        return [None] * len(events)


@pytest.fixture
def gathered() -> Generator[Callable[..., Gathered]]:
    """Makes readers of events that gather, and has them finish at the end."""
    made: list[Gathered] = []

    def make(**given: Any) -> Gathered:
        made.append(Gathered(**given))
        return made[-1]

    yield make
    for each in made:
        each.stop.set()


async def test_events_that_come_one_after_the_other_gather(
    connect: Connect, gathered: Callable[..., Gathered]
) -> None:
    reader = gathered(seconds=1.0)
    await connect(reader.consumer)

    for number in range(5):
        await publish(connect, happened(number))

    async def all_done() -> None:
        assert reader.handled == [0, 1, 2, 3, 4]

    await eventually(all_done)
    assert len(reader.batches) == 1


async def test_the_first_events_of_a_consumer_gather_too(
    connect: Connect, gathered: Callable[..., Gathered]
) -> None:
    """It begins with one in hand, which alone would never make a full batch."""
    await publish(connect, *map(happened, range(100)))
    reader = gathered(limit=50)

    await connect(reader.consumer)

    async def all_done() -> None:
        assert [len(batch) for batch in reader.batches] == [50, 50]

    await eventually(all_done)


async def test_a_redelivery_does_not_wait_for_a_batch(
    connect: Connect, gathered: Callable[..., Gathered]
) -> None:
    await publish_to_a_reader_that_dies(connect, *map(happened, range(5)))
    reader = gathered()

    await connect(reader.consumer)

    async def all_done() -> None:
        assert reader.handled == [0, 1, 2, 3, 4]

    await eventually(all_done)
    assert {len(batch) for batch in reader.batches} == {1}


async def test_a_redelivery_is_handled_in_its_own_way_if_there_is_one(connect: Connect) -> None:
    handled: list[tuple[str, int]] = []

    async def gather(event: CloudEvent[Happened]) -> None:
        handled.append(("gather", event.data.number))

    async def at_once(event: CloudEvent[Happened]) -> None:
        handled.append(("at once", event.data.number))

    await publish_to_a_reader_that_dies(connect, happened(1))
    await publish(connect, happened(2))
    await connect(Consumer(SERVICE, [on(Happened, gather).redelivered_to(at_once)], probe=probe))

    async def both_done() -> None:
        assert sorted(handled) == [("at once", 1), ("gather", 2)]

    await eventually(both_done)


async def test_events_of_a_gathering_batch_are_redelivered_if_the_consumer_dies(
    connect: Connect, channel: AbstractChannel, gathered: Callable[..., Gathered]
) -> None:
    dying, next_one = gathered(), gathered()
    connection = await connect(dying.consumer)
    await publish(connect, *map(happened, range(3)))
    await asyncio.sleep(0.5)
    await connection.stop()

    await connect(next_one.consumer)

    async def all_done() -> None:
        assert next_one.handled == [0, 1, 2]

    await eventually(all_done)
    assert dying.batches == []


async def test_a_gathering_batch_is_finished_at_once_when_the_consumer_stops(
    connect: Connect, channel: AbstractChannel, gathered: Callable[..., Gathered]
) -> None:
    reader = gathered()
    connection = await connect(reader.consumer)
    await publish(connect, *map(happened, range(3)))
    await asyncio.sleep(0.5)
    assert reader.batches == []

    reader.stop.set()
    async with asyncio.timeout(5):
        await reader.consumer.drain()
    await connection.stop()

    assert reader.handled == [0, 1, 2]
    await asyncio.sleep(0.2)
    assert await count(channel, topology.event_queue(SERVICE)) == 0


async def test_consuming_resumes_after_a_lost_connection(
    connect: Connect, rabbitmq_url: str
) -> None:
    seen: set[int] = set()

    async def note(event: CloudEvent[Happened]) -> None:
        seen.add(event.data.number)

    async with proxy_to(rabbitmq_url) as (proxy, url):
        await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe), url=url)
        await publish(connect, happened(1))
        proxy.cut()
        await publish(connect, happened(2))

        async def both() -> None:
            assert seen == {1, 2}

        await eventually(both)


@pytest.mark.timeout(60)
async def test_waiting_to_publish_does_not_hide_a_lost_connection(
    connect: Connect, rabbitmq_url: str
) -> None:
    publisher = Publisher(frozenset({Happened.type}))
    async with proxy_to(rabbitmq_url) as (proxy, url):
        await connect(publisher, url=url)

        async def wait_again_and_again() -> None:
            while True:
                await publisher.opened()
                await asyncio.sleep(0)

        waiting = asyncio.create_task(wait_again_and_again())
        for _ in range(3):
            proxy.cut()
            await asyncio.sleep(0.3)
        await publisher.opened()
        await publisher.publish(happened(1))
        waiting.cancel()


async def test_a_stopping_consumer_requeues_events_it_has_not_begun(
    connect: Connect, channel: AbstractChannel
) -> None:
    begun = asyncio.Event()
    done: list[int] = []

    async def slow(event: CloudEvent[Happened]) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        done.append(event.data.number)

    consumer = Consumer(SERVICE, [on(Happened, slow)], probe=probe)
    connection = await connect(consumer)
    await publish(connect, *(happened(n) for n in range(200)))
    await begun.wait()

    await consumer.drain()
    finished = len(done)
    await connection.stop()

    assert 0 < finished < 200

    async def given_back() -> None:
        assert await count(channel, topology.event_queue(SERVICE)) == 200 - finished

    await eventually(given_back)


async def test_an_event_with_a_consumer_but_no_queue_does_not_count_as_published(
    connect: Connect,
) -> None:
    unheard = StoredEvent(
        id=new_id("evt"),
        type=Unheard.type,
        source="tests",
        subject="thing_1",
        sequence=1,
        time=datetime.now(UTC),
        data="{}",
    )
    with pytest.raises(Unroutable):
        await publish(connect, unheard)


async def test_consuming_resumes_after_the_queue_was_deleted_and_declared_again(
    connect: Connect, channel: AbstractChannel
) -> None:
    seen: list[int] = []

    async def note(event: CloudEvent[Happened]) -> None:
        seen.append(event.data.number)

    await connect(Consumer(SERVICE, [on(Happened, note)], probe=probe))
    await channel.queue_delete(topology.event_queue(SERVICE))
    await asyncio.sleep(0.5)  # RabbitMQ 3.10 tells consumers of it with a delay
    await topology.declare(channel, services=[SERVICE], events=[Happened])
    await publish(connect, happened(1))

    async def handled() -> None:
        assert seen == [1]

    await eventually(handled)


async def test_a_hanging_probe_or_handler_is_aborted_and_retried(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "PROBE_WITHIN_SECONDS", 0.3)
    monkeypatch.setattr(consuming, "HANDLE_WITHIN_SECONDS", 0.3)
    hung = {"handler": False, "probe": False}
    done: list[int] = []

    async def hang_once(what: str) -> None:
        if not hung[what]:
            hung[what] = True
            await asyncio.sleep(3600)

    async def handle(event: CloudEvent[Happened]) -> None:
        await hang_once("handler")
        done.append(event.data.number)

    await connect(Consumer(SERVICE, [on(Happened, handle)], probe=lambda: hang_once("probe")))
    await publish(connect, happened(1))

    async def handled() -> None:
        assert done == [1]

    await eventually(handled)
    assert hung == {"handler": True, "probe": True}
