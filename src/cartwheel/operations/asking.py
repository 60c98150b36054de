"""Asking services from the command line, with the same requests as the gateway."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.contracts.identity import Actor
from cartwheel.kernel.lowlevel import Connection, RpcClient
from cartwheel.operations import typed
from cartwheel.operations.reaching import CONNECT_TIMEOUT_SECONDS, BusSettings, NotRunning


@asynccontextmanager
async def bus(settings: BusSettings) -> AsyncGenerator[RpcClient]:
    """Yield a bus for requests to services.

    Raises:
        NotRunning: RabbitMQ does not answer.
    """
    connection = Connection(
        settings.rabbitmq_url, process="cartwheel-cli", client=settings.amqp_client
    )
    caller = RpcClient()
    connection.add(caller)
    try:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await connection.start()
        except TimeoutError:
            raise NotRunning("RabbitMQ does not answer: is the system up?") from None
        yield caller
    finally:
        await connection.stop()


def operator() -> Actor:
    """Return the user who runs the command, as an admin."""
    return Actor(user_id=f"{typed.user()}@{socket.gethostname()}", admin=True)
