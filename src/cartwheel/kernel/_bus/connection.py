"""One connection to RabbitMQ, reopened after every loss.

Each user of it (a consumer, a caller, a publisher) opens its own channel, after a loss the same way
as the first time. If a channel closes, only that channel is reopened. If the connection is lost,
all of them are (docs/adr/0004, docs/adr/0022).
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from cartwheel.kernel._amqp import connecting
from cartwheel.kernel._amqp.interface import (
    GOODBYE_SECONDS,
    AmqpError,
    BadUrl,
    Channel,
    ConnectionLost,
    QueueMissing,
)
from cartwheel.kernel._amqp.interface import Connection as AmqpConnection
from cartwheel.kernel._core.backoff import backoff
from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel.servers import Unusable, why
from cartwheel.kernel.settings import AmqpClient, each_url

HEARTBEAT_SECONDS = 3
"""Heartbeat interval in seconds. RabbitMQ drops a silent client after two or three intervals; we
drop a silent RabbitMQ after one and a half to two (aiormq later). Until then, requests hang."""

PLACE_SECONDS = 1.0
"""Seconds to wait for a place on a node. A cluster with a frozen node declares no queues."""

CONNECT_TIMEOUT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 2.0
_pause_after = partial(backoff, first=0.1, longest=LONGEST_PAUSE_SECONDS)


class ConnectionUse(Protocol):
    """A user of the connection, opened each time the connection is made."""

    async def open(self, connection: AmqpConnection) -> Channel:
        """Open a channel and start. Called again after that channel has closed.

        RabbitMQ closes the channel if it refuses something.
        """
        ...

    def lost(self) -> None:
        """The channel is closed, and everything in flight is lost."""
        ...


class Connection:
    """A process's connection to RabbitMQ and its users. It reconnects for as long as it takes.

        connection = Connection(settings.rabbitmq_url, process="gateway")
        connection.add(bus := RpcClient())
        await connection.start()

    `urls` may list the nodes of a cluster. The first node is chosen at random. The next one is
    tried when a node fails, or already has another replica of `process`.
    """

    def __init__(self, urls: str, *, process: str, client: AmqpClient = "built-in") -> None:
        nodes = each_url(urls)
        self._urls = deque(random.sample(nodes, len(nodes)))
        self._client: AmqpClient = client
        self._process = process
        self._uses: list[ConnectionUse] = []
        self._opened: set[ConnectionUse] = set()
        self._task: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether the channels of all its users are open."""
        return self._up.is_set()

    def add(self, use: ConnectionUse) -> None:
        """Open `use` with every connection made from now on."""
        self._uses.append(use)

    async def start(self) -> None:
        """Connect; wait for RabbitMQ as long as it takes.

        Raises:
            Unusable: none of the URLs can be used.
        """
        self._task = asyncio.create_task(self._keep())
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            up.cancel()
            self._task.result()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            # `await self._task` would raise CancelledError, as if the caller had been cancelled.
            await asyncio.wait({self._task})

    async def _keep(self) -> None:
        failures = crowded = 0
        while True:
            url = self._urls[0]
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    connection = await connecting.connect(
                        url, name=self._process, heartbeat=HEARTBEAT_SECONDS, client=self._client
                    )
                if crowded < len(self._urls) - 1 and not await self._has_place(connection, url):
                    crowded += 1
                    await connection.close()
                else:
                    crowded = 0
                    await self._use_until_lost(connection)
                    failures = 0
            except BadUrl as error:
                reason = why("RABBITMQ_URL", url, error)
                if len(self._urls) == 1:
                    raise Unusable(reason) from error
                log.error("one RabbitMQ node is not used", error=reason)
                self._urls.popleft()
                continue
            except Exception as error:
                # Whatever it is, keep trying: a process without a connection is useless.
                log.warning("waiting for RabbitMQ", error=why("RABBITMQ_URL", url, error))
                log.debug("waiting for RabbitMQ", detail=repr(error))
                failures += 1
            self._urls.rotate(-1)
            # Try each node once before pausing.
            if rounds := failures // len(self._urls):
                await asyncio.sleep(_pause_after(rounds))

    async def _has_place(self, connection: AmqpConnection, url: str) -> bool:
        """Claim the node for this replica; return False if another replica already has it.

        This spreads the replicas of a process over the nodes, so that one node's failure does not
        disconnect all of them. The claim is an exclusive queue, which only one connection can have.
        """
        parts = urlsplit(url)
        place = f"at.{self._process}.{parts.hostname}:{parts.port}"
        try:
            async with asyncio.timeout(PLACE_SECONDS):
                channel = await connection.channel(confirms=False)
                await channel.declare_exclusive(place, ttl_seconds=1.0)
        except ConnectionLost:
            return False
        except TimeoutError:
            return True  # no replica can have it now
        return True

    async def _use_until_lost(self, connection: AmqpConnection) -> None:
        uses = [asyncio.create_task(self._keep_open(use, connection)) for use in self._uses]
        lost = asyncio.ensure_future(connection.closed())
        try:
            if not uses:
                self._up.set()
            await asyncio.wait({lost, *uses}, return_when=asyncio.FIRST_COMPLETED)
            log.warning("connection to RabbitMQ lost")
            for use in uses:
                if use.done():
                    use.result()
        finally:
            self._up.clear()
            for task in (lost, *uses):
                task.cancel()
            await asyncio.wait({lost, *uses})
            with contextlib.suppress(Exception):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await connection.close()

    async def _keep_open(self, use: ConnectionUse, connection: AmqpConnection) -> None:
        """Keep `use` open; raise the errors that require a new connection."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    channel = await use.open(connection)
                self._is_open(use)
                opened_at = time.monotonic()
                await channel.closed()
                log.warning("a channel to RabbitMQ is lost")
                # A channel that closes soon after opening counts as failed.
                lasted = time.monotonic() - opened_at > LONGEST_PAUSE_SECONDS
                failures = 1 if lasted else failures + 1
            except QueueMissing as error:
                log.error("a queue is missing: run `cartwheel setup`", error=str(error))
                failures += 1
            except AmqpError as error:  # the channel is closed, so it leaves nothing behind
                log.warning("waiting for a channel to RabbitMQ", error=str(error))
                failures += 1
            finally:
                self._up.clear()
                self._opened.discard(use)
                use.lost()
            await asyncio.sleep(_pause_after(failures))

    def _is_open(self, use: ConnectionUse) -> None:
        self._opened.add(use)
        if len(self._opened) == len(self._uses):
            self._up.set()
            log.info("connected to RabbitMQ")
