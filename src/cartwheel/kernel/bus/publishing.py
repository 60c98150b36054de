"""Events out: persistent, confirmed by RabbitMQ, and never silently unroutable."""

import asyncio
from contextlib import suppress
from typing import cast

import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel import crash_points
from cartwheel.kernel.bus import topology
from cartwheel.kernel.bus.connection import open_channel
from cartwheel.kernel.bus.wire import StoredEvent, write_event
from cartwheel.kernel.errors import Unavailable

LOOK_AGAIN = 1.0
"""Seconds after which a connection that RabbitMQ has blocked may be another one."""


class Publisher:
    """Publishes events. Open it on a `Connection`."""

    def __init__(self, consumed: frozenset[str]) -> None:
        self._consumed = consumed
        self._channel: aiormq.Channel | None = None
        self._opened = asyncio.Event()

    async def open(self, connection: AbstractConnection) -> AbstractChannel:
        channel = await open_channel(connection, confirms=True)
        # The abstract class, which this is declared as, lacks `wait`.
        self._channel = cast("aiormq.Channel", await channel.get_underlay_channel())
        self._opened.set()
        return channel

    def lost(self) -> None:
        self._channel = None
        self._opened.clear()

    async def opened(self) -> None:
        """Return when there is a connection to publish on, and RabbitMQ takes something."""
        while True:
            await self._opened.wait()
            if self._channel is None:
                continue
            # An alarm ends without a word when its connection does.
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._channel.connection.ready()
                    return

    async def publish(self, event: StoredEvent) -> None:
        """Publish `event`; when this returns, RabbitMQ has it on disk. It may hang with the
        connection, so give it a limit.

        Raises:
            Unavailable: there is no connection.
            aiormq.exceptions.PublishError: it has consumers, but no queue: the topology is missing.
            Exception: the connection failed meanwhile; it may or may not have been published.
        """
        if self._channel is None:
            raise Unavailable("RabbitMQ is away")
        crash_points.reach("publish.before")
        message = write_event(event)
        # Past aio_pika, which waits for the socket after each: many leave together here, and what
        # is waited for is RabbitMQ's confirm.
        await self._channel.basic_publish(
            message.body,
            exchange=topology.EXCHANGE,
            routing_key=event.type,
            properties=message.properties,
            mandatory=event.type in self._consumed,
            wait=False,
        )
        crash_points.reach("publish.after")
