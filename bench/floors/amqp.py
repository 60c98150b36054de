"""The AMQP part of a floor: a requester and a replier, two processes with only aiormq and uvloop.

    python -m bench.floors.amqp replier URL
    python -m bench.floors.amqp requester URL IN_FLIGHT REPLY_SIZE SECONDS

Each request is one message through a classic queue, answered with direct reply-to, without confirms
or acknowledgements. The requester prints round trips per second.
"""

import asyncio
import sys
import time

import aiormq
import uvloop
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

QUEUE = "bench_floor"
_REQUEST_SIZE = 400
"""Bytes, about as many as in one of our requests."""
_WARM_UP = 0.5


async def reply(url: str) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    await channel.queue_declare(QUEUE, auto_delete=True)

    async def on_request(message: DeliveredMessage) -> None:
        properties = message.header.properties
        await channel.basic_publish(
            b" " * int(message.body[:10]),
            routing_key=properties.reply_to or "",
            properties=Basic.Properties(correlation_id=properties.correlation_id),
        )

    await channel.basic_consume(QUEUE, on_request, no_ack=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def ask(url: str, in_flight: int, reply_size: int, seconds: float) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    body = str(reply_size).encode().ljust(_REQUEST_SIZE)
    waiting: dict[str, asyncio.Future[None]] = {}
    count, over = 0, False

    async def on_reply(message: DeliveredMessage) -> None:
        waiting.pop(message.header.properties.correlation_id or "").set_result(None)

    await channel.basic_consume("amq.rabbitmq.reply-to", on_reply, no_ack=True)

    async def one_after_the_other(name: str) -> None:
        nonlocal count
        properties = Basic.Properties(correlation_id=name, reply_to="amq.rabbitmq.reply-to")
        while not over:
            answered = waiting[name] = asyncio.get_running_loop().create_future()
            await channel.basic_publish(body, routing_key=QUEUE, properties=properties)
            await answered
            count += 1

    askers = [asyncio.create_task(one_after_the_other(str(n))) for n in range(in_flight)]
    await asyncio.sleep(_WARM_UP)
    before, began = count, time.perf_counter()
    await asyncio.sleep(seconds)
    sys.stdout.write(f"{(count - before) / (time.perf_counter() - began)}\n")
    over = True
    await asyncio.gather(*askers)
    await connection.close()


async def main() -> None:
    role, url, *numbers = sys.argv[1:]
    if role == "replier":
        await reply(url)
    else:
        await ask(url, int(numbers[0]), int(numbers[1]), float(numbers[2]))


if __name__ == "__main__":
    uvloop.run(main())
