"""RabbitMQ as its operator sees it."""

from typing import Any

import aio_pika

from cartwheel.local.up import System
from cartwheel.services import SERVICES

from ..erlang import evaluate, read


async def queues(system: System, *columns: str) -> dict[str, dict[str, Any]]:
    """Return the queues that `cartwheel setup` declared, by name. `columns` are RabbitMQ's."""
    items = ", ".join(("name", *columns))
    listed = await _rows(system, "name", f'rabbit_amqqueue:info_all(<<"/">>, [{items}])')
    return {
        queue["name"]: queue
        for queue in listed
        if any(part in SERVICES for part in queue["name"].split("."))
    }


async def prefetch_counts(system: System) -> list[tuple[str, int]]:
    """Return the queue and the prefetch count of each consumer."""
    listed = await _rows(system, "queue_name", 'rabbit_amqqueue:consumers_all(<<"/">>)')
    return [(each["queue_name"], each["prefetch_count"]) for each in listed]


async def _rows(system: System, name: str, listed: str) -> list[dict[str, Any]]:
    """Return what `listed` lists. Of the queue in the column `name`, return only its own name."""
    keep = f"[{name}, prefetch_count, type, durable, messages]"
    row = (
        f"maps:update_with({name}, fun(Queue) -> element(4, Queue) end,"
        f" maps:with({keep}, maps:from_list(Row)))"
    )
    return await read(system.supervisor, f"[{row} || Row <- {listed}]")


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
        await evaluate(self._system.supervisor, 'rabbit_trace:start(<<"/">>).')
        return self

    async def _on_message(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        told = repr(message.headers).encode()
        self.seen.append((message.routing_key or "", told + message.body))

    async def __aexit__(self, *_: object) -> None:
        await evaluate(self._system.supervisor, 'rabbit_trace:stop(<<"/">>).')
        await self._connection.close()
