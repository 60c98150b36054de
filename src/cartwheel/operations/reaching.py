"""Reaching the system: by the environment, or the instance that runs from this folder."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from cartwheel.kernel.bus.asking import Caller
from cartwheel.kernel.bus.connection import Connection
from cartwheel.kernel.settings import AmqpUrl
from cartwheel.local import instance

CONNECT_TIMEOUT = 5.0


class NotRunning(Exception):
    """There is nothing to reach."""


class BusSettings(msgspec.Struct, frozen=True, kw_only=True):
    rabbitmq_url: AmqpUrl


def use_running_instance() -> None:
    """Complete this process's environment by the running instance's; what is set already wins."""
    for name, value in instance.environment(instance.folder()).items():
        os.environ.setdefault(name, value)


@asynccontextmanager
async def bus(rabbitmq_url: str) -> AsyncGenerator[Caller]:
    """Yield a bus to ask services on.

    Raises:
        NotRunning: RabbitMQ does not answer.
    """
    connection = Connection(rabbitmq_url, process="cartwheel-cli")
    caller = Caller()
    connection.add(caller)
    try:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.start()
        except TimeoutError:
            raise NotRunning("RabbitMQ does not answer: is the system up?") from None
        yield caller
    finally:
        await connection.stop()
