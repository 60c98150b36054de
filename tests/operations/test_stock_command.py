"""`cartwheel stock`, as an operator types it: explaining, repairing and adjusting stock."""

from typing import Any

import msgspec
import pytest

from cartwheel.kernel.mongodb import Client
from cartwheel.local.up import System
from cartwheel.operations.verify.reading import Databases

from ..journeys.command_line import Ran, cartwheel
from ..journeys.shop import Shelf, open_shop


class Product:
    """A product of the running system that nobody has ordered."""

    def __init__(self, system: System, client: Client, product_id: str) -> None:
        self.id = product_id
        self._system = system
        self._products = Databases.named(client).products["products"]

    async def stock(self, command: str, *arguments: str) -> Ran:
        return await cartwheel(self._system, "stock", command, self.id, *arguments)

    async def account(self) -> Any:
        return msgspec.json.decode((await self.stock("explain", "--json")).output)

    async def drift(self, pieces: int) -> None:
        """Reserve pieces for nobody, as no version of the code does."""
        await self._products.update_one({"_id": self.id}, {"$inc": {"stock.reserved": pieces}})


@pytest.fixture
async def product(system: System, client: Client) -> Product:
    async with open_shop(system.url) as shop:
        made = await Shelf(await shop.admin()).put_up(stock=10)
    return Product(system, client, made["id"])


async def test_what_was_counted_is_adjusted_and_explained_line_by_line(product: Product) -> None:
    took = await product.stock("adjust", "--delta", "-3", "--kind", "damaged", "--reason", "Wet.")
    counted = await product.stock(
        "adjust", "--counted", "9", "--kind", "stocktake", "--reason", "…"
    )
    ran = await product.stock("explain")

    assert (took.status, counted.status, ran.status) == (0, 0, 0), took.errors + counted.errors
    assert "10 → 7 pieces on hand (-3, damaged)" in took.output
    lines = [" ".join(line.split()) for line in ran.output.splitlines()]
    for line in (
        "initial stock 10",
        "+ damaged (1 adjustment) -3",
        "+ stocktake (1 adjustment) 2",
        "= should be there 9",
        "= is there 9",
        "on hand 9",
    ):
        assert line in lines
    account = await product.account()
    assert (account["agrees"], account["adjusted"], account["on_hand"]) == (True, 9, 9)


async def test_the_same_key_adjusts_once(product: Product) -> None:
    typed = ("--delta", "5", "--kind", "received", "--reason", "Delivery.", "--key", product.id)

    for _ in range(2):
        assert (await product.stock("adjust", *typed)).status == 0

    assert (await product.account())["stock"]["available"] == 15


async def test_a_product_is_also_named_by_its_sku(product: Product) -> None:
    sku, product_id = (await product.account())["sku"], product.id
    product.id = sku

    typed = ("--delta", "5", "--kind", "received", "--reason", "Delivery.")
    adjusted = await product.stock("adjust", *typed)
    repaired = await product.stock("repair", "--yes")

    assert (adjusted.status, repaired.status) == (0, 0), adjusted.errors + repaired.errors
    account = await product.account()
    assert (account["product_id"], account["stock"]["available"]) == (product_id, 15)
    product.id = "NO-SUCH-SKU"
    assert "no such product" in (await product.stock("explain")).errors


async def test_a_refusal_is_one_line(product: Product) -> None:
    for arguments in (
        ("adjust", "--delta", "-11", "--kind", "lost", "--reason", "Gone."),
        ("adjust", "--delta", "1", "--expected", "9", "--kind", "lost", "--reason", "Gone."),
    ):
        ran = await product.stock(*arguments)
        assert (ran.status, len(ran.errors.splitlines())) == (1, 1), ran.errors
    product.id = "prd_none"
    assert "no such product" in (await product.stock("explain")).errors


async def test_a_repair_shows_both_asks_and_records_the_difference(product: Product) -> None:
    await product.drift(4)

    explained = await product.stock("explain")
    unasked = await product.stock("repair")
    left = await product.account()
    done = await product.stock("repair", "--yes", "--reason", "A test.")

    assert explained.status == 1
    assert "its reservations: 0" in explained.output
    assert "should be 10" in explained.output
    assert unasked.status == 1, "nobody has said yes"
    assert (left["agrees"], left["stock"]["reserved"]) == (False, 4)
    assert done.status == 0, done.errors
    assert "Count the shelf" in done.output
    account = await product.account()
    assert account["agrees"]
    assert account["stock"] == {"available": 10, "reserved": 0, "sold": 0, "unshipped": 0}
    again = await product.stock("repair", "--yes", "--json")
    assert msgspec.json.decode(again.output)["correction"] is None
