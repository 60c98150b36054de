"""RabbitMQ out of memory: it lets those who publish wait until that is over."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.local.supervisor import Supervisor


@asynccontextmanager
async def rabbitmq_full(supervisor: Supervisor) -> AsyncGenerator[None]:
    """For as long as this is open, RabbitMQ accepts nothing."""
    await _watermark(supervisor, "absolute", "1")
    try:
        yield
    finally:
        await _watermark(supervisor, "0.4")


async def _watermark(supervisor: Supervisor, *limit: str) -> None:
    control = await asyncio.create_subprocess_exec(
        "/usr/lib/rabbitmq/bin/rabbitmqctl",
        "set_vm_memory_high_watermark",
        *limit,
        env=supervisor.command("rabbitmq").environment,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    _, errors = await control.communicate()
    assert control.returncode == 0, errors.decode()
