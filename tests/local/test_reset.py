"""The data that an instance has stored on given servers is found, listed and deleted."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aio_pika
import msgspec
import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from cartwheel.kernel import mongodb
from cartwheel.kernel.operating import topology
from cartwheel.local import instance, places
from cartwheel.local.places import MongoDB, RabbitMQ
from cartwheel.local.processes import PROCESSES, SETUP
from cartwheel.local.supervisor import CannotStart
from cartwheel.local.up import System, running
from cartwheel.services import DATABASES, GATEWAY, SERVICES

from ..beside import PASSWORD, VirtualHost, beside
from ..journeys.command_line import Ran, cartwheel, cartwheel_in
from ..journeys.outside import mailed
from ..journeys.shop import Shelf, open_shop
from ..table_scans import verify_reads_all

QUEUES = [queue for service in SERVICES for queue in topology.queues(service)]


class Deployment(msgspec.Struct, frozen=True):
    """A deployment that shares MongoDB and RabbitMQ with others. `given` is its environment."""

    home: Path
    given: dict[str, str]
    host: VirtualHost

    @property
    def prefix(self) -> str:
        return self.given["MONGODB_DATABASE_PREFIX"]

    @property
    def ledger(self) -> Path:
        return Path(self.given["SIMULATOR_LEDGER"])

    async def set_up(self) -> None:
        """Run the deployment until after `cartwheel setup`, and create its ledger."""
        async with running(self.home, given=self.given, processes=(), setup=SETUP):
            self.ledger.touch()

    async def databases(self) -> set[str]:
        async with mongodb.connect(self.given["MONGODB_URI"], process="tests") as client:
            names = await client.list_database_names()
        return {name for name in names if name.startswith(self.prefix)}

    async def declared(self) -> set[str]:
        """Return the existing queues and exchanges of those that `cartwheel setup` declares."""
        found: set[str] = set()
        async with await aio_pika.connect(self.given["RABBITMQ_URL"]) as connection:
            for name in QUEUES:
                with suppress(ChannelNotFoundEntity):
                    async with connection.channel() as channel:
                        await channel.declare_queue(name, passive=True)
                    found.add(name)
            for name in topology.EXCHANGES:
                with suppress(ChannelNotFoundEntity):
                    async with connection.channel() as channel:
                        await channel.get_exchange(name)
                    found.add(name)
        return found

    async def reset(self, *arguments: str, answer: str = "", **changed: str) -> Ran:
        """Run `cartwheel reset` with the deployment's environment, updated with `changed`."""
        return await cartwheel_in(
            self.home, "reset", *arguments, environment={**self.given, **changed}, answer=answer
        )

    async def assert_whole(self) -> None:
        # The one of operations is made by the first command that records something.
        assert await self.databases() == {self.prefix + name for name in (*SERVICES, GATEWAY)}
        assert await self.declared() == {*QUEUES, *topology.EXCHANGES}
        assert self.ledger.exists()
        assert (self.home / "servers.json").exists()

    async def assert_gone(self) -> None:
        assert await self.databases() == set()
        assert await self.declared() == set()
        assert not self.ledger.exists()
        assert not self.home.exists()


@asynccontextmanager
async def deployed(system: System, folder: Path, name: str) -> AsyncGenerator[Deployment]:
    """Yield a deployment with a virtual host and a user of its own."""
    async with beside(system, name) as shared:
        given = {
            **shared.given,
            "MONGODB_URI": system.environment["MONGODB_URI"],
            "MONGODB_DATABASE_PREFIX": f"{shared.host.name}_",
            "SIMULATOR_LEDGER": str(folder / f"{name}.sqlite"),
        }
        yield Deployment(folder / name, given, shared.host)


@pytest.fixture(scope="module")
async def the_shop(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Deployment]:
    async with deployed(system, tmp_path_factory.mktemp("deployments"), "shop") as deployment:
        yield deployment


@pytest.fixture
async def shop(the_shop: Deployment) -> Deployment:
    """A deployment that was set up and has stopped. Tests share it, because most leave it whole."""
    if not the_shop.home.exists():
        await the_shop.set_up()
    return the_shop


async def test_it_lists_everything_and_deletes_nothing_without_confirmation(
    shop: Deployment,
) -> None:
    ran = await shop.reset(answer="n\n")

    assert ran.status == 1
    assert f"database {shop.prefix}{GATEWAY}\n" in ran.errors
    for name in SERVICES:
        assert f"database {shop.prefix}{name}\n" in ran.errors
        assert all(f"queue {queue}\n" in ran.errors for queue in topology.queues(name))
    assert "exchange events\n" in ran.errors
    assert f"file {shop.ledger}\n" in ran.errors
    assert f"{shop.home}, with all data in it\n" in ran.errors
    assert PASSWORD not in ran.output + ran.errors
    await shop.assert_whole()


async def test_it_deletes_everything_of_the_deployment_except_the_users(shop: Deployment) -> None:
    ran = await shop.reset("--yes")

    assert ran.status == 0, ran.errors
    await shop.assert_gone()
    assert "stays, because it does not belong to the deployment: " in ran.errors


async def test_it_knows_the_servers_even_if_the_environment_names_none(shop: Deployment) -> None:
    ran = await cartwheel_in(shop.home, "reset", answer="y\n")

    assert ran.status == 0, ran.errors
    await shop.assert_gone()


@pytest.mark.parametrize(
    "changed",
    [
        {"MONGODB_URI": "mongodb://127.0.0.1:9"},
        {"MONGODB_DATABASE_PREFIX": "another_"},
        {"MONGODB_DATABASE_PREFIX": ""},
        {"MONGODB_DATABASE_PREFIX": "another_", "MONGODB_URI": ""},
        {"RABBITMQ_URL": "amqp://127.0.0.1:9/"},
        {"SIMULATOR_LEDGER": "another.sqlite"},
    ],
    ids=str,
)
async def test_it_refuses_if_the_environment_names_a_server_that_was_never_used(
    shop: Deployment, changed: dict[str, str]
) -> None:
    ran = await shop.reset("--yes", **changed)

    assert ran.status == 1
    assert "has put its data elsewhere" in ran.errors
    assert len(ran.errors.splitlines()) == 1
    assert PASSWORD not in ran.errors
    await shop.assert_whole()


@pytest.mark.parametrize(
    "gone",
    [MongoDB("mongodb://who:Secret-1@127.0.0.1:9"), RabbitMQ("amqp://who:Secret-1@127.0.0.1:9/x")],
    ids=str,
)
async def test_it_refuses_if_a_server_cannot_be_reached(
    shop: Deployment, gone: MongoDB | RabbitMQ
) -> None:
    noted = (shop.home / "servers.json").read_text()
    places.remember(shop.home, [gone])

    ran = await shop.reset("--yes")
    instance.write_private(shop.home / "servers.json", noted)

    assert ran.status == 1
    assert f"✗ {gone} cannot be reached or read, so nothing was deleted" in ran.errors
    assert PASSWORD not in ran.errors
    await shop.assert_whole()


async def test_it_refuses_while_the_instance_is_running(shop: Deployment) -> None:
    async with running(shop.home, given=shop.given, processes=(), setup=()):
        ran = await shop.reset("--yes")

    assert ran.status == 1
    assert "is in use" in ran.errors
    await shop.assert_whole()


async def _keep(message: object) -> None:
    pass


async def test_it_refuses_while_a_service_elsewhere_consumes_its_messages(shop: Deployment) -> None:
    async with (
        await aio_pika.connect(shop.given["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):
        queue = await channel.get_queue(topology.event_queue("payments"))
        await queue.consume(_keep)
        ran = await shop.reset("--yes")

    assert ran.status == 1
    assert "✗ payments takes messages from RabbitMQ at " in ran.errors
    await shop.assert_whole()


async def test_it_refuses_while_a_service_elsewhere_is_connected_to_its_databases(
    shop: Deployment,
) -> None:
    uri = shop.given["MONGODB_URI"]
    async with mongodb.connect(uri, process="orders", prefix=shop.prefix) as service:
        await service.admin.command("ping")
        ran = await shop.reset("--yes")

    assert ran.status == 1
    assert "✗ orders is connected to MongoDB at " in ran.errors
    await shop.assert_whole()


async def test_it_reports_failed_deletions_and_may_be_repeated(shop: Deployment) -> None:
    await shop.host.permit("^$")
    first = await shop.reset("--yes")
    databases, declared = await shop.databases(), await shop.declared()
    await shop.host.permit(".*")
    second = await shop.reset("--yes")

    assert first.status == 1
    assert f"✓ deleted database {shop.prefix}orders\n" in first.errors
    assert "✗ not deleted: queue events.orders " in first.errors
    assert f"18 of 24 and {shop.home} are left" in first.errors
    assert databases == set()
    assert declared == {*QUEUES, *topology.EXCHANGES}
    assert second.status == 0, second.errors
    await shop.assert_gone()


async def test_deployments_on_shared_servers_are_separate_and_can_be_reset_alone(
    system: System, shop: Deployment, tmp_path: Path
) -> None:
    async with verify_reads_all(system), deployed(system, tmp_path, "other") as other:
        async with running(other.home, given=other.given) as theirs:
            async with running(shop.home, given=shop.given) as ours:
                await _sell(ours)
                await _drop_a_dead_letter(ours)
                assert await _orders_verified(ours) == 1
                assert await shop.databases() == {shop.prefix + name for name in DATABASES}
                await _nothing_arrived_at(theirs)
            await _sell(theirs)
            ran = await shop.reset("--yes")
            assert ran.status == 0, ran.errors
            await shop.assert_gone()
            await _sell(theirs)
            assert await _orders_verified(theirs) == 2
        async with running(shop.home, given=shop.given, processes=PROCESSES[:1]) as again:
            assert await _orders_verified(again) == 0


async def _sell(to: System) -> None:
    """Make a purchase, up to the mail."""
    async with open_shop(to.url) as shop:
        product = await Shelf(await shop.admin()).put_up()
        customer = await shop.sign_up()
        order = (await customer.order(product)).made
        await customer.pay(order)
        await customer.sees(order, "PAID")
        await mailed(to, customer.email, count=1)


async def _drop_a_dead_letter(system: System) -> None:
    async with (
        await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):
        letter = aio_pika.Message(b"no event")
        await channel.default_exchange.publish(letter, topology.dead_queue("orders"))
    listed = await cartwheel(system, "dlq", "list", "--json")
    (letter,) = json.loads(listed.output)
    dropped = await cartwheel(system, "dlq", "drop", letter["id"], "--why", "a test")
    assert dropped.status == 0, dropped.errors


async def _orders_verified(system: System) -> int:
    """Return the number of orders that `cartwheel verify` checked, without a violation."""
    ran = await cartwheel(system, "verify", "--json")
    assert ran.status == 0, ran.output + ran.errors
    return json.loads(ran.output)["looked_at"].get("orders", 0)


async def _nothing_arrived_at(system: System) -> None:
    async with open_shop(system.url) as shop:
        admin = await shop.admin()
        for path in ("/products", "/orders", "/payments"):
            assert (await admin.get(path)).body["data"] == [], path
    for listed in await asyncio.gather(
        cartwheel(system, "mail", "--json"), cartwheel(system, "dlq", "audit", "--json")
    ):
        assert json.loads(listed.output) == [], listed.errors


async def test_servers_are_stored_only_after_a_successful_setup(
    shop: Deployment, tmp_path: Path, argv: Callable[..., tuple[str, ...]]
) -> None:
    with pytest.raises(CannotStart):
        async with running(tmp_path, given=shop.given, processes=(), setup=argv("failing")):
            pass

    assert places.remembered(tmp_path) == []
    assert places.remembered(shop.home) == places.given(shop.given)


def test_the_current_password_is_used_for_a_stored_place(tmp_path: Path) -> None:
    before = {"MONGODB_URI": "mongodb://u:old@h:1,i:2/?w=1", "RABBITMQ_URL": "amqp://u:old@h/v"}
    now = {"MONGODB_URI": "mongodb://u:new@h:1,i:2/", "RABBITMQ_URL": "amqp://u:new@h:5672/v"}
    places.remember(tmp_path, places.given(before))

    assert places.of_instance(tmp_path, now) == places.given(now)
    assert places.of_instance(tmp_path, {}) == places.given(before)
    assert (tmp_path / "servers.json").stat().st_mode & 0o777 == 0o600


def test_the_text_of_a_place_has_no_password() -> None:
    named = {
        "MONGODB_URI": "mongodb://u:s3cret@h:1,i:2/",
        "RABBITMQ_URL": "amqp://u:s3cret@H/v%2F",
        "SIMULATOR_URL": "http://u:s3cret@h:8900/x?key=s3cret",
    }

    assert [str(place) for place in places.given(named)] == [
        "MongoDB at h:1,i:2",
        "RabbitMQ at h:5672, virtual host v/",
        "the charges in the simulator at http://u:***@h:8900/x",
    ]


@pytest.mark.parametrize("url", ["amqp://h:99999/", "amqp://[::::]/", "amqps://h/v?heartbeat=5"])
def test_every_valid_rabbitmq_url_is_a_place(url: str) -> None:
    (place,) = places.given({"RABBITMQ_URL": url})

    assert str(place).startswith("RabbitMQ at ")


def test_every_server_that_was_ever_used_is_stored(tmp_path: Path) -> None:
    first, second = MongoDB("mongodb://h"), MongoDB("mongodb://h", "shop_")
    places.remember(tmp_path, [first])
    places.remember(tmp_path, [second])
    places.remember(tmp_path, [first])

    assert places.remembered(tmp_path) == [first, second]
