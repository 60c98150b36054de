"""One connection to RabbitMQ, kept.

Whatever uses it (a consumer, a caller, a publisher) opens its own channel on it, again after every
loss, the same way as the first time (docs/adr/0004).
"""

import asyncio
import contextlib
from typing import Protocol

from cartwheel.kernel._amqp import connecting
from cartwheel.kernel._amqp.interface import GOODBYE_SECONDS, BadUrl, Channel, QueueMissing
from cartwheel.kernel._amqp.interface import Connection as AmqpConnection
from cartwheel.kernel._core.backoff import backoff
from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel.servers import Unusable, why
from cartwheel.kernel.settings import AmqpClient

HEARTBEAT_SECONDS = 5
"""Seconds. RabbitMQ gives up a silent client after two of them, and we a silent RabbitMQ after two
and a half to three (aiormq after 18 s). Until then requests to a frozen one wait in vain."""

CONNECT_TIMEOUT_SECONDS = 5.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0


class ConnectionUse(Protocol):
    """What is opened on the connection each time it is made."""

    async def open(self, connection: AmqpConnection) -> Channel:
        """Open a channel and start; the connection is remade when that channel closes."""
        ...

    def lost(self) -> None:
        """The connection is gone, and everything in flight with it."""
        ...


class Connection:
    """A process's connection to RabbitMQ, reopened for as long as it takes, and what it is used
    for.

        connection = Connection(settings.rabbitmq_url, process="gateway")
        connection.add(bus := RpcClient())
        await connection.start()
    """

    def __init__(self, url: str, *, process: str, client: AmqpClient = "built-in") -> None:
        self._url = url
        self._client: AmqpClient = client
        self._process = process
        self._uses: list[ConnectionUse] = []
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

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
        if self._task is not None:
            self._task.cancel()
            # Not `await self._task`: that it was cancelled looks like a cancellation of the caller.
            await asyncio.wait({self._task})

    async def _keep(self) -> None:
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    connection = await connecting.connect(
                        self._url,
                        name=self._process,
                        heartbeat=HEARTBEAT_SECONDS,
                        client=self._client,
                    )
                await self._use_until_lost(connection)
                failures = 0
                continue
            except BadUrl as error:
                raise Unusable(why("RABBITMQ_URL", self._url, error)) from error
            except QueueMissing as error:
                log.error("a queue is missing: run `cartwheel setup`", error=str(error))
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)
                continue
            except Exception as error:
                # Whatever it is: a process without a connection is of no use, so it goes on trying.
                log.warning("waiting for RabbitMQ", error=why("RABBITMQ_URL", self._url, error))
                log.debug("waiting for RabbitMQ", detail=repr(error))
            failures += 1
            await asyncio.sleep(
                backoff(failures, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
            )

    async def _use_until_lost(self, connection: AmqpConnection) -> None:
        try:
            await self._use(connection)
        finally:
            self._up.clear()
            for use in self._uses:
                use.lost()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await connection.close()

    async def _use(self, connection: AmqpConnection) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
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
