"""How many of a queue's events a consumer has in hand.

A consumer that dies with events in hand has each of them counted as delivered once more, and past
`topology.DELIVERY_LIMIT` RabbitMQ dead-letters them: the event that killed the consumer, and its
innocent neighbours. So an event that is delivered again is in hand alone:

- An intake begins narrow, with one event in hand, and widens at the first event that is not a
  redelivery. RabbitMQ delivers what was returned before anything new.
- A wide intake that meets a redelivery takes nothing more. What is in hand is finished, the
  redelivery is handled alone, and the intake begins again, narrow. No neighbour is returned for
  that: each return counts as a delivery.

RabbitMQ applies a prefetch count to consumers that begin after it was set, so a narrow and a wide
intake are two consumers, one after the other (https://www.rabbitmq.com/docs/consumer-prefetch).
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from cartwheel.kernel._amqp.interface import AmqpError, Channel, Delivery

PREFETCH = 128
"""Events in hand of a wide intake: a full batch of 64 that is under way, and another that gathers
meanwhile. When a consumer dies, so many are handled one by one."""

OnDelivery = Callable[[Delivery], None]


class Intake:
    """Takes events of `queue` on one connection, until `ended` is set: the connection is lost, or
    its consumer stops."""

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
        """One for each event in hand that is not a redelivery."""

    async def begin(self, on_delivery: OnDelivery) -> None:
        """Take events from now on, one at a time to begin with."""
        self._on_delivery = on_delivery
        await self._resume()

    async def stop(self) -> None:
        """Take nothing more. What is in hand stays there."""
        async with self._changing:
            self._on_delivery = None
            with contextlib.suppress(AmqpError):  # then nothing is taken anyway
                await self._cancel()

    @contextlib.asynccontextmanager
    async def turn(self, message: Delivery) -> AsyncGenerator[None]:
        """Wait until `message` may be handled: a redelivery, when nothing else is in hand.

        Raises `ConnectionLost` when the connection goes.
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
        """A narrow intake, whose one event is in hand, takes none anyway."""
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
        # What RabbitMQ delivered before it confirms this has been handed on by then.
        if self._tag is not None:
            tag, self._tag = self._tag, None
            await self.channel.cancel(tag)
            self._wide = False
