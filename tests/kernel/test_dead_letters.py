"""A look at dead letters, with both AMQP clients, on the real RabbitMQ."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from cartwheel.kernel import DeadLetters
from cartwheel.kernel._amqp import connecting
from cartwheel.kernel._amqp.interface import Message, QueueMissing
from cartwheel.kernel._bus import topology
from cartwheel.kernel._bus.connection import Connection
from cartwheel.kernel._bus.consuming import ATTEMPTS

from ..waiting import eventually
from .messages import SERVICE

DEAD = topology.dead_queue(SERVICE)
WHY = {"reason": "by zero", ATTEMPTS: 4, "parked_at": "2026-03-01T12:00:00+00:00"}


@pytest.fixture(params=["built-in", "aiormq"])
async def letters(
    request: pytest.FixtureRequest, channel: AbstractChannel, rabbitmq_url: str
) -> AsyncGenerator[DeadLetters]:
    connection = Connection(rabbitmq_url, process="tests", client=request.param)
    connection.add(looking := DeadLetters())
    await connection.start()
    yield looking
    await connection.stop()


async def dead_letter(channel: AbstractChannel, id: str, **headers: Any) -> None:
    message = aio_pika.Message(b"{}", message_id=id, headers=headers)
    await channel.default_exchange.publish(message, DEAD)


async def test_the_first_is_shown_with_its_reason_and_stays(
    letters: DeadLetters, channel: AbstractChannel
) -> None:
    assert await letters.count(SERVICE) == 0
    await dead_letter(channel, "evt_1", **WHY, cloudEvents_type="order.paid.v1")
    await dead_letter(channel, "evt_2", **WHY)

    async def both() -> None:
        assert await letters.count(SERVICE) == 2

    await eventually(both)
    found = await letters.first(SERVICE)

    assert found is not None
    assert (found.id, found.type, found.reason) == ("evt_1", "order.paid.v1", "by zero")
    assert (found.attempts, found.since) == (4, datetime(2026, 3, 1, 12, tzinfo=UTC))
    await eventually(both)


async def test_what_is_no_event_is_shown_too(letters: DeadLetters, rabbitmq_url: str) -> None:
    # aio-pika would give it an id.
    connection = await connecting.connect(
        rabbitmq_url, name="tests", heartbeat=10, client="built-in"
    )
    (await connection.channel(confirms=False)).publish(Message(body=b"{}"), routing_key=DEAD)
    await connection.close()

    found = await letters.first(SERVICE)

    assert found is not None
    assert found.id.startswith("msg_")
    assert (found.type, found.reason) == (None, "unknown: the message has no reason")


async def test_what_somebody_else_has_fetched_is_not_there(
    letters: DeadLetters, channel: AbstractChannel
) -> None:
    await dead_letter(channel, "evt_1", **WHY)
    async with AsyncExitStack() as stack:
        queue = await channel.get_queue(DEAD)
        fetched = await queue.get()
        assert fetched is not None
        stack.push_async_callback(fetched.reject, requeue=True)

        assert await letters.count(SERVICE) == 0
        assert await letters.first(SERVICE) is None


async def test_after_a_queue_that_is_missing_others_can_be_looked_at(letters: DeadLetters) -> None:
    with pytest.raises(QueueMissing):
        await letters.count("nobody")

    assert await letters.count(SERVICE) == 0
