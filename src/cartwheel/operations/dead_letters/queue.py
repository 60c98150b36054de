"""Taking parked messages in hand, and giving them back.

A queue is looked into by taking its messages without acknowledging them; closing the channel gives
back whatever was not acknowledged, and so does a crash. RabbitMQ counts that as a delivery and may
change their order; `dead.*` queues have no delivery limit.

Messages are taken in windows, each by a consumer of its own with room for no more: asking for one
message after the other takes ten times as long, and all at once would fill the memory.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity

from cartwheel.kernel.operating import Message, connect_any, topology
from cartwheel.kernel.servers import why
from cartwheel.operations.dead_letters import parked
from cartwheel.operations.dead_letters.parked import Parked
from cartwheel.operations.reaching import NotRunning

WINDOW = 500
"""Messages in hand, in this process's memory."""

EVERYTHING = 2**62
"""More than any queue holds."""

_IDLE = 2.0
"""Seconds without a message after which somebody else must have taken the rest."""


def as_published(message: Message) -> aio_pika.Message:
    """Return `message` as aio-pika publishes it."""
    return aio_pika.Message(
        message.body,
        headers=None if message.headers is None else dict(message.headers),
        content_type=message.content_type,
        message_id=message.message_id,
        delivery_mode=2 if message.persistent else None,
    )


class Letter(msgspec.Struct, frozen=True):
    """A parked message in hand; acknowledging `delivery` takes it out of the queue for good.

    `channel` confirms what is published on it, and returns what cannot be routed.
    """

    parked: Parked
    delivery: AbstractIncomingMessage
    channel: AbstractChannel


@asynccontextmanager
async def reach(rabbitmq_url: str) -> AsyncGenerator[AbstractConnection]:
    """Raises:
    NotRunning: RabbitMQ does not answer.
    """
    try:
        connection = await connect_any(rabbitmq_url)
    except (AMQPError, OSError) as error:
        raise NotRunning(f"{why('RABBITMQ_URL', rabbitmq_url, error)}: is the system up?") from None
    async with connection:
        yield connection


async def counts(connection: AbstractConnection, services: Iterable[str]) -> dict[str, int]:
    """Return how many messages are parked for each service, without those in somebody's hand."""
    async with connection.channel() as channel:
        return {service: await _count(channel, service) for service in services}


@asynccontextmanager
async def in_hand(
    connection: AbstractConnection, service: str, *, window: int = WINDOW
) -> AsyncGenerator[AsyncIterator[list[Letter]]]:
    """Yield windows of what is parked for `service`; what is not acknowledged is given back.

    No more are taken than were there at first: what is replayed and parked again is not met twice.
    """
    async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
        yield _windows(channel, service, window)


async def _windows(
    channel: AbstractChannel, service: str, size: int
) -> AsyncIterator[list[Letter]]:
    left = await _count(channel, service)
    queue = await channel.get_queue(topology.dead_queue(service), ensure=False)
    while left > 0:
        wanted = min(size, left)
        await channel.set_qos(prefetch_count=wanted)
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        tag = await queue.consume(arrived.put)
        window: list[Letter] = []
        try:
            for _ in range(wanted):
                async with asyncio.timeout(_IDLE):
                    delivery = await arrived.get()
                window.append(Letter(parked.read(service, delivery), delivery, channel))
        except TimeoutError:
            pass
        await queue.cancel(tag)
        if window:
            yield window
        left = left - wanted if len(window) == wanted else 0


async def _count(channel: AbstractChannel, service: str) -> int:
    name = topology.dead_queue(service)
    try:
        declared = await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        raise NotRunning(f"there is no queue {name}: run `cartwheel setup`") from None
    return declared.declaration_result.message_count or 0
