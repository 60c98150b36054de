"""What both AMQP clients promise to the bus, on the real RabbitMQ."""

import asyncio
import contextlib
import ssl
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aio_pika.abc import AbstractChannel
from pamqp import commands

from cartwheel.kernel._amqp import built_in, connecting, frames
from cartwheel.kernel._amqp.interface import (
    AccessRefused,
    BadUrl,
    Channel,
    Connection,
    ConnectionLost,
    Delivery,
    Message,
    NotTaken,
    QueueMissing,
    Unroutable,
    VirtualHostRefused,
)
from cartwheel.kernel._core.ids import new_id
from cartwheel.local.up import System

from ..alarms import rabbitmq_full
from ..certificates import make_certificates
from ..garbage import fewer_cycles_than
from ..proxy import proxy_to
from ..waiting import eventually

HEARTBEAT_SECONDS = 1
Connect = Callable[..., Awaitable[Connection]]


@pytest.fixture(params=["built-in", "aiormq"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def connect(client: Any, rabbitmq_url: str) -> AsyncGenerator[Connect]:
    """Connects, and closes at the end."""
    async with AsyncExitStack() as stack:

        async def connected(url: str = rabbitmq_url) -> Connection:
            connection = await connecting.connect(
                url, name="tests", heartbeat=HEARTBEAT_SECONDS, client=client
            )
            stack.push_async_callback(connection.close)
            return connection

        yield connected


@pytest.fixture
async def queue(channel: AbstractChannel) -> AsyncGenerator[str]:
    """A queue that takes at most 5,000 messages, and refuses more."""
    arguments: dict[str, Any] = {"x-max-length": 5_000, "x-overflow": "reject-publish"}
    declared = await channel.declare_queue(new_id("queue"), durable=False, arguments=arguments)
    yield declared.name
    await declared.delete(if_unused=False, if_empty=False)


async def taken(channel: Channel, queue: str) -> asyncio.Queue[Delivery]:
    """Consume `queue`; return what arrives, as it arrives."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    await channel.consume(queue, arrived.put_nowait)
    return arrived


async def test_a_message_arrives_as_it_was_published(connect: Connect, queue: str) -> None:
    channel = await (await connect()).channel(confirms=True)
    arrived = await taken(channel, queue)
    sent = Message(
        body="hällo".encode(),
        headers={
            "text": "hällo",
            "count": 3,
            "yes": True,
            "when": datetime(2026, 11, 30, tzinfo=UTC),
            "many": ["a", {"b": 1}],
        },
        persistent=True,
        message_id="evt_1",
        type="echo",
        reply_to="amq.somewhere",
        expiration=60_000,
    )

    await channel.publish_confirmed(sent, routing_key=queue, mandatory=True)
    found = await arrived.get()

    assert (found.body, dict(found.headers)) == (sent.body, sent.headers)
    assert (found.message_id, found.type, found.reply_to) == ("evt_1", "echo", "amq.somewhere")
    assert (found.content_type, found.redelivered) == ("application/json", False)


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 3_000_000])
async def test_a_body_of_any_size_arrives_whole(connect: Connect, queue: str, size: int) -> None:
    channel = await (await connect()).channel(confirms=True)
    arrived = await taken(channel, queue)
    body = bytes(number % 251 for number in range(size))

    channel.publish(Message(body=body), routing_key=queue)
    channel.publish(Message(body=b"the next one"), routing_key=queue)

    assert (await arrived.get()).body == body
    assert (await arrived.get()).body == b"the next one"


async def test_many_messages_arrive_in_order_and_each_is_confirmed(
    connect: Connect, queue: str
) -> None:
    channel = await (await connect()).channel(confirms=True)
    arrived = await taken(channel, queue)

    await asyncio.gather(
        *(
            channel.publish_confirmed(
                Message(body=str(number).encode()), routing_key=queue, mandatory=number % 2 == 0
            )
            for number in range(2_000)
        )
    )

    bodies = [(await arrived.get()).body for _ in range(2_000)]
    assert bodies == [str(number).encode() for number in range(2_000)]


async def test_unacknowledged_messages_are_redelivered(connect: Connect, queue: str) -> None:
    connection = await connect()
    channel = await connection.channel(confirms=True)
    arrived = await taken(channel, queue)
    for number in range(4):
        await channel.publish_confirmed(
            Message(body=str(number).encode()), routing_key=queue, mandatory=True
        )
    first, second, third, _ = [await arrived.get() for _ in range(4)]

    first.ack()
    second.reject(requeue=False)
    third.reject(requeue=True)
    again = await arrived.get()
    await channel.written()
    await connection.close()
    other = await taken(await (await connect()).channel(confirms=False), queue)

    assert (again.body, again.redelivered) == (b"2", True)
    assert sorted([(await other.get()).body for _ in range(2)]) == [b"2", b"3"]
    assert other.empty()


async def test_a_prefetch_count_limits_unacknowledged_messages(
    connect: Connect, queue: str
) -> None:
    channel = await (await connect()).channel(confirms=True)
    await channel.set_prefetch(2)
    arrived = await taken(channel, queue)
    for _ in range(5):
        await channel.publish_confirmed(Message(body=b""), routing_key=queue, mandatory=True)

    in_hand = [await arrived.get() for _ in range(2)]
    await asyncio.sleep(0.2)
    assert arrived.empty()
    in_hand[0].ack()
    await arrived.get()


async def test_only_the_message_without_a_queue_fails(connect: Connect, queue: str) -> None:
    channel = await (await connect()).channel(confirms=True)
    same = Message(body=b"", message_id="evt_1")

    async def publish(message: Message, where: str) -> None:
        await channel.publish_confirmed(message, routing_key=where, mandatory=True)

    results = await asyncio.gather(
        publish(same, "nowhere"),
        publish(Message(body=b"", message_id="evt_2"), queue),
        publish(Message(body=b""), "nowhere"),
        publish(Message(body=b""), queue),
        return_exceptions=True,
    )
    await publish(same, queue)

    assert [type(result) for result in results] == [Unroutable, type(None)] * 2


async def test_a_message_that_is_not_mandatory_may_be_lost(connect: Connect) -> None:
    channel = await (await connect()).channel(confirms=True)

    await channel.publish_confirmed(Message(body=b""), routing_key="nowhere", mandatory=False)
    channel.publish(Message(body=b""), routing_key="nowhere")


async def test_a_full_queue_refuses(connect: Connect, channel: AbstractChannel) -> None:
    arguments: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
    full = await channel.declare_queue(
        new_id("queue"), durable=False, auto_delete=True, arguments=arguments
    )
    publishing = await (await connect()).channel(confirms=True)

    results = await asyncio.gather(
        *(
            publishing.publish_confirmed(Message(body=b""), routing_key=full.name, mandatory=True)
            for _ in range(20)
        ),
        return_exceptions=True,
    )
    await full.delete(if_unused=False, if_empty=False)

    refused = [result for result in results if result is not None]
    assert {type(error) for error in refused} == {NotTaken}
    assert len(refused) >= 18


async def test_giving_up_on_a_confirm_disturbs_no_other(connect: Connect, queue: str) -> None:
    channel = await (await connect()).channel(confirms=True)

    async def publish() -> None:
        await channel.publish_confirmed(Message(body=b""), routing_key=queue, mandatory=True)

    hasty = asyncio.create_task(publish())
    await asyncio.sleep(0)
    hasty.cancel()
    await asyncio.gather(*(publish() for _ in range(10)))


async def test_a_canceled_consumer_has_passed_on_all_its_deliveries(
    connect: Connect, queue: str
) -> None:
    connection = await connect()
    publishing, consuming = [await connection.channel(confirms=True) for _ in range(2)]
    for _ in range(50):
        publishing.publish(Message(body=b""), routing_key=queue)
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    tag = await consuming.consume(queue, arrived.put_nowait)

    await consuming.cancel(tag)
    given = arrived.qsize()
    await publishing.publish_confirmed(Message(body=b""), routing_key=queue, mandatory=True)
    await asyncio.sleep(0.2)

    assert arrived.qsize() == given


async def test_a_channel_closes_when_its_queue_is_deleted(
    connect: Connect, channel: AbstractChannel
) -> None:
    declared = await channel.declare_queue(new_id("queue"), durable=False)
    connection = await connect()
    consuming, other = [await connection.channel(confirms=True) for _ in range(2)]
    await taken(consuming, declared.name)

    await declared.delete(if_unused=False, if_empty=False)

    async with asyncio.timeout(10):
        await consuming.closed()
    with pytest.raises(ConnectionLost):
        consuming.publish(Message(body=b""), routing_key="nowhere")
    await other.publish_confirmed(Message(body=b""), routing_key="nowhere", mandatory=False)


async def test_an_exclusive_queue_is_bound_and_unbound_and_goes_with_its_connection(
    connect: Connect, channel: AbstractChannel
) -> None:
    exchange = await channel.declare_exchange(new_id("exchange"), "direct", durable=False)
    route = {"exchange": exchange.name, "routing_key": "key"}
    owner, other = await connect(), await (await connect()).channel(confirms=True)
    mine, name = await owner.channel(confirms=False), new_id("mine")
    await mine.declare_exclusive(name, ttl_seconds=60)
    for _ in range(2):
        await mine.bind(name, **route)

    await other.publish_confirmed(Message(body=b"one"), **route, mandatory=True)
    assert await mine.waiting_in(name) == 1
    for _ in range(2):
        await mine.unbind(name, **route)
    with pytest.raises(Unroutable):
        await other.publish_confirmed(Message(body=b"two"), **route, mandatory=True)
    assert (await (await taken(mine, name)).get()).body == b"one"

    await owner.close()
    looking = await (await connect()).channel(confirms=False)
    with pytest.raises(QueueMissing, match=name):
        await looking.waiting_in(name)
    await exchange.delete()


async def test_messages_in_an_exclusive_queue_expire(connect: Connect) -> None:
    connection = await connect()
    channel, name = await connection.channel(confirms=True), new_id("mine")
    await channel.declare_exclusive(name, ttl_seconds=0.1)
    await channel.publish_confirmed(Message(body=b""), routing_key=name, mandatory=True)

    async def forgotten() -> None:
        assert await channel.waiting_in(name) == 0

    await eventually(forgotten)


async def test_without_confirms_only_returned_messages_are_reported(
    connect: Connect, queue: str
) -> None:
    returned: list[str] = []
    connection = await connect()
    channel = await connection.channel(confirms=False, on_return=returned.append)
    arrived = await taken(channel, queue)

    channel.publish(Message(body=b"", message_id="1"), routing_key="nowhere", mandatory=True)
    channel.publish(Message(body=b"", message_id="2"), routing_key=queue, mandatory=True)
    channel.publish(Message(body=b"", message_id="3"), routing_key="nowhere")
    channel.publish(Message(body=b"", message_id="4"), routing_key="nowhere", mandatory=True)

    async def told() -> None:
        assert returned == ["1", "4"]

    await eventually(told)
    assert (await arrived.get()).message_id == "2"


async def test_channels_that_close_leave_room_for_others(rabbitmq_url: str) -> None:
    """RabbitMQ takes at most 2,047 on a connection."""
    connection = await built_in.connect(rabbitmq_url, name="tests", heartbeat=HEARTBEAT_SECONDS)

    async def refused() -> None:
        channel = await connection.channel(confirms=False)
        with pytest.raises(QueueMissing):
            await channel.waiting_in("no-such-queue")
        await channel.closed()

    for _ in range(21):
        await asyncio.gather(*(refused() for _ in range(100)))
    await connection.close()


async def test_the_number_of_a_channel_that_we_close_is_used_again(
    rabbitmq_url: str, channel: AbstractChannel
) -> None:
    connection = await built_in.connect(rabbitmq_url, name="tests", heartbeat=HEARTBEAT_SECONDS)
    closing, name = await connection.channel(confirms=False), new_id("mine")
    await closing.declare_exclusive(name, ttl_seconds=60)
    await taken(closing, name)
    await closing.call(commands.Queue.Delete(queue=name), commands.Queue.DeleteOk)
    await closing.closed()

    async def used_again() -> None:
        assert (await connection.channel(confirms=False)).number == closing.number

    await eventually(used_again)
    await connection.close()


async def test_a_missing_queue_is_named(connect: Connect) -> None:
    channel = await (await connect()).channel(confirms=False)

    with pytest.raises(QueueMissing, match="no-such-queue"):
        await taken(channel, "no-such-queue")

    await channel.closed()
    with pytest.raises(ConnectionLost):
        channel.publish(Message(body=b""), routing_key="nowhere")


async def test_an_abandoned_call_does_not_take_the_next_ones_answer(
    connect: Connect, queue: str
) -> None:
    channel = await (await connect()).channel(confirms=False)
    given_up = asyncio.create_task(channel.set_prefetch(1))
    await asyncio.sleep(0)
    given_up.cancel()

    await taken(channel, queue)
    await channel.set_prefetch(1)


async def test_a_wrong_password_and_a_missing_virtual_host_are_different_errors(
    connect: Connect, rabbitmq_url: str
) -> None:
    parts = urlsplit(rabbitmq_url)

    with pytest.raises(AccessRefused):
        await connect(f"amqp://nobody:wrong@{parts.hostname}:{parts.port}/")
    with pytest.raises(VirtualHostRefused):
        await connect(f"{rabbitmq_url.rstrip('/')}/no-such-host")


async def test_pending_calls_fail_when_the_connection_is_lost(
    connect: Connect, rabbitmq_url: str, queue: str
) -> None:
    async with proxy_to(rabbitmq_url) as (proxy, url):
        connection = await connect(url)
        channel = await connection.channel(confirms=True)
        arrived = await taken(channel, queue)
        await channel.publish_confirmed(Message(body=b""), routing_key=queue, mandatory=True)
        delivery = await arrived.get()
        proxy.lose_answers()
        confirm = asyncio.create_task(
            channel.publish_confirmed(Message(body=b""), routing_key=queue, mandatory=True)
        )
        asking = asyncio.create_task(channel.set_prefetch(1))
        await asyncio.sleep(0.05)

        proxy.cut()

        async with asyncio.timeout(10):
            await asyncio.gather(connection.closed(), channel.closed())
            results = await asyncio.gather(confirm, asking, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionLost] * 2
        for after in (
            delivery.ack,
            lambda: delivery.reject(requeue=True),
            lambda: channel.publish(Message(body=b""), routing_key=queue),
        ):
            with pytest.raises(ConnectionLost):
                after()
        for waiting in (channel.written, connection.unblocked):
            with pytest.raises(ConnectionLost):
                await waiting()


async def test_an_idle_connection_is_kept(connect: Connect) -> None:
    connection = await connect()
    channel = await connection.channel(confirms=True)

    await asyncio.sleep(4 * HEARTBEAT_SECONDS)

    await channel.publish_confirmed(Message(body=b""), routing_key="nowhere", mandatory=False)


async def test_a_silent_rabbitmq_is_disconnected(connect: Connect, rabbitmq_url: str) -> None:
    async with proxy_to(rabbitmq_url) as (proxy, url):
        connection = await connect(url)
        proxy.freeze()
        began = time.monotonic()

        async with asyncio.timeout(30):
            await connection.closed()

        # Something may have come just before the freeze: one heartbeat less.
        assert time.monotonic() - began > HEARTBEAT_SECONDS


async def test_publishers_wait_while_rabbitmq_does_not_read(
    connect: Connect, rabbitmq_url: str, queue: str
) -> None:
    async with proxy_to(rabbitmq_url) as (proxy, url):
        connection = await connect(url)
        channel = await connection.channel(confirms=False)
        proxy.freeze()
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                while True:
                    channel.publish(Message(body=bytes(100_000)), routing_key=queue)
                    sent += 1
                    await channel.written()

        assert not channel.reads_on
        assert sent < 200  # 20 MB: what is buffered here, and in both systems' sockets
        proxy.thaw()
        await channel.written()
        arrived = await taken(await connection.channel(confirms=False), queue)
        for _ in range(sent):
            await arrived.get()


async def test_an_alarm_of_rabbitmq_is_waited_for(
    connect: Connect, system: System, queue: str
) -> None:
    connection = await connect()
    channel = await connection.channel(confirms=True)
    await connection.unblocked()

    async def publish() -> None:
        await channel.publish_confirmed(Message(body=b""), routing_key=queue, mandatory=True)

    async with rabbitmq_full(system.supervisor):
        # RabbitMQ takes the first message during an alarm, and nothing after it.
        publishing = [asyncio.create_task(publish()) for _ in range(2)]

        async def blocked() -> None:
            unblocked = asyncio.create_task(connection.unblocked())
            done, _ = await asyncio.wait({unblocked}, timeout=0.1)
            unblocked.cancel()
            assert not done

        await eventually(blocked)
        assert not publishing[1].done()

    await connection.unblocked()
    await asyncio.gather(*publishing)


async def test_a_connection_closes_properly_and_may_be_closed_twice(connect: Connect) -> None:
    connection = await connect()
    channel = await connection.channel(confirms=False)

    await connection.close()
    await connection.close()

    await asyncio.gather(connection.closed(), channel.closed())


async def test_a_connection_closes_even_if_rabbitmq_does_not_answer(
    rabbitmq_url: str,
) -> None:
    async with proxy_to(rabbitmq_url) as (proxy, url):
        connection = await connecting.connect(url, name="tests", heartbeat=60)
        proxy.freeze()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await connection.close()

        async with asyncio.timeout(1):
            await connection.closed()


async def test_messages_leave_nothing_that_only_the_garbage_collector_finds(
    connect: Connect, queue: str
) -> None:
    channel = await (await connect()).channel(confirms=True)
    arrived = await taken(channel, queue)
    message = Message(body=b"{}", headers={"a": "b"}, message_id="evt_1")

    async def round_trip() -> None:
        await channel.publish_confirmed(message, routing_key=queue, mandatory=True)
        (await arrived.get()).ack()

    await round_trip()
    with fewer_cycles_than(100):
        for _ in range(200):
            await round_trip()


async def test_tls_trusts_the_authority_that_the_url_names(
    connect: Connect, rabbitmq_url: str, tmp_path: Path
) -> None:
    authority, chain = tmp_path / "authority.pem", tmp_path / "server.pem"
    make_certificates(authority, chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    async with proxy_to(rabbitmq_url, tls=context) as (_, url):
        secure = url.replace("amqp://", "amqps://").replace("127.0.0.1", "localhost")
        channel = await (await connect(f"{secure}?cafile={authority}")).channel(confirms=True)
        await channel.publish_confirmed(Message(body=b""), routing_key="nowhere", mandatory=False)

        with pytest.raises(OSError, match="certificate verify failed"):
            await connect(secure)


async def test_the_built_in_client_names_an_option_that_it_does_not_know(
    rabbitmq_url: str,
) -> None:
    with pytest.raises(BadUrl, match="the option auth, which AMQP_CLIENT=aiormq may know"):
        await connecting.connect(f"{rabbitmq_url}?auth=external", name="tests", heartbeat=1)


NOISE = {
    "no AMQP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a frame without its end": struct.pack(">BHIB", 8, 0, 0, 0xCD),
    "a frame that would fill the memory": struct.pack(">BHIB", 3, 0, 2**31, 0),
    "a frame of no known type": struct.pack(">BHIB", 9, 0, 0, frames.END),
    "a method that does not exist": struct.pack(">BHIHHB", 1, 0, 4, 10, 999, frames.END),
    "a method that ends too early": struct.pack(">BHIHHB", 1, 0, 4, 10, 10, frames.END),
    "a method of no length": struct.pack(">BHIB", 1, 0, 0, frames.END),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
async def test_a_server_that_does_not_speak_amqp_is_disconnected(noise: bytes) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(noise)
        await asyncio.sleep(5)
        writer.close()

    async with (
        asyncio.timeout(10),
        await asyncio.start_server(speak, "127.0.0.1", 0) as server,
    ):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost, match="cannot be read"):
            await connecting.connect(f"amqp://127.0.0.1:{port}", name="tests", heartbeat=1)


def header(flags: int, rest: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 0, flags) + rest


MALFORMED = {
    "a table that is longer than told": header(0x2000, b"\0\0\0\1\1aS\0\0\0\1b"),
    "a value of no known type": header(0x2000, b"\0\0\0\3\1a?"),
    "tables within tables": header(0x2000, b"\0\1\x86\xa0" + b"\1aF\0\1\x86\xa0" * 12_500),
    "a header without its table": header(0x2000, b""),
    "no header": b"",
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_headers_that_cannot_be_read_are_refused_when_they_are_asked_for(
    malformed: bytes,
) -> None:
    properties = frames.Properties(malformed)

    with pytest.raises(ValueError, match="no AMQP table"):
        _ = properties.headers


def test_every_property_is_read_past_those_that_nobody_asks_for() -> None:
    everything = header(
        0xFFFC,
        b"\4json\4gzip\0\0\0\0\2\5\1c\1r\1" + b"9\2id\0\0\0\0\0\0\0\1\1t\1u\1a\1k",
    )

    properties = frames.Properties(everything)

    assert (properties.content_type, properties.reply_to) == ("json", "r")
    assert (properties.message_id, properties.type) == ("id", "t")
    assert properties.headers == {}


@pytest.mark.parametrize(
    ("message", "key", "why"),
    [
        (Message(body=b""), "x" * 256, "longer than the 255 bytes"),
        (Message(body=b"", headers={"stack": "x" * 5_000}), "key", "more than a frame takes"),
    ],
)
def test_values_that_amqp_cannot_carry_are_refused(message: Message, key: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        frames.publish(1, message, "", key, mandatory=False, frame_max=4096)
