"""What a consumer has in hand when it dies counts as delivered again, and too often is the end."""

import asyncio

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from cartwheel.kernel._bus import consuming, topology
from cartwheel.kernel._bus.consuming import Consumer, on
from cartwheel.kernel._bus.intake import PREFETCH
from cartwheel.kernel._core.messages import CloudEvent
from cartwheel.kernel.errors import Unavailable
from cartwheel.local.up import System

from ..alarms import consumer_timeout, rabbitmq_full
from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Happened
from .test_events import (
    DEAD,
    RETRY,
    count,
    happened,
    probe,
    publish,
    publish_to_a_reader_that_dies,
    taken,
)

KILLER = 0


class Replica:
    """A consumer that dies of one event, as a process would, and is started again at once."""

    def __init__(self, connect: Connect, done: list[int]) -> None:
        self._connect = connect
        self._done = done
        self.deaths = 0

    async def live(self) -> None:
        while True:
            dying = asyncio.Event()

            async def handle(event: CloudEvent[Happened], dying: asyncio.Event = dying) -> None:
                await asyncio.sleep(0.03)
                if event.data.number == KILLER:
                    dying.set()
                if dying.is_set():
                    await asyncio.Event().wait()  # a dead process does nothing more
                self._done.append(event.data.number)

            consumer = Consumer(SERVICE, [on(Happened, handle)], probe=probe)
            connection = await self._connect(consumer)
            await dying.wait()
            self.deaths += 1
            await connection.stop()


class Watched(Consumer):
    losses = 0

    def lost(self) -> None:
        self.losses += 1
        super().lost()


@pytest.mark.parametrize("replicas", [1, 2])
async def test_an_event_that_kills_its_consumer_harms_no_other_event(
    connect: Connect, channel: AbstractChannel, replicas: int
) -> None:
    done: list[int] = []
    await publish(connect, *(happened(number) for number in range(20, 40)))
    await publish(connect, happened(KILLER))
    await publish(connect, *(happened(number) for number in range(40, 60)))
    living = [Replica(connect, done) for _ in range(replicas)]
    tasks = [asyncio.create_task(replica.live()) for replica in living]

    async def killer_is_dead_lettered() -> None:
        assert await count(channel, DEAD) == 1
        assert set(done) == set(range(20, 60))

    try:
        await eventually(killer_is_dead_lettered, within=60)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(replica.deaths for replica in living) == topology.DELIVERY_LIMIT + 1
    parked = await taken(channel, DEAD)
    assert parked.body == b'{"number":0}'
    assert await count(channel, topology.event_queue(SERVICE)) == 0


async def test_a_redelivery_is_handled_alone(
    connect: Connect, channel: AbstractChannel, rabbitmq_url: str
) -> None:
    """Also by a consumer with many in hand, when another replica dies."""
    release = asyncio.Event()
    busy: set[int] = set()
    done: list[int] = []
    beside_the_redelivery: list[tuple[set[int], int]] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        busy.add(event.data.number)
        await release.wait()
        if event.data.number == 1:
            waiting = await count(channel, topology.event_queue(SERVICE))
            beside_the_redelivery.append((busy - {1}, waiting))
        await asyncio.sleep(0.05)
        busy.remove(event.data.number)
        done.append(event.data.number)

    async with await aio_pika.connect(rabbitmq_url) as other, other.channel() as its_channel:
        await publish(connect, happened(1))
        its_queue = await its_channel.get_queue(topology.event_queue(SERVICE))
        assert await its_queue.get()
        await connect(Consumer(SERVICE, [on(Happened, handle)], probe=probe))
        await publish(connect, *(happened(number) for number in range(2, 32)))

        async def side_by_side() -> None:
            assert busy == set(range(2, 32))

        await eventually(side_by_side)
    await asyncio.sleep(0.5)
    await publish(connect, *(happened(number) for number in range(32, 42)))
    assert busy == set(range(2, 32))
    release.set()

    async def all_done() -> None:
        assert sorted(done) == list(range(1, 42))

    await eventually(all_done)
    assert beside_the_redelivery == [(set(), 10)]


async def test_the_events_of_a_killed_consumer_are_soon_handled(connect: Connect) -> None:
    done: list[int] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        await asyncio.sleep(0.02)
        done.append(event.data.number)

    await publish_to_a_reader_that_dies(connect, *map(happened, range(PREFETCH)))
    began = asyncio.get_running_loop().time()
    await connect(Consumer(SERVICE, [on(Happened, handle)], probe=probe))

    async def all_done() -> None:
        assert len(done) == PREFETCH

    await eventually(all_done)
    assert asyncio.get_running_loop().time() - began < 5


async def test_an_event_is_kept_until_its_retry_copy_is_confirmed(
    connect: Connect, channel: AbstractChannel
) -> None:
    broken = True
    done: list[int] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        if broken:
            raise ZeroDivisionError
        done.append(event.data.number)

    await channel.queue_delete(RETRY)
    await connect(Consumer(SERVICE, [on(Happened, handle)], probe=probe))
    await publish(connect, *(happened(number) for number in range(PREFETCH)))
    await asyncio.sleep(2)
    broken = False
    await topology.declare(channel, services=[SERVICE], events=[Happened])
    await publish(connect, *(happened(number) for number in range(PREFETCH, PREFETCH + 10)))

    async def all_done() -> None:
        assert sorted(done) == list(range(PREFETCH + 10))

    await eventually(all_done, within=20)  # 5 s of them in the retry queue
    for queue in (topology.event_queue(SERVICE), RETRY, DEAD):
        assert await count(channel, queue) == 0


async def test_an_event_that_fails_during_an_alarm_leaves_exactly_one_copy(
    connect: Connect, channel: AbstractChannel, system: System
) -> None:
    tries: list[int] = []

    async def fail_once(event: CloudEvent[Happened]) -> None:
        tries.append(event.data.number)
        if len(tries) == 1:
            await full.wait()
            raise ZeroDivisionError

    full = asyncio.Event()
    connection = await connect(Consumer(SERVICE, [on(Happened, fail_once)], probe=probe))
    await publish(connect, happened(1))
    async with rabbitmq_full(system.supervisor):
        full.set()
        await asyncio.sleep(6)

    async def tried_again() -> None:
        assert len(tries) == 2

    await eventually(tried_again, within=20)
    await asyncio.sleep(0.5)
    assert tries == [1, 1]
    await connection.stop()
    for queue in (topology.event_queue(SERVICE), RETRY, DEAD):
        assert await count(channel, queue) == 0


async def test_an_outage_longer_than_the_consumer_timeout_counts_as_no_delivery(
    connect: Connect,
    channel: AbstractChannel,
    system: System,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consuming, "RENEW_AFTER_SECONDS", 0.7)  # a busy machine may take 3 s more
    away = True
    done: list[int] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        if away:
            raise Unavailable("the database is down")
        done.append(event.data.number)

    async def is_back() -> None:
        if away:
            raise Unavailable("still away")

    consumer = Watched(SERVICE, [on(Happened, handle)], probe=is_back)
    async with consumer_timeout(system.supervisor, seconds=4):
        await connect(consumer)
        await publish(connect, *(happened(number) for number in range(10)))
        await asyncio.sleep(6)
        assert consumer.losses == 0
    away = False

    async def all_done() -> None:
        assert sorted(set(done)) == list(range(10))

    await eventually(all_done)
    assert await count(channel, DEAD) == 0


async def test_a_waiting_redelivery_does_not_delay_other_events(
    connect: Connect, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dependency is down for it alone, or its retry copy is not taken."""
    monkeypatch.setattr(consuming, "RENEW_REDELIVERY_AFTER_SECONDS", 0.5)
    done: list[int] = []

    async def handle(event: CloudEvent[Happened]) -> None:
        if event.data.number == 0:
            raise Unavailable("for this one alone")
        if event.data.number == 1:
            raise ZeroDivisionError
        done.append(event.data.number)

    await publish_to_a_reader_that_dies(connect, *map(happened, range(30)))
    await channel.queue_delete(RETRY)
    await connect(Consumer(SERVICE, [on(Happened, handle)], probe=probe))

    async def others_done() -> None:
        assert set(done) == set(range(2, 30))

    await eventually(others_done)
    await topology.declare(channel, services=[SERVICE], events=[Happened])
    assert await count(channel, DEAD) == 0


async def test_an_unconfirmed_copy_counts_no_delivery_beyond_the_consumer_timeout(
    connect: Connect, channel: AbstractChannel, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "RENEW_AFTER_SECONDS", 0.7)

    async def fail(event: CloudEvent[Happened]) -> None:
        raise ZeroDivisionError

    consumer = Watched(SERVICE, [on(Happened, fail)], probe=probe)
    async with consumer_timeout(system.supervisor, seconds=4):
        await channel.queue_delete(RETRY)
        await connect(consumer)
        await publish(connect, happened(1))
        await asyncio.sleep(6)
        assert consumer.losses == 0
    await topology.declare(channel, services=[SERVICE], events=[Happened])
    message = await eventually(lambda: taken(channel, RETRY))
    assert message.headers[consuming.ATTEMPTS] == 1
