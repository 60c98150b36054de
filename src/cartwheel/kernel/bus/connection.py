"""One connection to RabbitMQ, kept.

Whatever uses it (a consumer, a caller, a publisher) opens its own channel on it, again after every
loss, the same way as the first time. aio-pika's robust connection does not restore a direct
reply-to consumer and repeats declarations of its own, hence this loop on the plain one.
"""

import asyncio
import contextlib
from typing import Protocol

import aio_pika
import aiormq.exceptions
from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel.servers import why
from cartwheel.kernel.telemetry import log

HEARTBEAT = 5
"""Seconds. RabbitMQ gives up a silent client after two of them; aiormq a silent RabbitMQ only after
3 * (HEARTBEAT + 1), so until then requests to a frozen one wait for their deadline."""

CONNECT_TIMEOUT = 5.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 2.0

CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    aiormq.exceptions.AMQPError,
    aiormq.exceptions.ChannelInvalidStateError,  # a RuntimeError: the channel has just closed
)
"""What anything done on a connection may raise when it goes."""


class ConnectionUse(Protocol):
    """What is opened on the connection each time it is made."""

    async def open(self, connection: AbstractConnection) -> AbstractChannel:
        """Open a channel and start; the connection is remade when that channel closes."""
        ...

    def lost(self) -> None:
        """The connection is gone, and everything in flight with it."""
        ...


async def open_channel(
    connection: AbstractConnection, *, confirms: bool, prefetch: int | None = None
) -> AbstractChannel:
    """Open a channel that closes, and so has everything opened anew, when RabbitMQ cancels one of
    its consumers (because the queue was deleted, or its leader moved).

    With `confirms`, a message that no queue takes counts as failed, not as published.
    """
    channel = connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
    await channel.initialize()
    if prefetch is not None:
        await channel.set_qos(prefetch_count=prefetch)

    async def close() -> None:
        await channel.close()

    def on_cancel(_: object) -> None:
        # In a task of its own: the channel's reader, which calls this, ends with the channel.
        closing = asyncio.create_task(close())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)

    (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(on_cancel)
    return channel


_closing: set[asyncio.Task[None]] = set()


class Connection:
    def __init__(self, url: str, *, process: str) -> None:
        self._url = url
        self._process = process
        self._uses: list[ConnectionUse] = []
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._stopping = False

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    def add(self, use: ConnectionUse) -> None:
        """Open `use` with every connection made from now on."""
        self._uses.append(use)

    async def start(self) -> None:
        """Connect, waiting for RabbitMQ as long as it takes."""
        self._task = asyncio.create_task(self._keep())
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            up.cancel()
            self._task.result()

    async def stop(self) -> None:
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
            # Not `await self._task`: that it was cancelled looks like a cancellation of the caller.
            await asyncio.wait({self._task})

    async def _keep(self) -> None:
        pause = SHORTEST_PAUSE
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    connection = await aio_pika.connect(
                        self._url,
                        timeout=CONNECT_TIMEOUT,
                        heartbeat=HEARTBEAT,
                        client_properties={"connection_name": self._process},
                    )
                await self._use_until_lost(connection)
                pause = SHORTEST_PAUSE
                continue
            except asyncio.CancelledError:
                # The library cancels what waits for a connection that goes; that is not for us.
                if self._stopping:
                    raise
                log.warning("waiting for RabbitMQ", error="cancelled")
            except aiormq.exceptions.ChannelNotFoundEntity as error:
                log.error("a queue is missing: run `cartwheel setup`", error=str(error))
                pause = LONGEST_PAUSE
            except Exception as error:
                # Whatever it is: a process without a connection is of no use, so it goes on trying.
                # (StopAsyncIteration, say: aiormq, when it is closed before its first frame.)
                log.warning("waiting for RabbitMQ", error=why("RABBITMQ_URL", self._url, error))
                log.debug("waiting for RabbitMQ", detail=repr(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _use_until_lost(self, connection: AbstractConnection) -> None:
        try:
            await self._use(connection)
        finally:
            self._up.clear()
            for use in self._uses:
                use.lost()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1):
                    await connection.close()

    async def _use(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            channels = [await use.open(connection) for use in self._uses]
        self._up.set()
        log.info("connected to RabbitMQ")
        ends = [
            asyncio.ensure_future(end)
            for end in (connection.closed(), *(c.closed() for c in channels))
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        log.warning("connection to RabbitMQ lost")
