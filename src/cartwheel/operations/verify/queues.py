"""What is waiting or parked in RabbitMQ."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel.operating import topology
from cartwheel.operations.dead_letters import listing, queue
from cartwheel.operations.dead_letters.parked import Parked
from cartwheel.services import SERVICES

_LOOK_EVERY = 0.25


class Queues:
    """The queues of `services`; what a consumer has in hand at this moment is not seen."""

    def __init__(self, connection: AbstractConnection, services: Sequence[str]) -> None:
        self._connection = connection
        self._services = services

    async def never_empty(self, duration: timedelta) -> frozenset[str]:
        """Watch for `duration`; return services for which an event was waiting all the time.

        Once a service's queues were seen empty, everything published before has been taken up.
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
        """Return how many events wait for their service, or to be tried again."""
        async with self._connection.channel() as channel:
            return sum([await _waiting(channel, service) for service in self._services])

    async def parked(self) -> dict[str, int]:
        return await queue.counts(self._connection, self._services)

    def parked_events(self) -> AsyncIterator[list[Parked]]:
        return listing.parked(self._connection, self._services, limit=0)


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
