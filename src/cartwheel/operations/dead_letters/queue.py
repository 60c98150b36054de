"""Fetching dead letters without removing them.

To read a queue, fetch its messages and do not acknowledge them. RabbitMQ requeues unacknowledged
messages when the channel closes or the tool crashes. It counts that as a delivery and may change
the order of the messages. The `dead.*` queues have no delivery limit.

Messages are fetched in windows, each with a consumer whose prefetch is the window's size. Fetching
one message at a time takes ten times as long, and fetching all at once would fill the memory.
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
from cartwheel.operations.dead_letters import dead_letter
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.operations.reaching import NotRunning

WINDOW = 500
"""Messages that are fetched, and kept in memory, at the same time."""

EVERYTHING = 2**62
"""More messages than any queue has."""

_IDLE = 2.0
"""Seconds without a message, after which somebody else must have fetched the rest."""


def as_published(message: Message) -> aio_pika.Message:
    """Return `message` as aio-pika publishes it."""
    return aio_pika.Message(
        message.body,
        headers=None if message.headers is None else dict(message.headers),
        content_type=message.content_type,
        message_id=message.message_id,
        delivery_mode=2 if message.persistent else None,
    )


class Fetched(msgspec.Struct, frozen=True):
    """A fetched dead letter. Acknowledging `delivery` removes it from its queue for good.

    `channel` confirms published messages and returns unroutable ones.
    """

    letter: DeadLetter
    delivery: AbstractIncomingMessage
    channel: AbstractChannel


@asynccontextmanager
async def reach(rabbitmq_url: str) -> AsyncGenerator[AbstractConnection]:
    """Yield a connection to RabbitMQ.

    Raises:
        NotRunning: RabbitMQ does not answer.
    """
    try:
        connection = await connect_any(rabbitmq_url)
    except (AMQPError, OSError) as error:
        raise NotRunning(f"{why('RABBITMQ_URL', rabbitmq_url, error)}: is the system up?") from None
    async with connection:
        yield connection


async def counts(connection: AbstractConnection, services: Iterable[str]) -> dict[str, int]:
    """Return the number of dead letters of each service that nobody else has fetched."""
    async with connection.channel() as channel:
        return {service: await _count(channel, service) for service in services}


@asynccontextmanager
async def fetching(
    connection: AbstractConnection, service: str, *, window: int = WINDOW
) -> AsyncGenerator[AsyncIterator[list[Fetched]]]:
    """Yield windows of the dead letters of `service`; those not acknowledged are requeued.

    At most the initial number of messages is fetched, so an event that is replayed and
    dead-lettered again is not fetched twice.
    """
    async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
        yield _windows(channel, service, window)


async def _windows(
    channel: AbstractChannel, service: str, size: int
) -> AsyncIterator[list[Fetched]]:
    left = await _count(channel, service)
    queue = await channel.get_queue(topology.dead_queue(service), ensure=False)
    while left > 0:
        wanted = min(size, left)
        await channel.set_qos(prefetch_count=wanted)
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        tag = await queue.consume(arrived.put)
        window: list[Fetched] = []
        try:
            for _ in range(wanted):
                async with asyncio.timeout(_IDLE):
                    delivery = await arrived.get()
                window.append(Fetched(dead_letter.read(service, delivery), delivery, channel))
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
