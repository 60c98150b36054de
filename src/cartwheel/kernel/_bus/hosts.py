"""A connection for a command, to whichever node of a RabbitMQ cluster takes it."""

from typing import TYPE_CHECKING

from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel.servers import why
from cartwheel.kernel.settings import each_url

if TYPE_CHECKING:  # processes have no use for aio-pika: only commands do
    from aio_pika.abc import AbstractConnection

CONNECT_TIMEOUT_SECONDS = 5.0
"""Seconds that each node gets."""


async def connect_any(rabbitmq_url: str) -> "AbstractConnection":
    """Return a connection of aio-pika to the first node of RABBITMQ_URL that takes it.

    Raises:
        Exception: what the last one raised.
    """
    # Here, since only commands have a use for it.
    import aio_pika

    *others, last = each_url(rabbitmq_url)
    for url in others:
        try:
            return await aio_pika.connect(url, timeout=CONNECT_TIMEOUT_SECONDS)
        except Exception as error:
            log.warning("trying the next RabbitMQ", error=why("RABBITMQ_URL", url, error))
    return await aio_pika.connect(last, timeout=CONNECT_TIMEOUT_SECONDS)
