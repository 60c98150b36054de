"""A service of the tests' own, with queues of its own, on the real RabbitMQ."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from cartwheel.kernel._bus import topology
from cartwheel.kernel._bus.connection import Connection, ConnectionUse
from cartwheel.local.up import System

from .messages import SERVICE, Happened

Connect = Callable[..., Awaitable[Connection]]


@pytest.fixture
def rabbitmq_url(system: System) -> str:
    return system.environment["RABBITMQ_URL"]


@pytest.fixture
async def channel(rabbitmq_url: str) -> AsyncGenerator[AbstractChannel]:
    """A channel to look at queues with; the tests' queues exist and are empty."""
    async with await aio_pika.connect(rabbitmq_url) as connection, connection.channel() as opened:
        await topology.declare(opened, services=[SERVICE], events=[Happened])
        for name in (
            topology.event_queue(SERVICE),
            topology.dead_queue(SERVICE),
            *(topology.retry_queue(SERVICE, delay) for delay in topology.RETRY_DELAYS),
        ):
            queue = await opened.get_queue(name)
            await queue.purge()
        yield opened


@pytest.fixture
async def connect(rabbitmq_url: str, channel: AbstractChannel) -> AsyncGenerator[Connect]:
    """Opens what it is given on a connection of its own, and closes that at the end."""
    async with AsyncExitStack() as stack:

        async def opened(*uses: ConnectionUse, url: str = rabbitmq_url) -> Connection:
            return await stack.enter_async_context(_connection(url, uses))

        yield opened


@asynccontextmanager
async def _connection(url: str, uses: tuple[ConnectionUse, ...]) -> AsyncGenerator[Connection]:
    connection = Connection(url, process="tests")
    for use in uses:
        connection.add(use)
    try:
        await connection.start()
        yield connection
    finally:
        await connection.stop()
