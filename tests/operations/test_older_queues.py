"""Queues that only the previous version uses: kept while they are in use, then deleted."""

from collections.abc import AsyncGenerator

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractConnection, AbstractQueue
from aiormq.exceptions import ChannelNotFoundEntity

from cartwheel.kernel.operating import topology
from cartwheel.local.up import System

from ..journeys.command_line import cartwheel

NAME = topology.shared_request_queue("orders")


@pytest.fixture
async def older(rabbitmq: AbstractConnection) -> AsyncGenerator[AbstractQueue]:
    """A queue as the previous version declared it."""
    async with rabbitmq.channel() as channel:
        yield await channel.declare_queue(
            NAME, durable=True, arguments={"x-message-ttl": 60_000, "x-queue-type": "classic"}
        )
        await channel.queue_delete(NAME)


async def is_there(rabbitmq: AbstractConnection) -> bool:
    try:
        async with rabbitmq.channel() as channel:
            await channel.declare_queue(NAME, passive=True)
    except ChannelNotFoundEntity:
        return False
    return True


async def test_an_unused_queue_is_deleted_and_a_dry_run_says_so(
    system: System, rabbitmq: AbstractConnection, older: AbstractQueue
) -> None:
    tried = await cartwheel(system, "setup", "--dry-run")
    assert f"would delete queue {NAME} of an older version" in tried.output
    assert await is_there(rabbitmq)

    ran = await cartwheel(system, "setup")
    assert f"deleted queue {NAME} of an older version" in ran.output
    assert not await is_there(rabbitmq)
    assert NAME not in (await cartwheel(system, "setup")).output


async def test_a_queue_with_a_consumer_or_messages_is_kept_until_drop_older_is_given(
    system: System, rabbitmq: AbstractConnection, older: AbstractQueue
) -> None:
    async with rabbitmq.channel() as channel:
        await channel.default_exchange.publish(Message(b"a request"), NAME)
    kept = await cartwheel(system, "setup")
    assert f"{NAME}: kept for processes of an older version" in kept.output
    await older.purge()

    async def take(_: object) -> None: ...

    await older.consume(take)
    kept = await cartwheel(system, "setup")
    assert f"{NAME}: kept for processes of an older version" in kept.output
    assert await is_there(rabbitmq)

    ran = await cartwheel(system, "setup", "--drop-older")
    assert f"deleted queue {NAME} of an older version" in ran.output
    assert not await is_there(rabbitmq)
