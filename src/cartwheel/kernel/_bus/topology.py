"""The exchanges and queues. `cartwheel setup` declares them; processes only check that they exist,
except for request queues.

    events (topic exchange) ──► events.<service> ──(killed its reader too often)──► dead.<service>
                                     ▲      │ failed
                                     └── retry.<service>.<seconds>s
    requests (direct exchange) ──► rpc.<service>.<replica>

Each process that answers requests declares its own queue. The queue is exclusive and is deleted
with the connection (docs/adr/0021).

Event queues are quorum queues. They dead-letter at least once, which requires `reject-publish`
(https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).

Dead-letter queues have no delivery limit. Each look at a dead letter requeues it, and past a limit
RabbitMQ would delete it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cartwheel.kernel._core.messages import Event

if TYPE_CHECKING:  # only `cartwheel setup` uses aio-pika
    from aio_pika.abc import AbstractChannel

EXCHANGE = "events"
REQUESTS = "requests"
"""The exchange for requests. Its routing keys are the replicas' names, `everybody` and
`presence`."""

EXCHANGES = (EXCHANGE, REQUESTS)

REQUEST_DEADLINE_SECONDS = 10.0
"""Seconds after which a request that no replica has taken is dropped."""

RETRY_DELAYS = (5, 60)
"""Seconds before the first retry of an event, and before each further one."""

RETRIES = 3
"""How often a failing event is retried before it is dead-lettered."""

DELIVERY_LIMIT = 20
"""How often an event may be redelivered (its consumer died) before it is dead-lettered."""

_AT_LEAST_ONCE = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def everybody(service: str) -> str:
    """Return the routing key of a ping to all replicas of `service`."""
    return f"all.{service}"


def presence(replica: str) -> str:
    """Return the routing key of a ping to `replica`; it is bound as long as the queue exists."""
    return f"{replica}.here"


def shared_request_queue(service: str) -> str:
    """Return the queue that replicas of the previous version share."""
    return f"rpc.{service}"


def event_queue(service: str) -> str:
    return f"events.{service}"


def dead_queue(service: str) -> str:
    return f"dead.{service}"


def retry_queue(service: str, delay: int) -> str:
    return f"retry.{service}.{delay}s"


def dead_queue_arguments(rabbitmq_version: str) -> dict[str, str | int]:
    """Return the arguments of a queue without a delivery limit.

    RabbitMQ 4 limits a quorum queue to 20 deliveries unless the argument is -1. RabbitMQ 3 has no
    default limit, and treats a negative one as 0
    (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling).
    """
    limited = int(rabbitmq_version.partition(".")[0]) >= 4
    return {"x-queue-type": "quorum", **({"x-delivery-limit": -1} if limited else {})}


def queues(service: str) -> tuple[str, ...]:
    """Return the quorum queues of `service`. On a cluster, they have members on several nodes."""
    retries = (retry_queue(service, delay) for delay in RETRY_DELAYS)
    return (event_queue(service), *retries, dead_queue(service))


def quorum_arguments(service: str, rabbitmq_version: str) -> dict[str, dict[str, str | int]]:
    """Return the arguments of the quorum queues of `service`, by name."""
    return {
        dead_queue(service): dead_queue_arguments(rabbitmq_version),
        event_queue(service): {
            **_AT_LEAST_ONCE,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead_queue(service),
        },
        **{
            retry_queue(service, delay): {
                **_AT_LEAST_ONCE,
                "x-message-ttl": delay * 1000,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": event_queue(service),
            }
            for delay in RETRY_DELAYS
        },
    }


def bindings(services: Iterable[str], events: Iterable[type[Event]]) -> tuple[tuple[str, str], ...]:
    """Return the queue and routing key of each binding to the event exchange."""
    told = tuple(events)
    return tuple(
        (event_queue(service), event.type)
        for service in services
        for event in told
        if service in event.consumers
    )


async def rabbitmq_version(channel: "AbstractChannel") -> str:
    underlay = await channel.get_underlay_channel()
    return str(underlay.connection.server_properties["version"])


async def declare(
    channel: "AbstractChannel", *, services: Iterable[str], events: Iterable[type[Event]]
) -> None:
    """Declare everything. May be repeated."""
    version = await rabbitmq_version(channel)
    services = tuple(services)
    exchange = await channel.declare_exchange(EXCHANGE, "topic", durable=True)
    await channel.declare_exchange(REQUESTS, "direct", durable=True)
    for service in services:
        for name, arguments in quorum_arguments(service, version).items():
            await channel.declare_queue(name, durable=True, arguments={**arguments})
    for name, event_type in bindings(services, events):
        queue = await channel.get_queue(name, ensure=False)
        await queue.bind(exchange, routing_key=event_type)
