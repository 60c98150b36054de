"""The nodes are one cluster and one replica set, and survive a fault in one of them."""

import asyncio
import secrets
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import DeliveryError
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.local.cluster import brokers, members
from cartwheel.local.cluster.running import Cluster

from ..long_form import long_form
from ..waiting import eventually
from .conftest import KEPT, QUORUM, needs_namespaces

NODES_THAT_LEAD = """\
length(lists:usort([Node || {_, Node} <- [amqqueue:get_pid(Q) || Q <- rabbit_amqqueue:list()]])).
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"
WAITING = "whereis(rabbit_outside_app_process)"
"""What starts the broker of a paused node again when there is a majority."""
HAVE_THREE_MEMBERS = """\
Members = fun(Q) -> length(maps:get(nodes, amqqueue:get_type_state(Q))) end,
lists:all(fun(Q) -> Members(Q) =:= 3 end, rabbit_amqqueue:list()).
"""

pytestmark = long_form
"""The short form of the ordeals covers most of this, with customers."""

each_fault = pytest.mark.parametrize(
    "fault",
    [
        "kill",
        "stop",
        pytest.param("partition", marks=needs_namespaces),
    ],
)


async def connect(nodes: Cluster, name: str) -> AbstractConnection:
    url = nodes.brokers.urls[brokers.NAMES.index(name)]
    return await aio_pika.connect(url, timeout=5)


async def primary(nodes: Cluster, *, but: str = "") -> str:
    """Return the member that accepts writes. Skip `but`, which may not know that it lost."""

    async def look() -> str:
        states = await nodes.members.states()
        found = [name for name, state in states.items() if state == "PRIMARY" and name != but]
        assert len(found) == 1, states
        return found[0]

    return await eventually(look)


async def takes_clients(nodes: Cluster, name: str) -> bool:
    """Return whether the node accepts a connection from its own network, which is never cut off."""
    node = nodes.brokers.nodes[name]
    connecting = await asyncio.create_subprocess_exec(
        *(*node.host.inside, sys.executable, "-S", "-c", CONNECT, node.host.address),
        str(node.port),
        stderr=DEVNULL,
    )
    return await connecting.wait() == 0


async def publish(nodes: Cluster, name: str, body: bytes, queue: str) -> None:
    """Publish a message that the node confirms. While a queue has no leader, it may refuse."""
    async with await connect(nodes, name) as connection, connection.channel() as channel:
        try:
            await channel.default_exchange.publish(aio_pika.Message(body), queue, timeout=5)
        except (DeliveryError, TimeoutError) as error:
            raise AssertionError("not confirmed") from error


async def all_of(queue: AbstractQueue) -> AsyncGenerator[AbstractIncomingMessage]:
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        yield message


@asynccontextmanager
async def things_of(nodes: Cluster, name: str) -> AsyncGenerator[AsyncCollection[dict[str, Any]]]:
    uri = nodes.members.variables["MONGODB_URI"]
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        yield client["try"][name]


async def test_the_nodes_are_one_cluster_and_one_set(nodes: Cluster) -> None:
    assert [await nodes.brokers.running(name) for name in brokers.NAMES] == [3, 3, 3]
    assert sorted((await nodes.members.states()).values()) == ["PRIMARY", "SECONDARY", "SECONDARY"]


async def test_a_second_start_has_the_data_of_the_first(nodes: Cluster) -> None:
    """This holds even if the nodes have other addresses than before."""
    async with things_of(nodes, "things") as things:
        assert await things.find_one() == {"_id": KEPT}
    async with await connect(nodes, "rabbitmq.3") as connection, connection.channel() as channel:
        queue = await channel.get_queue(KEPT)
        assert (await queue.get(no_ack=True)).body == b"kept"


async def test_quorum_queues_have_three_members_and_their_leaders_are_spread(
    nodes: Cluster,
) -> None:
    async with await connect(nodes, "rabbitmq.1") as connection, connection.channel() as channel:
        for number in range(6):
            await channel.declare_queue(f"spread.{number}", durable=True, arguments=QUORUM)

    assert await nodes.brokers.evaluate("rabbitmq.1", HAVE_THREE_MEMBERS) == "true"
    assert await nodes.brokers.evaluate("rabbitmq.1", NODES_THAT_LEAD) == "3"


@each_fault
async def test_rabbitmq_goes_on_with_two_nodes_and_the_third_comes_back(
    nodes: Cluster, fault: str
) -> None:
    queue = f"kept.{fault}"
    async with await connect(nodes, "rabbitmq.1") as connection, connection.channel() as channel:
        await channel.declare_queue(queue, durable=True, arguments=QUORUM)
    await publish(nodes, "rabbitmq.1", b"before", queue)

    await getattr(nodes.faults, fault)("rabbitmq.1")

    async def goes_on() -> None:
        assert await nodes.brokers.running("rabbitmq.2") == 2

    await eventually(goes_on)
    await eventually(partial(publish, nodes, "rabbitmq.2", b"with two", queue))
    await nodes.faults.heal("rabbitmq.1")
    await nodes.healthy()

    async with await connect(nodes, "rabbitmq.1") as connection, connection.channel() as channel:
        kept = await channel.get_queue(queue)
        bodies = [message.body async for message in all_of(kept)]
    assert bodies[0] == b"before"
    assert set(bodies[1:]) == {b"with two"}  # twice if the first was stored but not confirmed


@needs_namespaces
async def test_a_node_of_rabbitmq_that_is_cut_off_takes_no_clients(nodes: Cluster) -> None:
    """Otherwise both sides would confirm messages that the other never gets (pause_minority)."""
    assert await takes_clients(nodes, "rabbitmq.3")
    await nodes.faults.partition("rabbitmq.3")

    async def pauses() -> None:
        assert not await takes_clients(nodes, "rabbitmq.3")

    await eventually(pauses)
    await nodes.faults.heal("rabbitmq.3")
    await nodes.healthy()


async def test_a_node_that_does_not_end_its_pause_is_restarted(nodes: Cluster) -> None:
    """RabbitMQ 3.10 may give up waiting for a majority. Its process then stays without a broker."""
    *killed, paused = brokers.NAMES
    for name in killed:
        await nodes.faults.kill(name)

    async def waits() -> None:
        assert await nodes.brokers.evaluate(paused, f"is_pid({WAITING}).") == "true"

    await eventually(waits)
    assert await nodes.brokers.evaluate(paused, f"exit({WAITING}, kill).") == "true"

    await asyncio.gather(*map(nodes.faults.heal, killed))

    await nodes.healthy()


@each_fault
async def test_mongodb_elects_another_primary_and_the_old_one_comes_back(
    nodes: Cluster, fault: str
) -> None:
    collection = f"things_{secrets.token_hex(3)}"
    async with things_of(nodes, collection) as things:
        await things.insert_one({"_id": "before"})
    old = await primary(nodes)

    await getattr(nodes.faults, fault)(old)

    assert await primary(nodes, but=old) in members.NAMES
    async with things_of(nodes, collection) as things:
        await things.insert_one({"_id": "with two"})
    await nodes.faults.heal(old)
    await nodes.healthy()
    async with things_of(nodes, collection) as things:
        assert {each["_id"] async for each in things.find()} == {"before", "with two"}
