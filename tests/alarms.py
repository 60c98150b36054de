"""RabbitMQ out of memory: it lets those who publish wait until that is over."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.local.supervisor import Supervisor

from .rabbitmqctl import rabbitmqctl


@asynccontextmanager
async def rabbitmq_full(supervisor: Supervisor) -> AsyncGenerator[None]:
    """For as long as this is open, RabbitMQ accepts nothing."""
    await rabbitmqctl(supervisor, "set_vm_memory_high_watermark", "absolute", "1")
    try:
        yield
    finally:
        await rabbitmqctl(supervisor, "set_vm_memory_high_watermark", "0.4")
