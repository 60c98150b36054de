"""The shop to measure: the running system with customers, products and orders."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from pymongo import AsyncMongoClient

from bench.load import load
from cartwheel.kernel.mongodb import UNPUBLISHED
from cartwheel.local.console import Console
from cartwheel.local.demo_users import ADMIN, PASSWORD, SIGN_UP_CODE
from cartwheel.local.up import System
from cartwheel.services import outboxes

CUSTOMERS = 16
PRODUCTS = 2_000
ORDERS_TO_READ = 4_000
STOCK = 10**8
FLASH_PIECES = 100
_AT_ONCE = 32
_SIGN_UPS_AT_ONCE = 4
_QUIET = 0.3
"""Seconds without unpublished events after which the system counts as settled."""

_WORDS = """\
solid beech wood walnut sanded smooth oiled by hand rounded edges water based paint cotton cord
steel axle felt pads made in small batches tested for children from three years packed without
plastic spare parts available replaceable wheels magnetic couplings fits common rails bright
colours natural finish quiet bearings stores flat easy to clean"""
_THINGS = ("top", "robot", "crane", "locomotive", "abacus", "kite", "puzzle", "xylophone", "barge")
_MATERIALS = ("Wooden", "Tin", "Felt", "Beech", "Walnut", "Paper", "Brass", "Cork", "Linen")


class Customer(msgspec.Struct, frozen=True):
    id: str
    token: str


class Shop:
    """Made by `open_shop`; empty until `furnish`."""

    def __init__(self, system: System, http: aiohttp.ClientSession, mongo: Any) -> None:
        self.system = system
        self.customers: list[Customer] = []
        self.products: list[str] = []
        self.orders: list[str] = []
        self._http = http
        self._mongo: AsyncMongoClient[dict[str, Any]] = mongo
        self._admin = ""

    @property
    def url(self) -> str:
        return self.system.url

    @property
    def data(self) -> dict[str, Any]:
        """Return the data for the load generator's scripts."""
        return {
            "tokens": [customer.token for customer in self.customers],
            "products": self.products,
            "orders": self.orders,
        }

    async def call(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        """Send a request below /api/v1; return the answer's body.

        Raises:
            aiohttp.ClientResponseError: the status is 400 or above.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._http.request(
            method, f"/api/v1{path}", headers=headers, json=body
        ) as response:
            response.raise_for_status()
            return await response.json() if response.status != 204 else None

    async def size_of(self, path: str) -> int:
        """Return the size in bytes of the first customer's answer to `path`."""
        headers = {"Authorization": f"Bearer {self.customers[0].token}"}
        async with self._http.get(f"/api/v1{path}", headers=headers) as response:
            response.raise_for_status()
            return len(await response.read())

    async def furnish(self, console: Console, *, products: int = PRODUCTS) -> None:
        """Sign up customers, create products, and place orders to read."""
        with console.doing(f"signing up {CUSTOMERS} customers"):
            await self.sign_in(CUSTOMERS)
        with console.doing(f"putting up {products:,} products"):
            self.products = await _few_at_once(
                (self._put_up(described(number)) for number in range(products)), _AT_ONCE
            )
        with console.doing(f"placing {ORDERS_TO_READ:,} orders to look at"):
            await self._place_orders()

    async def sign_in(self, customers: int) -> None:
        """Get tokens for the administrator and for new customers. They are valid for an hour."""
        self._admin = await self._log_in(ADMIN)
        self.customers = await _few_at_once(
            (self._sign_up(number) for number in range(customers)), _SIGN_UPS_AT_ONCE
        )

    async def put_up_flash_sale(self) -> str:
        """Return a new product with FLASH_PIECES in stock."""
        offer = described(0) | {"name": f"Flash sale {time.time_ns()}", "stock": FLASH_PIECES}
        return await self._put_up(offer)

    async def flash_sold(self, product_id: str) -> tuple[int, int]:
        """Return the number of reserved pieces, and the number of orders of the product."""
        product = await self.call("GET", f"/products/{product_id}", token=self._admin)
        newest = self._mongo["orders"]["orders"].find().sort("_id", -1).limit(2 * FLASH_PIECES)
        lines = [order["lines"] async for order in newest]
        ordered = sum(line["product_id"] == product_id for order in lines for line in order)
        return product["stock"]["reserved"], ordered

    async def settled(self, *, within: float = 60.0) -> None:
        """Return when no event is left to publish.

        Raises:
            TimeoutError: there were still events after `within` seconds.
        """
        async with asyncio.timeout(within):
            since = time.monotonic()
            while time.monotonic() - since < _QUIET:
                if await self._anything_unpublished():
                    since = time.monotonic()
                await asyncio.sleep(0.05)

    async def _anything_unpublished(self) -> bool:
        for database, collection in outboxes():
            found = self._mongo[database][collection]
            # Use the relay's index. A scan would be work that the measured system does not do.
            if await found.find_one({"outbox.id": {"$gt": ""}, **UNPUBLISHED}, {"_id": 1}):
                return True
        return False

    async def _place_orders(self) -> None:
        """Let wrk place orders of the first customer, and read their ids from MongoDB."""
        first = self.customers[0]
        mine = {"user.id": first.id}
        orders = self._mongo["orders"]["orders"]
        data = self.data | {"tokens": [first.token], "orders": []}
        for seed in range(60):
            if await orders.count_documents(mine) >= ORDERS_TO_READ:
                break
            await load(self.url, "place_order.lua", data, connections=64, seconds=2, seed=seed)
        found = orders.find(mine, {"_id": 1}).limit(ORDERS_TO_READ)
        self.orders = [order["_id"] async for order in found]

    async def _log_in(self, email: str) -> str:
        tokens = await self.call("POST", "/auth/login", {"email": email, "password": PASSWORD})
        return tokens["access_token"]

    async def _sign_up(self, number: int) -> Customer:
        email = f"customer-{number}-{time.time_ns()}@example.com"
        account = {"name": f"Customer {number}", "email": email, "password": PASSWORD}
        made = await self.call("POST", "/auth/signup", account)
        await self.call("POST", "/auth/confirm", {"email": email, "code": SIGN_UP_CODE})
        return Customer(made["id"], await self._log_in(email))

    async def _put_up(self, offer: dict[str, Any]) -> str:
        return (await self.call("POST", "/products", offer, self._admin))["id"]


@asynccontextmanager
async def open_shop(system: System) -> AsyncGenerator[Shop]:
    async with (
        aiohttp.ClientSession(system.url, cookie_jar=aiohttp.DummyCookieJar()) as http,
        AsyncMongoClient[dict[str, Any]](system.environment["MONGODB_URI"], tz_aware=True) as mongo,
    ):
        yield Shop(system, http, mongo)


def described(number: int) -> dict[str, Any]:
    """Return a typical product: 300 to 700 characters of description, tags, an image."""
    chance = random.Random(number)
    words = " ".join(chance.choices(_WORDS.split(), k=chance.randint(50, 115)))
    thing = chance.choice(_THINGS)
    return {
        "name": f"{chance.choice(_MATERIALS)} {thing} no. {number}",
        "description": f"{words.capitalize()}.",
        "category": "toys",
        "tags": [thing, "handmade", f"series-{number % 40}"],
        "image_url": f"https://images.example.com/products/{number:06}/large.jpg",
        "price": {"amount": chance.randint(199, 9999), "currency": "USD"},
        "stock": STOCK,
    }


async def _few_at_once(work: Iterable[Any], most: int) -> list[Any]:
    """Return the results of `work` in order, with at most `most` running concurrently."""
    room = asyncio.Semaphore(most)

    async def with_room(one: Any) -> Any:
        async with room:
            return await one

    return await asyncio.gather(*(with_room(one) for one in work))
