"""Asking services from the command line, with the same requests as the gateway."""

import asyncio
import hashlib
import secrets
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

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


def request_id(actor: Actor, key: str | None) -> str:
    """Return the id of a request: the same for the same `key`, and one of its own without any."""
    return f"{actor.user_id} {key or secrets.token_hex(16)}"


def body_hash(*values: object) -> str:
    """Return the hash of what a request asks for."""
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()
