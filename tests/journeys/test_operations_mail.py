"""Those who run the shop are mailed when a product runs out, and when an event is dead-lettered."""

from typing import Any

import aio_pika
from msgspec import json

from cartwheel.kernel import new_id
from cartwheel.kernel.operating import topology
from cartwheel.local.up import System

from ..waiting import eventually
from .command_line import cartwheel
from .outside import mails
from .shop import Customer, new_product

OPERATIONS = "operations@example.com"


async def test_an_adjustment_below_the_threshold_is_mailed_once(
    system: System, admin: Customer
) -> None:
    body = {**new_product(stock=10, name="Tin robot"), "low_stock_at": 5}
    product = (await admin.post("/products", body)).made
    path = f"/products/{product['id']}/stock-adjustments"
    for delta in (-6, -1):
        adjustment = {"delta": delta, "kind": "lost", "reason": "Not on the shelf."}
        assert (await admin.post(path, adjustment)).status == 201

    async def mailed() -> list[Any]:
        ran = await cartwheel(system, "mail", "--to", OPERATIONS, "--json")
        found = [each for each in json.decode(ran.output) if product["id"] in each["text"]]
        assert [each["status"] for each in found] == ["SENT"], found
        return found

    [mail] = await eventually(mailed, within=30)

    assert mail["subject"] == f"Low stock: {product['name']}"
    assert "4 pieces are available" in mail["text"]


async def test_a_dead_letter_is_mailed_with_the_commands_that_handle_it(system: System) -> None:
    poison = new_id("evt")
    async with (
        await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):
        unreadable = aio_pika.Message(b"poison", message_id=poison)
        await channel.default_exchange.publish(unreadable, topology.event_queue("products"))

    async def mailed() -> Any:
        found = [each for each in await mails(system, OPERATIONS) if poison in each["BodyText"]]
        assert len(found) == 1
        return found

    [mail] = await eventually(mailed, within=60)
    dropped = await cartwheel(system, "dlq", "drop", poison, "--why", "A test.")

    assert mail["Subject"] == "Dead letters for products"
    assert dropped.status == 0, dropped.errors
