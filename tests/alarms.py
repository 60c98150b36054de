"""Makes RabbitMQ run out of memory, time out consumers, or dead-letter redelivered events."""

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.local.supervisor import Supervisor

from .erlang import evaluate

_UNTIL_ALARMED = """
    vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1}),
    Wait = fun(Again) ->
        case rabbit_alarm:get_alarms() of [] -> timer:sleep(50), Again(Again); _ -> ok end
    end,
    Wait(Wait).
"""
_NO_ALARM = "vm_memory_monitor:set_vm_memory_high_watermark(0.4)."


@asynccontextmanager
async def rabbitmq_full(supervisor: Supervisor) -> AsyncGenerator[None]:
    """Make RabbitMQ accept no messages for as long as the body runs."""
    await evaluate(supervisor, _UNTIL_ALARMED)
    try:
        yield
    finally:
        await evaluate(supervisor, _NO_ALARM)


@asynccontextmanager
async def consumer_timeout(supervisor: Supervisor, *, seconds: int) -> AsyncGenerator[None]:
    """Make RabbitMQ close new channels whose deliveries stay unacknowledged for `seconds`."""
    await _set(supervisor, consumer_timeout=seconds * 1000, channel_tick_interval=500)
    try:
        yield
    finally:
        await _set(supervisor, consumer_timeout=1_800_000, channel_tick_interval=60_000)


@asynccontextmanager
async def delivery_limit(supervisor: Supervisor, queue: str, limit: int) -> AsyncGenerator[None]:
    """While the body runs, `queue` dead-letters messages returned more than `limit` times."""
    definition = json.dumps({"delivery-limit": limit})
    pattern = f"^{queue.replace('.', '[.]')}$"
    await _control(supervisor, "set_policy", queue, pattern, definition, "--apply-to", "queues")
    try:
        yield
    finally:
        await _control(supervisor, "clear_policy", queue)


async def _set(supervisor: Supervisor, **values: int) -> None:
    setting = "application:set_env(rabbit, {}, {})"
    all_of_them = ", ".join(setting.format(*each) for each in values.items())
    await evaluate(supervisor, f"{all_of_them}.")


async def _control(supervisor: Supervisor, *arguments: str) -> None:
    control = await asyncio.create_subprocess_exec(
        "/usr/lib/rabbitmq/bin/rabbitmqctl",
        *arguments,
        env=supervisor.command("rabbitmq").environment,
        stdout=DEVNULL,
        stderr=PIPE,
    )
    _, errors = await control.communicate()
    assert control.returncode == 0, errors.decode()
