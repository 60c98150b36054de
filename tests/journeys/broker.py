"""RabbitMQ as its operator sees it, with `rabbitmqctl`."""

import asyncio
import os
import shutil
from typing import Any

import aio_pika
import msgspec

from cartwheel.local import instance
from cartwheel.local.up import System
from cartwheel.services import SERVICES


def _unknown() -> str:
    raise LookupError("not a private node")


async def rabbitmqctl(system: System, *arguments: str) -> str:
    home = system.supervisor.home
    program = shutil.which("rabbitmqctl", path=f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}")
    process = await asyncio.create_subprocess_exec(
        *(program or "rabbitmqctl", "--quiet"),
        *("--node", f"{instance.remember(home, 'rabbitmq_node', _unknown)}@localhost"),
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "HOME": str(home / "rabbitmq"),
            "ERL_EPMD_PORT": instance.remember(home, "epmd_port", _unknown),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq" / "rabbitmq-env.conf"),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def table(system: System, *arguments: str) -> list[dict[str, Any]]:
    """Return the output of a `list_…` command."""
    return msgspec.json.decode(await rabbitmqctl(system, *arguments, "--formatter", "json"))


async def queues(system: System, *columns: str) -> dict[str, dict[str, Any]]:
    """Return the queues that `cartwheel setup` declared, by name."""
    listed = await table(system, "list_queues", "name", *columns)
    return {
        queue["name"]: queue
        for queue in listed
        if any(part in SERVICES for part in queue["name"].split("."))
    }


async def left_messages(system: System) -> dict[str, int]:
    """Return the number of messages in each queue that is not empty, delivered or not."""
    found = await queues(system, "messages")
    return {name: queue["messages"] for name, queue in found.items() if queue["messages"]}


class Tap:
    """Records every message that RabbitMQ receives or delivers while it is open.

    It uses RabbitMQ's "firehose": https://www.rabbitmq.com/docs/firehose
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self.seen: list[tuple[str, bytes]] = []

    async def __aenter__(self) -> "Tap":
        self._connection = await aio_pika.connect(self._system.environment["RABBITMQ_URL"])
        channel = await self._connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("amq.rabbitmq.trace", routing_key="#")
        await queue.consume(self._on_message, no_ack=True)
        await rabbitmqctl(self._system, "trace_on")
        return self

    async def _on_message(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        told = repr(message.headers).encode()
        self.seen.append((message.routing_key or "", told + message.body))

    async def __aexit__(self, *_: object) -> None:
        await rabbitmqctl(self._system, "trace_off")
        await self._connection.close()
