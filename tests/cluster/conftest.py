"""Three nodes of RabbitMQ and three of MongoDB, without the processes that use them."""

import subprocess
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import aio_pika
import pytest
from pamqp.common import Arguments
from pymongo import AsyncMongoClient

from cartwheel.local.cluster.running import Cluster, cluster

_CAN_MAKE_ONE = ("unshare", "--net", "true")

needs_namespaces = pytest.mark.skipif(
    subprocess.run(_CAN_MAKE_ONE, capture_output=True, check=False).returncode != 0,  # noqa: S603
    reason="no network namespaces here: no node can be cut off",
)

_SOMEBODY_ELSES_AWS = {
    "COGNITO_USER_POOL_ID": "eu-west-1_pool",
    "COGNITO_CLIENT_ID": "client",
    "SES_SENDER": "shop@example.com",
}
"""Settings of AWS, so that no emulator is started."""


QUORUM: Arguments = {"x-queue-type": "quorum"}
KEPT = "kept"
"""A queue and a document of the first start."""


@pytest.fixture(scope="module")
async def shared_nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """A cluster at its second start. At the first start, all nodes shared loopback."""
    home = tmp_path_factory.mktemp("cluster")
    start = partial(cluster, home, given=_SOMEBODY_ELSES_AWS, processes=(), setup=())
    async with start(apart=False) as nodes:
        await _keep_something(nodes)
    async with start() as nodes:
        yield nodes


async def _keep_something(nodes: Cluster) -> None:
    async with AsyncMongoClient[dict[str, Any]](nodes.environment["MONGODB_URI"]) as client:
        await client["try"]["things"].insert_one({"_id": KEPT})
    async with (
        await aio_pika.connect(nodes.brokers.urls[1]) as connection,
        connection.channel() as channel,
    ):
        await channel.declare_queue(KEPT, durable=True, arguments=QUORUM)
        await channel.default_exchange.publish(aio_pika.Message(b"kept"), KEPT)


@pytest.fixture
async def nodes(shared_nodes: Cluster) -> AsyncGenerator[Cluster]:
    await shared_nodes.healthy()
    yield shared_nodes
    for name in shared_nodes.faults.broken:  # by a test that has failed
        await shared_nodes.faults.heal(name)
