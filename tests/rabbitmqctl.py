"""What only RabbitMQ's own command line can do."""

import json
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.local.supervisor import Supervisor


async def rabbitmqctl(supervisor: Supervisor, *arguments: str) -> None:
    control = await create_subprocess_exec(
        "/usr/lib/rabbitmq/bin/rabbitmqctl",
        *arguments,
        env=supervisor.command("rabbitmq").environment,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    _, errors = await control.communicate()
    assert control.returncode == 0, errors.decode()


@asynccontextmanager
async def delivery_limit(supervisor: Supervisor, queue: str, limit: int) -> AsyncGenerator[None]:
    """For as long as this is open, `queue` dead-letters what comes back more than `limit` times."""
    definition = json.dumps({"delivery-limit": limit})
    pattern = f"^{queue.replace('.', '[.]')}$"
    await rabbitmqctl(supervisor, "set_policy", queue, pattern, definition, "--apply-to", "queues")
    try:
        yield
    finally:
        await rabbitmqctl(supervisor, "clear_policy", queue)
