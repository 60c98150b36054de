"""A process's connection to RabbitMQ: kept, whatever happens to its channels and to RabbitMQ."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aio_pika.abc import AbstractChannel

from cartwheel.kernel._bus import topology
from cartwheel.kernel._bus.connection import Connection
from cartwheel.kernel._bus.consuming import Consumer, on
from cartwheel.kernel._bus.publishing import Publisher
from cartwheel.kernel._bus.rpc_client import RpcClient
from cartwheel.kernel._bus.rpc_server import RpcServer, answer
from cartwheel.kernel._core.messages import CloudEvent
from cartwheel.kernel.operating import connect_any
from cartwheel.kernel.servers import Unusable, check_rabbitmq
from cartwheel.local import ports

from ..proxy import Proxy, proxy_to
from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Echo, Happened
from .test_events import happened


async def echo(request: Echo) -> str:
    return request.text


async def nothing() -> None:
    """A probe that succeeds."""


@asynccontextmanager
async def refusing() -> AsyncGenerator[str]:
    """Yield a URL where nobody listens."""
    yield f"amqp://guest:guest@127.0.0.1:{ports.find_free()}/"


async def test_a_failing_channel_does_not_affect_the_others(
    connect: Connect, channel: AbstractChannel
) -> None:
    seen: list[int] = []

    async def see(event: CloudEvent[Happened]) -> None:
        seen.append(event.data.number)

    caller, publisher = RpcClient(), Publisher(frozenset({Happened.type}))
    consumer = Consumer(SERVICE, [on(Happened, see)], probe=nothing)
    server = RpcServer(SERVICE, [answer(Echo, echo)])
    connection = await connect(caller, publisher, consumer, server)
    assert await caller.request(Echo(text="before")) == "before"

    await channel.queue_delete(topology.event_queue(SERVICE))

    async def noticed() -> None:
        assert not connection.is_up

    await eventually(noticed)
    # A write, too, would fail at once if its channel, or that of the service, were opened anew.
    for number in range(50):
        assert await caller.request(Echo(text=f"{number}")) == f"{number}"
        await asyncio.sleep(0.01)
    await topology.declare(channel, services=[SERVICE], events=[Happened])

    async def up_again() -> None:
        assert connection.is_up

    await eventually(up_again)
    await publisher.publish(happened(1))

    async def consumed() -> None:
        assert seen == [1]

    await eventually(consumed)


async def test_the_next_node_is_tried_when_one_fails(connect: Connect, rabbitmq_url: str) -> None:
    caller = RpcClient()
    async with (
        refusing() as dead,
        proxy_to(rabbitmq_url) as (proxy, one),
        proxy_to(rabbitmq_url) as (other_proxy, other),
    ):
        connection = await connect(
            caller, RpcServer(SERVICE, [answer(Echo, echo)]), url=f"{dead},{one},{other}"
        )
        assert await caller.request(Echo(text="first")) == "first"

        for dying in (proxy, other_proxy):
            dying.refuse()

            async def up() -> None:
                assert connection.is_up
                assert await caller.request(Echo(text="next")) == "next"

            await eventually(up)
            dying.refuse(False)


async def test_a_url_that_the_client_does_not_understand_is_left_out_unless_it_is_the_only_one(
    connect: Connect, rabbitmq_url: str
) -> None:
    bad = f"{rabbitmq_url}?no_such_option=1"
    caller = RpcClient()

    await connect(caller, RpcServer(SERVICE, [answer(Echo, echo)]), url=f"{bad},{rabbitmq_url}")
    assert await caller.request(Echo(text="hello")) == "hello"

    with pytest.raises(Unusable, match="no_such_option"):
        await Connection(f"{bad},{bad}", process="tests").start()


async def test_commands_and_checks_take_any_node(rabbitmq_url: str) -> None:
    async with refusing() as dead, refusing() as dead_too:
        for listed in (f"{dead},{rabbitmq_url}", f"{rabbitmq_url},{dead}"):
            await check_rabbitmq(listed)
            await (await connect_any(listed)).close()

        with pytest.raises(Unusable) as unusable:
            await check_rabbitmq(f"{dead},{dead_too}")
        assert str(unusable.value).count("which refuses connections") == 2
        with pytest.raises(ConnectionError):
            await connect_any(f"{dead},{dead_too}")


async def test_replicas_of_a_process_spread_over_the_nodes(
    connect: Connect, rabbitmq_url: str
) -> None:
    """Each proxy stands for a node."""
    connections: list[Proxy] = []
    async with AsyncExitStack() as stack:
        urls: list[str] = []
        for _ in range(3):
            proxy, url = await stack.enter_async_context(proxy_to(rabbitmq_url))
            connections.append(proxy)
            urls.append(url)

        replicas = [await connect(RpcClient(), url=",".join(urls)) for _ in range(3)]
        assert [proxy.connections for proxy in connections] == [1, 1, 1]
        fourth = await connect(RpcClient(), url=",".join(urls))
        assert sorted(proxy.connections for proxy in connections) == [1, 1, 2]

        await asyncio.gather(fourth.stop(), replicas[0].stop())

        async def two_left() -> None:
            assert sorted(proxy.connections for proxy in connections) == [0, 1, 1]

        async def the_next_takes_the_place() -> None:
            next_one = await connect(RpcClient(), url=",".join(urls))
            taken = [proxy.connections for proxy in connections]
            if taken != [1, 1, 1]:  # RabbitMQ frees a place a moment after its connection is gone
                await next_one.stop()
                await eventually(two_left)
            assert taken == [1, 1, 1]

        await eventually(two_left)
        await eventually(the_next_takes_the_place)
