"""Dead letters: why a message is one, and a look at those that there are.

A consumer that dead-letters a message states the reason in headers (`consuming`). If a message
keeps crashing its consumer, RabbitMQ dead-letters it and states the reason in `x-death`
(https://www.rabbitmq.com/docs/dlx#effects).
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from cartwheel.kernel._amqp.interface import (
    AmqpError,
    Channel,
    Connection,
    Delivery,
    Received,
)
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._bus.consuming import ATTEMPTS
from cartwheel.kernel.errors import Unavailable

ARRIVES_SECONDS = 2.0
"""Seconds for a message to arrive, after which somebody else must have fetched it."""

OPENS_SECONDS = 5.0
"""Seconds to wait for the channel, which RabbitMQ closes if a queue is missing."""


class DeadLettered(msgspec.Struct, frozen=True, kw_only=True):
    """A dead-lettered message. `id` is the event's id; without one, it is derived from the body.

    `since` is the time of dead-lettering, if known.
    """

    id: str
    type: str | None
    reason: str
    attempts: int
    since: datetime | None


def read(message: Received) -> DeadLettered:
    """Return what is known of a message from a dead-letter queue."""
    headers: Mapping[str, Any]
    try:
        headers = message.headers
    except ValueError:  # they are no table, so it cannot be read as an event either
        headers = {}
    reason, attempts, since = _why(headers)
    digest = hashlib.sha256(message.body).hexdigest()[:16]
    return DeadLettered(
        id=message.message_id or f"msg_{digest}",
        type=wire.attribute(headers, "type"),
        reason=reason,
        attempts=attempts,
        since=since,
    )


def _why(headers: Mapping[str, Any]) -> tuple[str, int, datetime | None]:
    """Return the reason, the number of attempts, and the time of dead-lettering."""
    attempts = headers.get(ATTEMPTS)
    attempts = attempts if isinstance(attempts, int) else 0
    if "reason" in headers:
        return str(headers["reason"]), attempts, _time(headers.get("parked_at"))
    # The newest entry comes first. Retry queues leave entries (`expired`) here too.
    deaths: list[dict[str, Any]] = headers.get("x-death") or []
    if not deaths:
        return "unknown: the message has no reason", attempts, None
    last = deaths[0]
    since = _time(last.get("time"))
    if last.get("reason") == "delivery_limit":
        times = topology.DELIVERY_LIMIT + 1
        return f"crashed its consumer {times} times, so RabbitMQ dead-lettered it", times, since
    return f"dead-lettered by RabbitMQ: {last.get('reason')}", attempts, since


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


class DeadLetters:
    """The dead letters of all services, which stay where they are. Add it to a `Connection`.

    RabbitMQ counts a look at a message as a delivery. `dead.*` queues have no delivery limit.
    """

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._opened = asyncio.Event()

    async def open(self, connection: Connection) -> Channel:
        channel = await connection.channel(confirms=False)
        await channel.set_prefetch(1)
        self._channel = channel
        self._opened.set()
        return channel

    def lost(self) -> None:
        self._channel = None
        self._opened.clear()

    async def count(self, service: str) -> int:
        """Return how many dead letters `service` has that nobody else has fetched.

        Raises:
            Unavailable: RabbitMQ is down.
            AmqpError: the connection is lost, or there is no such queue.
        """
        async with self._opened_channel() as channel:
            return await channel.waiting_in(topology.dead_queue(service))

    async def first(self, service: str) -> DeadLettered | None:
        """Return the first dead letter of `service`; None if somebody else has fetched it.

        Raises:
            Unavailable, AmqpError: as for `count`.
        """
        arrived: list[Delivery] = []
        one = asyncio.Event()

        def on_delivery(delivery: Delivery) -> None:
            arrived.append(delivery)
            one.set()

        async with self._opened_channel() as channel:
            tag = await channel.consume(topology.dead_queue(service), on_delivery)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ARRIVES_SECONDS):
                    await one.wait()
            # Cancel first. Otherwise RabbitMQ would deliver it here again.
            await channel.cancel(tag)
            for delivery in arrived:
                delivery.reject(requeue=True)
        return read(arrived[0]) if arrived else None

    @contextlib.asynccontextmanager
    async def _opened_channel(self) -> AsyncGenerator[Channel]:
        try:
            async with asyncio.timeout(OPENS_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            raise Unavailable("RabbitMQ is down") from None
        if self._channel is None:
            raise Unavailable("RabbitMQ is down")
        try:
            yield self._channel
        except AmqpError:
            # RabbitMQ has closed the channel. The next look waits for the next one.
            self.lost()
            raise
