"""Waiting and dead-lettered events in RabbitMQ."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel.operating import topology
from cartwheel.operations.dead_letters import listing, queue
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.services import SERVICES

_LOOK_EVERY = 0.25


class Queues:
    """The queues of `services`. Events that a consumer has fetched are not visible."""

    def __init__(self, connection: AbstractConnection, services: Sequence[str]) -> None:
        self._connection = connection
        self._services = services

    async def never_empty(self, duration: timedelta) -> frozenset[str]:
        """Watch for `duration`; return the services that had events waiting all the time.

        When a service's queues are empty, it has fetched everything that was published before.
        """
        busy = set(self._services)
        until = time.monotonic() + duration.total_seconds()
        async with self._connection.channel() as channel:
            while True:
                for service in list(busy):
                    if await _waiting(channel, service) == 0:
                        busy.discard(service)
                if time.monotonic() >= until:
                    return frozenset(busy)
                await asyncio.sleep(_LOOK_EVERY)

    async def waiting(self) -> int:
        """Return the number of events that wait for their service or for a retry."""
        async with self._connection.channel() as channel:
            return sum([await _waiting(channel, service) for service in self._services])

    async def count_dead_letters(self) -> dict[str, int]:
        return await queue.counts(self._connection, self._services)

    def dead_letters(self) -> AsyncIterator[list[DeadLetter]]:
        return listing.dead_letters(self._connection, self._services, limit=0)


@asynccontextmanager
async def reach(rabbitmq_url: str, services: Sequence[str] = SERVICES) -> AsyncGenerator[Queues]:
    async with queue.reach(rabbitmq_url) as connection:
        yield Queues(connection, services)


async def _waiting(channel: AbstractChannel, service: str) -> int:
    names = [topology.retry_queue(service, delay) for delay in topology.RETRY_DELAYS]
    total = 0
    for name in (topology.event_queue(service), *names):
        declared = await channel.declare_queue(name, passive=True)
        total += declared.declaration_result.message_count or 0
    return total
