"""`cartwheel setup` on a cluster of three real nodes.

It uses the management API or RabbitMQ's tools, or prints the commands to run by hand.
"""

import asyncio
from urllib.parse import urlsplit

import aio_pika
import pytest

from cartwheel.local import ports
from cartwheel.local.up import System

from ..long_form import long_form
from ..waiting import eventually
from .conftest import Shop
from .nodes import NAMES

EVERYWHERE = ["one", "three", "two"]
QUEUES = 16
EVENTS, RETRY = "events.orders", "retry.orders.5s"


def by_tools(shop: Shop) -> dict[str, str]:
    """Return the environment in which RabbitMQ's tools do everything."""
    return shop.brokers.tools("one")


def by_both(shop: Shop) -> dict[str, str]:
    """Return the environment in which the API reads, and the tools do what it cannot do."""
    return by_tools(shop) | by_api(shop)


def by_api(shop: Shop) -> dict[str, str]:
    return {"RABBITMQ_MANAGEMENT_URL": shop.brokers.management_url("one")}


async def assert_received(got: list[bytes], sent: int) -> None:
    """Check that each message arrived at least once, which is the promise."""
    assert {*got} == {b"%d" % number for number in range(sent)}


async def assert_grown(shop: Shop) -> None:
    members = await shop.brokers.members(shop.vhost)
    assert len(members) == QUEUES
    assert {*map(tuple, members.values())} == {tuple(EVERYWHERE)}
    assert (await shop.brokers.leaders(shop.vhost))[0] <= 7


async def test_a_single_node_needs_no_output(lone_shop: Shop) -> None:
    ran = await lone_shop.setup(**by_api(lone_shop))

    assert ran.status == 0, ran.errors
    assert ran.errors == ""
    assert [line.partition(": ")[0] for line in ran.output.splitlines()] == [
        "products", "orders", "payments", "notifications", "gateway"
    ]  # fmt: skip


async def test_queues_declared_on_a_single_node_get_members_and_leaders_are_spread(
    lone_shop: Shop,
) -> None:
    shop = lone_shop
    await shop.setup()
    await shop.brokers.start(*NAMES)
    tried = await shop.setup("--dry-run", **by_tools(shop))
    after_trial = await shop.brokers.members(shop.vhost)
    ran = await shop.setup(**by_tools(shop))

    assert tried.status == 0, tried.errors
    assert f"would add a member on {shop.brokers.node('two')} to {QUEUES} queues" in tried.output
    assert {*map(tuple, after_trial.values())} == {("one",)}
    assert ran.status == 0, ran.errors
    assert f"added a member on {shop.brokers.node('three')} to {QUEUES} queues" in ran.output
    assert "spread the leaders" in ran.output
    await assert_grown(shop)


@long_form
async def test_the_printed_commands_do_the_same_by_hand(shop: Shop) -> None:
    told = await shop.setup(**by_api(shop))
    commands = [line.strip() for line in told.output.splitlines() if line.startswith("    ")]
    for command in commands:
        await shop.brokers.run("one", "/bin/sh", "-c", command)
    then = await shop.setup(**by_api(shop))
    again = await shop.setup("--dry-run", **by_api(shop))

    assert told.status == 0, told.errors
    assert "cannot do this with its management API; rabbitmq-queues is not on PATH" in told.output
    assert [command.split()[:2] for command in commands] == 2 * [["rabbitmq-queues", "grow"]]
    # The API spreads the leaders itself, when there are members.
    assert "spread the leaders" in then.output
    assert "!" not in then.output
    await assert_grown(shop)
    assert "would" not in again.output
    assert f"{QUEUES} quorum queues with 3 members" in again.output


async def test_if_the_cluster_cannot_be_read_the_commands_to_read_it_are_printed(
    shop: Shop,
) -> None:
    ran = await shop.setup(RABBITMQ_NODENAME=shop.brokers.node("one"))

    assert ran.status == 0, ran.errors
    assert "! RabbitMQ's nodes and members cannot be read: rabbitmqctl is not on PATH" in ran.output
    assert f"    rabbitmqctl list_queues --vhost {shop.vhost} name members" in ran.output


async def test_a_running_system_is_not_disturbed(shop: Shop) -> None:
    sent = 0
    stop = asyncio.Event()
    got: list[bytes] = []
    async with await aio_pika.connect(shop.environment["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(EVENTS)

        async def consume(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            await message.ack()
            got.append(message.body)

        async def publish() -> None:
            nonlocal sent
            while not stop.is_set():
                await channel.default_exchange.publish(aio_pika.Message(b"%d" % sent), EVENTS)
                sent += 1
                await asyncio.sleep(0.01)

        await queue.consume(consume)
        publishing = asyncio.create_task(publish())
        ran = await shop.setup(**by_both(shop))
        stop.set()
        await publishing
        await eventually(lambda: assert_received(got, sent))

    assert ran.status == 0, ran.errors
    assert "spread the leaders" in ran.output
    assert sent > 50


@long_form
async def test_a_node_that_was_replaced_gets_its_members_back(shop: Shop) -> None:
    brokers = shop.brokers
    await shop.setup(**by_both(shop))

    await brokers.kill("two")
    down = await shop.setup(**by_both(shop))
    await brokers.forget("two")
    await brokers.start("two")
    ran = await shop.setup(**by_both(shop))

    assert down.status == 0, down.errors
    assert f"! {brokers.node('two')} is not running" in down.output
    assert f"added a member on {brokers.node('two')} to " in ran.output
    await assert_grown(shop)


@long_form
async def test_members_of_a_forgotten_node_are_dropped(shop: Shop) -> None:
    brokers = shop.brokers
    await shop.setup(**by_both(shop))

    await brokers.kill("three")
    # As if the queues had had no majority at that time, so that the members were not removed.
    forget = f"ok = rabbit_mnesia:forget_cluster_node('{brokers.node('three')}', false)."
    await brokers.run("one", "rabbitmqctl", "eval", forget)
    brokers.wipe("three")
    ran = await shop.setup(**by_both(shop))
    members = {*map(tuple, (await brokers.members(shop.vhost)).values())}
    await brokers.start("three")

    assert f"dropped the member on {brokers.node('three')}, a forgotten node" in ran.output
    assert members == {("one", "two")}


async def test_a_changed_argument_is_one_sentence(lone_shop: Shop) -> None:
    async with await aio_pika.connect(lone_shop.environment["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        await channel.declare_queue(RETRY, durable=True, arguments={"x-queue-type": "quorum"})

    ran = await lone_shop.setup()
    tried = await lone_shop.setup("--dry-run")

    assert (ran.status, tried.status) == (1, 1)
    assert ran.errors == tried.errors
    [sentence] = ran.errors.splitlines()
    assert f"queue {RETRY} in virtual host {lone_shop.vhost} has another x-" in sentence
    assert "delete it, and run `cartwheel setup` again" in sentence


async def test_a_dry_run_lists_what_is_missing_and_creates_nothing(lone_shop: Shop) -> None:
    first = await lone_shop.setup("--dry-run", **by_api(lone_shop))
    made = await lone_shop.brokers.http("GET", f"queues/{lone_shop.vhost}")
    await lone_shop.setup()
    async with await aio_pika.connect(lone_shop.environment["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        await channel.queue_delete(RETRY)
        queue = await channel.get_queue(EVENTS)
        await queue.unbind("events", "payment.captured.v1")
    second = await lone_shop.setup("--dry-run", **by_api(lone_shop))
    blind = await lone_shop.setup("--dry-run")

    assert first.output.count("would declare queue ") >= QUEUES
    assert "would declare exchange events" in first.output
    assert "orders: would run " in first.output
    assert made == []
    assert [line for line in second.output.splitlines() if "would declare" in line] == [
        f"would declare queue {RETRY}",
        f"would declare binding of payment.captured.v1 to {EVENTS}",
    ]
    assert "orders: up to date" in second.output
    assert "bindings cannot be seen without RABBITMQ_MANAGEMENT_URL" in blind.output


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "{host}",
            "RABBITMQ_MANAGEMENT_URL is malformed: expected http://USER:PASSWORD@HOST:15672",
        ),
        ("http://guest:s3cret@{api}", "which refuses this user or password"),
        ("http://guest:s3cret@127.0.0.1:{free}", "which refuses connections"),
        ("http://guest:s3cret@{gateway}", "which answers 404"),
    ],
)
async def test_an_unusable_management_url_is_one_sentence(
    lone_shop: Shop, system: System, url: str, sentence: str
) -> None:
    api = lone_shop.brokers.management_url("one").rpartition("@")[2]
    gateway = urlsplit(system.url).netloc
    given = url.format(host=api, api=api, free=ports.find_free(), gateway=gateway)

    ran = await lone_shop.setup(RABBITMQ_MANAGEMENT_URL=given)

    assert ran.status in (1, 2)
    assert sentence in ran.errors.splitlines()[0]
    assert "s3cret" not in ran.errors
    assert await lone_shop.brokers.http("GET", f"queues/{lone_shop.vhost}") == []


async def test_the_management_api_of_another_cluster_is_refused(
    lone_shop: Shop, system: System
) -> None:
    ran = await lone_shop.setup(
        **by_api(lone_shop), RABBITMQ_URL=system.environment["RABBITMQ_URL"]
    )

    assert ran.status == 1
    assert "RABBITMQ_MANAGEMENT_URL points to the cluster tests-" in ran.errors


async def test_the_next_management_url_is_used_if_one_is_down(shop: Shop) -> None:
    down = f"http://guest:guest@127.0.0.1:{ports.find_free()}"
    ran = await shop.setup(
        "--dry-run", RABBITMQ_MANAGEMENT_URL=f"{down},{shop.brokers.management_url('two')}"
    )

    assert ran.status == 0, ran.errors
    assert "3 of 3 nodes run" in ran.output
