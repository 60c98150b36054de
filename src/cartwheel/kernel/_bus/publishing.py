"""Publishes events: persistent, confirmed by RabbitMQ, and never silently unroutable."""

import asyncio

from cartwheel.kernel._amqp.interface import Channel, Connection, ConnectionLost
from cartwheel.kernel._bus import topology
from cartwheel.kernel._bus.wire import StoredEvent, write_event
from cartwheel.kernel._core import crash_points
from cartwheel.kernel.errors import Unavailable

LOOK_AGAIN = 1.0
"""Seconds between checks of a blocked connection, which may have been replaced."""


class Publisher:
    """Publishes events. Add it to a `Connection`."""

    def __init__(self, consumed: frozenset[str]) -> None:
        self._consumed = consumed
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._opened = asyncio.Event()

    async def open(self, connection: Connection) -> Channel:
        self._channel = channel = await connection.channel(confirms=True)
        self._connection = connection
        self._opened.set()
        return channel

    def lost(self) -> None:
        self._connection = self._channel = None
        self._opened.clear()

    async def opened(self) -> None:
        """Return when there is a connection, and RabbitMQ accepts messages on it."""
        while True:
            await self._opened.wait()
            if self._connection is None:
                continue
            try:
                # If the connection is lost during an alarm, nobody reports the end of the alarm.
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._connection.unblocked()
                return
            except TimeoutError:
                continue
            except ConnectionLost:
                await asyncio.sleep(0)  # so that the connection's owner notices

    async def publish(self, event: StoredEvent) -> None:
        """Publish `event`. When this returns, RabbitMQ has it on disk. It may hang, so set a limit.

        Raises:
            Unavailable: there is no connection.
            Unroutable: the event has consumers, but no queue: the topology is missing.
            Exception: the connection failed, and the event may or may not have been published.
        """
        if self._channel is None:
            raise Unavailable("RabbitMQ is down")
        crash_points.reach("publish.before")
        await self._channel.publish_confirmed(
            write_event(event),
            exchange=topology.EXCHANGE,
            routing_key=event.type,
            mandatory=event.type in self._consumed,
        )
        crash_points.reach("publish.after")
