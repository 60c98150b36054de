"""How many unacknowledged events a consumer holds.

If a consumer dies, RabbitMQ counts one more delivery of each event that it held. Past
`topology.DELIVERY_LIMIT` it dead-letters them: the event that killed the consumer, and innocent
neighbours. So a redelivered event is held alone:

- An intake starts narrow, with one event at a time, and widens at the first event that is not a
  redelivery. RabbitMQ delivers returned events before new ones.
- A wide intake that receives a redelivery takes no more events. It finishes those it holds, handles
  the redelivery alone, and starts again, narrow. It returns no event, since each return counts as a
  delivery.

A prefetch count applies only to consumers that start after it was set. So narrow and wide intakes
are two consumers, one after the other (https://www.rabbitmq.com/docs/consumer-prefetch).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from cartwheel.kernel._amqp.interface import AmqpError, Channel, Delivery

PREFETCH = 128
"""Events of a wide intake: a batch of 64 in progress, and another that fills meanwhile. After a
consumer dies, up to this many events are handled one by one."""

OnDelivery = Callable[[Delivery], None]


class Intake:
    """Takes events from `queue` on one connection, until `ended` is set because the connection is
    lost or the consumer stops."""

    def __init__(self, channel: Channel, queue: str) -> None:
        self.channel = channel
        self.ended = asyncio.Event()
        self._queue = queue
        self._on_delivery: OnDelivery | None = None
        self._tag: str | None = None
        self._wide = False
        self._changing = asyncio.Lock()
        self._alone = asyncio.Lock()
        self._redeliveries = 0
        self._others: set[asyncio.Future[None]] = set()
        """One for each event in progress that is not a redelivery."""

    async def begin(self, on_delivery: OnDelivery) -> None:
        """Start to take events, one at a time at first."""
        self._on_delivery = on_delivery
        await self._resume()

    async def stop(self) -> None:
        """Take no more events. Those in progress stay."""
        async with self._changing:
            self._on_delivery = None
            with contextlib.suppress(AmqpError):  # then no events come anyway
                await self._cancel()

    @contextlib.asynccontextmanager
    async def turn(self, message: Delivery) -> AsyncGenerator[None]:
        """Wait until `message` may be handled: a redelivery only while nothing else is in progress.

        Raises `ConnectionLost` if the connection is lost.
        """
        if not message.redelivered:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            async with self._alone:
                self._others.add(done)
            try:
                await self._widen()
                yield
            finally:
                self._others.discard(done)
                done.set_result(None)
            return
        self._redeliveries += 1
        try:
            async with self._alone:
                await self._take_no_more()
                if self._others:
                    await asyncio.wait(self._others)
                yield
        finally:
            self._redeliveries -= 1
            if not self._redeliveries:
                await self._resume()

    async def _widen(self) -> None:
        if self._wide or self._redeliveries:
            return
        async with self._changing:
            if not self._wide and self._tag is not None:
                await self._cancel()
                await self._consume(PREFETCH)

    async def _take_no_more(self) -> None:
        """Pause a wide intake. A narrow one takes nothing while it holds its one event."""
        async with self._changing:
            if self._wide:
                await self._cancel()

    async def _resume(self) -> None:
        async with self._changing:
            if self._tag is None:
                await self._consume(1)

    async def _consume(self, prefetch: int) -> None:
        if self._on_delivery is not None:
            await self.channel.set_prefetch(prefetch)
            self._tag = await self.channel.consume(self._queue, self._on_delivery)
            self._wide = prefetch > 1

    async def _cancel(self) -> None:
        # Deliveries sent before RabbitMQ's confirmation have been handled by then.
        if self._tag is not None:
            tag, self._tag = self._tag, None
            await self.channel.cancel(tag)
            self._wide = False
