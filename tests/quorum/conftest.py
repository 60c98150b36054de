"""A cluster of three RabbitMQ nodes, with shops of the tests' own."""

import secrets
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from cartwheel.kernel.mongodb import Client
from cartwheel.local.up import System
from cartwheel.services import DATABASES

from ..journeys.command_line import Ran, cartwheel_in
from .nodes import NAMES, Nodes, nodes


class Shop(msgspec.Struct, frozen=True):
    """A virtual host on the cluster, and databases, for `cartwheel setup`.

    `environment` names only the node `one`, and neither the management API nor RabbitMQ's tools.
    """

    home: Path
    brokers: Nodes
    vhost: str
    environment: dict[str, str]

    async def setup(self, *arguments: str, **given: str) -> Ran:
        """Run `cartwheel setup` with the shop's environment, updated with `given`."""
        return await cartwheel_in(
            self.home, "setup", *arguments, environment={**self.environment, **given}
        )


@pytest.fixture(scope="module")
async def brokers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Nodes]:
    """The nodes. `one` is running."""
    async with nodes(tmp_path_factory.mktemp("nodes")) as made:
        await made.start("one")
        yield made


@pytest.fixture
async def lone_shop(
    brokers: Nodes, system: System, client: Client, tmp_path: Path
) -> AsyncGenerator[Shop]:
    """A shop that is not set up, on the running nodes."""
    vhost = f"shop-{secrets.token_hex(3)}"
    await brokers.http("PUT", f"vhosts/{vhost}")
    yield Shop(
        home=tmp_path,
        brokers=brokers,
        vhost=vhost,
        environment={
            "RABBITMQ_URL": brokers.url("one", vhost=vhost),
            "MONGODB_URI": system.environment["MONGODB_URI"],
            "MONGODB_DATABASE_PREFIX": f"{vhost}_",
            "PATH": "/usr/bin:/bin",  # without RabbitMQ's tools
        },
    )
    await brokers.http("DELETE", f"vhosts/{vhost}")
    for name in DATABASES:
        await client.drop_database(f"{vhost}_{name}")


@pytest.fixture
async def shop(lone_shop: Shop) -> Shop:
    """A shop on three nodes, whose queues have members only on `one`."""
    await lone_shop.brokers.start(*NAMES)
    ran = await lone_shop.setup()
    assert ran.status == 0, ran.errors
    return lone_shop
