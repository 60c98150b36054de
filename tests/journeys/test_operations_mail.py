"""Those who run the shop are mailed when a product runs out."""

from typing import Any

from msgspec import json

from cartwheel.local.up import System

from ..waiting import eventually
from .command_line import cartwheel
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
