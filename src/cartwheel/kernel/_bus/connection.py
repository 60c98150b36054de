"""One connection to RabbitMQ, kept.

Whatever uses it (a consumer, a caller, a publisher) opens its own channel on it, again after every
loss, the same way as the first time. If a channel closes, it alone is opened again; if the
connection is lost, all of them are (docs/adr/0004, docs/adr/0022).
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
"""Seconds. RabbitMQ gives up a silent client after two or three of them, and we a silent RabbitMQ
after one and a half to two (aiormq later). Until then requests to a frozen one wait in vain."""

PLACE_SECONDS = 1.0
"""For a place on a node. A cluster with a frozen node declares nothing."""

CONNECT_TIMEOUT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 2.0
_pause_after = partial(backoff, first=0.1, longest=LONGEST_PAUSE_SECONDS)


class ConnectionUse(Protocol):
    """What is opened on the connection each time it is made."""

    async def open(self, connection: AmqpConnection) -> Channel:
        """Open a channel and start. It is called again when that channel has closed.

        If RabbitMQ refuses something, it has closed the channel on which it was asked.
        """
        ...

    def lost(self) -> None:
        """The channel is gone, and everything in flight with it."""
        ...


class Connection:
    """A process's connection to RabbitMQ, reopened for as long as it takes, and what it is used
    for.

        connection = Connection(settings.rabbitmq_url, process="gateway")
        connection.add(bus := RpcClient())
        await connection.start()

    `urls` may list the nodes of a cluster. The first is chosen at random. The next one is tried
    when it fails, or has another replica of `process` already.
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
        """Whether all that uses it is open."""
        return self._up.is_set()

    def add(self, use: ConnectionUse) -> None:
        """Open `use` with every connection made from now on."""
        self._uses.append(use)

    async def start(self) -> None:
        """Connect, waiting for RabbitMQ as long as it takes.

        Raises:
            Unusable: no URL can be used as it is.
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
            # Not `await self._task`: that it was cancelled looks like a cancellation of the caller.
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
                log.error("a RabbitMQ is left out", error=reason)
                self._urls.popleft()
                continue
            except Exception as error:
                # Whatever it is: a process without a connection is of no use, so it goes on trying.
                log.warning("waiting for RabbitMQ", error=why("RABBITMQ_URL", url, error))
                log.debug("waiting for RabbitMQ", detail=repr(error))
                failures += 1
            self._urls.rotate(-1)
            # Each node is tried once before there is a pause.
            if rounds := failures // len(self._urls):
                await asyncio.sleep(_pause_after(rounds))

    async def _has_place(self, connection: AmqpConnection, url: str) -> bool:
        """Return whether no other replica of this process is on the node; then its place is taken.

        So replicas are on nodes of their own, as long as there are enough, and no node takes all of
        them with it. The place is an exclusive queue, which RabbitMQ lets one connection have.
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
            return True  # nobody can have it now
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
        """Open `use` again and again; raise what the connection must be remade for."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                    channel = await use.open(connection)
                self._is_open(use)
                opened_at = time.monotonic()
                await channel.closed()
                log.warning("a channel to RabbitMQ is lost")
                # One that is closed as soon as it is open has failed to open.
                lasted = time.monotonic() - opened_at > LONGEST_PAUSE_SECONDS
                failures = 1 if lasted else failures + 1
            except QueueMissing as error:
                log.error("a queue is missing: run `cartwheel setup`", error=str(error))
                failures += 1
            except AmqpError as error:  # the channel is closed, so nothing of it is left behind
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
