"""Which exchanges and queues there are. `cartwheel setup` declares them; processes only check,
but for the queues of requests.

    events (topic exchange) ──► events.<service> ──(killed its reader too often)──► dead.<service>
                                     ▲      │ failed
                                     └── retry.<service>.<seconds>s
    requests (direct exchange) ──► rpc.<service>.<replica>

Each process that answers requests declares a queue of its own for as long as it is connected: an
exclusive one, which goes with its connection (docs/adr/0021).

Queues of events are quorum queues; they hand on to the next one at least once, which needs
`reject-publish` (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).

Queues of dead letters have no delivery limit: whoever looks at one returns it, and past a limit
RabbitMQ would delete it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cartwheel.kernel._core.messages import Event

if TYPE_CHECKING:  # processes have no use for aio-pika: only `cartwheel setup` declares
    from aio_pika.abc import AbstractChannel

EXCHANGE = "events"
REQUESTS = "requests"
"""The exchange of requests. Its routing keys are the names that replicas give themselves, and those
of `everybody` and `presence`."""

EXCHANGES = (EXCHANGE, REQUESTS)

REQUEST_DEADLINE_SECONDS = 10.0
"""Seconds until a request that nobody has taken up is forgotten."""

RETRY_DELAYS = (5, 60)
"""Seconds. A failing event is tried again after the first, then after the second each time."""

RETRIES = 3
"""How often a failing event is tried again before it is parked."""

DELIVERY_LIMIT = 20
"""How often an event may come back unfinished (its reader was killed) before it is parked."""

_AT_LEAST_ONCE = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def everybody(service: str) -> str:
    """Return the routing key of a ping to all replicas of `service`."""
    return f"all.{service}"


def presence(replica: str) -> str:
    """Return the routing key of a ping to `replica`, which holds for as long as its queue."""
    return f"{replica}.here"


def shared_request_queue(service: str) -> str:
    """Return the queue that all replicas of the version before this one take requests from."""
    return f"rpc.{service}"


def event_queue(service: str) -> str:
    return f"events.{service}"


def dead_queue(service: str) -> str:
    return f"dead.{service}"


def retry_queue(service: str, delay: int) -> str:
    return f"retry.{service}.{delay}s"


def dead_queue_arguments(rabbitmq_version: str) -> dict[str, str | int]:
    """Return the arguments of a queue without a delivery limit.

    RabbitMQ 4 limits a quorum queue to 20 deliveries unless it is told -1; RabbitMQ 3 has no limit,
    and takes a negative one for 0
    (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling).
    """
    limited = int(rabbitmq_version.partition(".")[0]) >= 4
    return {"x-queue-type": "quorum", **({"x-delivery-limit": -1} if limited else {})}


def queues(service: str) -> tuple[str, ...]:
    """Return the queues of `service` that `declare` makes: quorum queues, on a cluster with members
    on several nodes."""
    retries = (retry_queue(service, delay) for delay in RETRY_DELAYS)
    return (event_queue(service), *retries, dead_queue(service))


def quorum_arguments(service: str, rabbitmq_version: str) -> dict[str, dict[str, str | int]]:
    """Return the arguments of each of the quorum queues of `service`, by its name."""
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
    """Return queue and routing key of each binding to the exchange of events."""
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
