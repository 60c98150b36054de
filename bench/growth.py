"""How cost grows with the number of replicas, of products, and of stored orders.

Each curve has its own system in its own folder. `cartwheel verify` checks it at the end.
"""

import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from pymongo import AsyncMongoClient, DeleteMany
from pymongo.write_concern import WriteConcern

from bench import machine
from bench.load import load
from bench.results import Grown
from bench.scenarios import SCENARIOS, Bench
from bench.shop import CUSTOMERS, Shop, described, open_shop
from bench.usage import memory
from cartwheel.contracts.money import Money
from cartwheel.contracts.products import ProductStatus, Stock
from cartwheel.kernel import new_id, utc_now
from cartwheel.kernel.mongodb import to_document
from cartwheel.local.console import Console
from cartwheel.local.processes import PROCESSES, replicas
from cartwheel.local.up import System, running
from cartwheel.products.domain.catalogue import Product

REPLICAS = (1, 2, 4)
CONNECTIONS = 128
CATALOGUES = (10**2, 10**4, 10**6)
ORDERS = (10**4, 10**5, 10**6)
_BATCH = 5_000
_MARK = "bench-grown"
"""The prefix of the `request_id` of products that were inserted directly into MongoDB."""


class WentWrong(Exception):
    """`cartwheel verify` found a violation after a curve."""


async def curves(console: Console, *, seconds: float) -> tuple[list[Grown], dict[str, str], str]:
    """Return all points, the measured versions, and `clean`, the result of `cartwheel verify`.

    Raises:
        WentWrong: the result is not `clean`.
    """
    found: list[Grown] = []
    versions: dict[str, str] = {}
    for count in REPLICAS:
        async with _system(console, count) as (system, shop):
            versions = await machine.versions(system)
            await shop.furnish(console)
            found.append(await _with_replicas(console, shop, count, seconds))
            await _check(console, system)
    async with _system(console, 1) as (system, shop):
        found += await _catalogues(console, shop, seconds)
        await _check(console, system)
    async with _system(console, 1) as (system, shop):
        await shop.furnish(console)
        found += await _many_orders(console, shop)
        await _check(console, system)
    return found, versions, "clean"


@asynccontextmanager
async def _system(console: Console, count: int) -> AsyncGenerator[tuple[System, Shop]]:
    """Yield a fresh system with `count` replicas each of orders and products."""
    processes = [
        replica
        for process in PROCESSES
        for replica in replicas(process, count if process.name in ("orders", "products") else 1)
    ]
    with tempfile.TemporaryDirectory(prefix="cartwheel-bench-") as folder:
        async with (
            running(Path(folder), given={}, processes=tuple(processes), console=console) as system,
            open_shop(system) as shop,
        ):
            yield system, shop


async def _check(console: Console, system: System) -> None:
    with console.doing("cartwheel verify"):
        said = await machine.verified(system)
    if said != "clean":
        raise WentWrong(f"cartwheel verify: {said}")


async def _with_replicas(console: Console, shop: Shop, count: int, seconds: float) -> Grown:
    """Measure reads and orders with `count` replicas each of orders and products."""
    figures: dict[str, float] = {}
    measuring = Bench(shop=shop, console=console, seconds=seconds, times=3)
    for scenario in SCENARIOS:
        if scenario.name in ("b", "c"):
            measured = await measuring.measure(scenario, CONNECTIONS)
            figures[f"{scenario.title}/s"] = round(measured.run.per_second, 1)
            figures[f"{scenario.title} p99 ms"] = measured.run.p99_ms
    return Grown(curve="replicas of orders and of products", at=count, figures=figures)


async def _catalogues(console: Console, shop: Shop, seconds: float) -> list[Grown]:
    """List the first page of 20 from growing catalogues, one request at a time."""
    found: list[Grown] = []
    uri = shop.system.environment["MONGODB_URI"]
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        products = client["products"].get_collection(
            "products", write_concern=WriteConcern("majority")
        )
        there = 0
        await shop.sign_in(1)
        data = shop.data | {"limit": 20}
        for size in CATALOGUES:
            began = time.monotonic()
            with console.doing(f"putting {size - there:,} products into MongoDB") as so_far:
                while there < size:
                    so_far(f"{there / size:.0%}")
                    count = min(_BATCH, size - there)
                    batch = [_product(there + n) for n in range(count)]
                    await products.insert_many(batch, ordered=False)
                    there += count
            filling = time.monotonic() - began
            with console.doing(f"list of 20 out of {size:,} products"):
                await load(shop.url, "list.lua", data, connections=1, seconds=1)
                loaded = await load(shop.url, "list.lua", data, connections=1, seconds=seconds)
            if wrong := loaded.unexpected():
                raise WentWrong(f"list of 20 out of {size:,} products: {wrong}")
            figures = {
                "list p50 ms": loaded.p50_ms,
                "list p99 ms": loaded.p99_ms,
                "filling s": round(filling, 1),
            }
            found.append(Grown(curve="products in the catalogue", at=size, figures=figures))
        with console.doing("taking them out again"):
            await products.bulk_write([DeleteMany({"request_id": {"$regex": f"^{_MARK}"}})])
    return found


def _product(number: int) -> dict[str, Any]:
    """Return a product as the service stores it after its event was published."""
    offer = described(number)
    product_id = new_id("prd")
    product = Product(
        id=product_id,
        request_id=f"{_MARK}-{number}",
        body_hash="",
        sku=product_id[-12:].upper(),
        initial_stock=offer["stock"],
        stock=Stock(available=offer["stock"]),
        status=ProductStatus.ACTIVE,
        version=1,
        created_at=utc_now(),
        updated_at=utc_now(),
        sequence=1,
        **{name: offer[name] for name in ("name", "description", "category", "tags", "image_url")},
        price=msgspec.convert(offer["price"], Money),
    )
    document = to_document(product)
    del document["events"]
    return {**document, "outbox": []}


async def _many_orders(console: Console, shop: Shop) -> list[Grown]:
    """Measure each process's memory after growing numbers of orders, placed by wrk."""
    found: list[Grown] = [_memory_at(shop, 0)]
    placed = 0
    for goal in ORDERS:
        # The rest of an access token's hour may not be enough.
        await shop.sign_in(CUSTOMERS)
        with console.doing(f"placing orders, up to {goal:,}") as so_far:
            while placed < goal:
                so_far(f"{placed / goal:.0%}")
                loaded = await load(
                    shop.url,
                    "place_order.lua",
                    shop.data,
                    connections=CONNECTIONS,
                    seconds=10,
                    seed=placed,
                )
                if wrong := loaded.unexpected("201"):
                    raise WentWrong(f"placing many orders: {wrong}")
                placed += loaded.requests
            await shop.settled()
        found.append(_memory_at(shop, placed))
    return found


def _memory_at(shop: Shop, orders: int) -> Grown:
    sizes = memory(shop.system.supervisor)
    figures = {f"{name} RSS MiB": size.rss for name, size in sizes.items()}
    return Grown(curve="orders placed (beside those to look at)", at=orders, figures=figures)
