"""The counting of steps. Bytes arrive in pieces of any size."""

import bson
import pytest
from pamqp import commands, frame, header, heartbeat

from ..counting import ACKS, DELIVERIES, HTTP, MONGODB, PUBLISHES, TRANSACTIONS, Steps
from ..proxy import Listener

PIECES = (1, 7, 10_000)


def hear(listener: Listener, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        listener(data[start : start + size])


def command(**parts: object) -> bytes:
    """Return an OP_MSG."""
    body = bytes(4) + b"\0" + bson.encode(parts)
    head = (16 + len(body), 1, 0, 2013)
    return b"".join(number.to_bytes(4, "little") for number in head) + body


@pytest.mark.parametrize("size", PIECES)
def test_commands_are_counted_without_periodic_ones(size: int) -> None:
    steps = Steps()
    there, _ = steps.of_mongodb("orders")()
    sent = [
        command(hello=1),
        command(find="orders", filter={"_id": 1}),
        command(find="orders", filter={"status": "PAID", "due_at": None}),
        command(find="orders", filter={"outbox.id": {"$lt": "evt"}, "outbox.0": {"$exists": True}}),
        command(findAndModify="leases", query={"_id": "relay"}),
        command(update="orders", ordered=False),
        command(commitTransaction=1),
    ]

    hear(there, b"".join(sent), size)

    assert steps.counts() == {
        "find": {"orders": 1},
        "update": {"orders": 1},
        "commitTransaction": {"orders": 1},
    }
    assert steps.totals() == {MONGODB: 3, TRANSACTIONS: 1}


@pytest.mark.parametrize("size", PIECES)
def test_messages_are_counted_without_heartbeats(size: int) -> None:
    steps = Steps()
    there, back = steps.of_rabbitmq("orders")()
    content = [header.ContentHeader(0, 2, commands.Basic.Properties())]
    sent = [
        header.ProtocolHeader(),
        commands.Basic.Qos(prefetch_count=64),
        commands.Basic.Publish(exchange="", routing_key="rpc.products"),
        *content,
        heartbeat.Heartbeat(),
        commands.Basic.Ack(delivery_tag=1),
        commands.Basic.Publish(exchange="events", routing_key="order.paid.v1"),
        *content,
        commands.Basic.Publish(exchange="requests", routing_key="all.orders"),
        header.ContentHeader(0, 2, commands.Basic.Properties(message_type="ping")),
        commands.Basic.Ack(delivery_tag=2),
    ]
    came = [
        commands.Basic.Deliver("tag", 1, False, "", "rpc.orders"),
        *content,
        commands.Basic.Deliver("tag", 2, False, "requests", "all.orders"),
        header.ContentHeader(0, 2, commands.Basic.Properties(message_type="ping")),
        commands.Basic.Ack(delivery_tag=1),  # a confirm
    ]

    hear(back, b"".join(marshal(each) for each in came), size)
    hear(there, b"".join(marshal(each) for each in sent), size)

    assert steps.totals() == {PUBLISHES: 2, ACKS: 1, DELIVERIES: 1}
    assert steps.one_by_one().splitlines()[1].split() == ["orders", "publish", "rpc.products"]


def marshal(part: frame.FrameTypes) -> bytes:
    return frame.marshal(part, 0 if isinstance(part, heartbeat.Heartbeat) else 1)


@pytest.mark.parametrize("size", PIECES)
def test_an_http_exchange_is_counted_when_it_is_answered(size: int) -> None:
    steps = Steps()
    there, back = steps.of_http("payments")()

    hear(there, b"POST /v1/refunds HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", size)
    assert steps.taken_by("payments") == 0
    hear(back, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone", size)

    assert steps.counts() == {"POST /v1/refunds": {"payments": 1}}
    assert steps.totals() == {HTTP: 1}
