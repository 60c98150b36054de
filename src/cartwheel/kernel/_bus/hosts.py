"""A connection for a command, to the first node of a RabbitMQ cluster that accepts it."""

from typing import TYPE_CHECKING

from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel.servers import why
from cartwheel.kernel.settings import each_url

if TYPE_CHECKING:  # only commands use aio-pika
    from aio_pika.abc import AbstractConnection

CONNECT_TIMEOUT_SECONDS = 5.0
"""Seconds that each node gets."""


async def connect_any(rabbitmq_url: str) -> "AbstractConnection":
    """Return an aio-pika connection to the first node in RABBITMQ_URL that accepts it.

    Raises:
        Exception: the last node's error.
    """
    # Imported here, since only commands use it.
    import aio_pika

    *others, last = each_url(rabbitmq_url)
    for url in others:
        try:
            return await aio_pika.connect(url, timeout=CONNECT_TIMEOUT_SECONDS)
        except Exception as error:
            log.warning("trying the next RabbitMQ", error=why("RABBITMQ_URL", url, error))
    return await aio_pika.connect(last, timeout=CONNECT_TIMEOUT_SECONDS)
