"""Which exchanges and queues there are. `cartwheel setup` declares them; processes only check.

    events (topic exchange) ──► events.<service> ──(killed its reader too often)──► dead.<service>
                                     ▲      │ failed
                                     └── retry.<service>.<seconds>s
    rpc.<service>   requests: a classic queue, which forgets them after the deadline

Queues of events are quorum queues; they hand on to the next one at least once, which needs
`reject-publish` (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).
"""

from collections.abc import Iterable

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

from cartwheel.kernel.messages import Event

EXCHANGE = "events"
REQUEST_DEADLINE = 10.0
"""Seconds until a request that nobody has taken up is forgotten."""

RETRY_DELAYS = (5, 60)
"""Seconds. A failing event is tried again after 5, then after 60 and once more 60, then parked."""

DELIVERY_LIMIT = 20
"""How often an event may come back unfinished (its reader was killed) before it is parked."""

_AT_LEAST_ONCE = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def request_queue(service: str) -> str:
    return f"rpc.{service}"


def event_queue(service: str) -> str:
    return f"events.{service}"


def dead_queue(service: str) -> str:
    return f"dead.{service}"


def retry_queue(service: str, delay: int) -> str:
    return f"retry.{service}.{delay}s"


async def declare(
    channel: AbstractChannel, *, services: Iterable[str], events: Iterable[type[Event]]
) -> None:
    """Declare everything. May be repeated."""
    exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)
    for service in services:
        await channel.declare_queue(
            request_queue(service),
            durable=True,
            arguments={"x-message-ttl": int(REQUEST_DEADLINE * 1000)},
        )
        await channel.declare_queue(
            dead_queue(service), durable=True, arguments={"x-queue-type": "quorum"}
        )
        queue = await channel.declare_queue(
            event_queue(service),
            durable=True,
            arguments={
                **_AT_LEAST_ONCE,
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": dead_queue(service),
            },
        )
        for delay in RETRY_DELAYS:
            await channel.declare_queue(
                retry_queue(service, delay),
                durable=True,
                arguments={
                    **_AT_LEAST_ONCE,
                    "x-message-ttl": delay * 1000,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": event_queue(service),
                },
            )
        for event in events:
            if service in event.consumers:
                await queue.bind(exchange, routing_key=event.type)
