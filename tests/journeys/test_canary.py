"""Card numbers, passwords and tokens are sent everywhere, and must be nowhere afterwards.

Each place of each operation gets a canary of its own, so that a hit names the place that leaks.
"""

import asyncio
import base64
import re
import resource
import secrets
from collections.abc import AsyncGenerator, Iterator
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import aio_pika
import psutil
import pytest
from msgspec.structs import replace

from cartwheel.kernel import mongodb
from cartwheel.local.demo_users import SIGN_UP_CODE
from cartwheel.local.processes import PROCESSES
from cartwheel.local.up import System

from ..waiting import eventually
from .operations import Api, Got, Operation, Sent
from .outside import tokenized
from .remains import everything_kept, hits
from .shop import Customer, Shelf, Shop, by_card

CARD = "4242426081"
"""How the card numbers begin; five digits for the place and the check digit follow."""

TEXT = "Kanari7vienna9quartz3"
"""How passwords and tokens begin that are none; the place follows."""

_OF_A_PRODUCT = ("name", "sku", "description", "category", "tags[]", "image_url")
KEPT = {
    *(f"create_product: {name}" for name in _OF_A_PRODUCT),
    *(f"update_product: {name}" for name in _OF_A_PRODUCT),
    "ship_order: carrier",
    "ship_order: tracking",
}
"""Texts that are kept as they are typed, whatever digits they have."""

FREE_TEXT = KEPT | {
    "sign_up: name",
    "change_account: name",
    "cancel_order: reason",
    "request_return: reason",
    "accept_return: note",
    "decline_return: note",
    "report_delivery_failed: reason",
    "call_off_pieces: reason",
    "adjust_stock: reason",
    "create_refund: reason",
    *(
        f"{operation}{field}"
        for operation in (
            "create_address: ",
            "change_address: ",
            "place_order: shipping_address.",
            "create_payment: shipping_address.",
        )
        for field in ("name", "street", "number", "city", "zip_code")
    ),
}
"""Who types a password as a name is called that: no text tells that it is one."""


_PLACE = re.compile(rf"(?:{CARD}|{TEXT})([0-9]{{5}})")


class Canaries:
    """Makes canaries, and knows the place of each."""

    def __init__(self) -> None:
        self._places: list[str] = []

    def number(self, place: str) -> str:
        """Return a card number that is valid, as far as anybody can tell."""
        digits = f"{CARD}{self._add(place):05d}"
        return next(f"{digits}{last}" for last in range(10) if _passes_luhn(f"{digits}{last}"))

    def text(self, place: str) -> str:
        """Return what could be a password or a token."""
        return f"{TEXT}{self._add(place):05d}"

    def places(self, text: str) -> set[str]:
        """Return where the canaries in `text` were sent."""
        return {self._places[int(number)] for number in _PLACE.findall(text)}

    def _add(self, place: str) -> int:
        self._places.append(place)
        return len(self._places) - 1


def _passes_luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])) % 10 == 0


class Try(NamedTuple):
    place: str
    sent: Sent


def tries(operation: Operation, canaries: Canaries, *, numbers: bool) -> Iterator[Try]:
    """Yield the operation's request with a canary in each of its places, and in unknown ones."""
    make = canaries.number if numbers else canaries.text
    good = replace(operation.sent, query={}, headers={})

    def at(place: str) -> tuple[str, str]:
        return (named := f"{operation.id}: {place}"), make(named)

    for place, body in _misfilled(good.body, at, ""):
        yield Try(place, replace(good, body=body))
    place, canary = at("half a body")
    yield Try(place, replace(good, body=f'{{"{canary}'.encode()))
    for name in good.places:
        place, canary = at(f"path {name}")
        yield Try(place, replace(good, places={**good.places, name: canary}))
    for name in (*operation.sent.query, "limit"):
        place, canary = at(f"query {name}")
        yield Try(place, replace(good, query={name: canary}))
    place, canary = at("an unknown parameter")
    yield Try(place, replace(good, query={canary: "1"}))
    for name in (*operation.sent.headers, *_HEADERS):
        place, canary = at(f"header {name}")
        yield Try(place, replace(good, headers={name: canary}))
    place, canary = at("an unknown header")
    yield Try(place, replace(good, headers={f"X-{canary}": "1"}))
    place, canary = at("a longer path")
    yield Try(place, replace(good, path=f"{good.path}/{canary}"))
    place, canary = at("another path")
    yield Try(place, replace(good, method="PUT", path=f"/{canary}"))


_HEADERS = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Cookie",
    "Host",
    "Referer",
    "Simulator-Signature",
    "Traceparent",
    "User-Agent",
    "X-Forwarded-For",
)


def _misfilled(body: Any, at: Any, field: str) -> Iterator[tuple[str, Any]]:
    place, canary = at(field)
    whole = int(canary) if canary.isdigit() else canary
    # The library that checks mail addresses would quote the last value.
    for value in (canary, whole, [canary], f"pm_{canary}", f"a@[1.{canary}]"):
        yield place, value
    if isinstance(body, list):
        for item in cast("list[Any]", body):
            for inside, inner in _misfilled(item, at, f"{field}[]"):
                yield inside, [inner]
    if isinstance(body, dict):
        fields = cast("dict[str, Any]", body)
        # The second name looks like msgspec's notation for the place of an error.
        for name in (canary, f"x` - at `$.{canary}"):
            yield place, {**fields, name: 1}
        for name, value in fields.items():
            for inside, inner in _misfilled(value, at, f"{field}.{name}" if field else name):
                yield inside, {**fields, name: inner}


async def somebodys_secrets(system: System, shop: Shop, shelf: Shelf) -> dict[str, bytes]:
    """Sign up, log in, change the password, log in again, and pay by a card's token.

    Return the secrets that this took, by what they are.
    """
    email = f"{secrets.token_hex(6)}@example.com"
    first, second = (f"First+{secrets.token_urlsafe(24)}", f"Second+{secrets.token_urlsafe(24)}")
    signing_up = {"name": "Grace Hopper", "email": email, "password": first}
    assert (await shop.call("POST", "/auth/signup", signing_up)).status == 201
    confirming = {"email": email, "code": SIGN_UP_CODE}
    assert (await shop.call("POST", "/auth/confirm", confirming)).status == 204
    found = {"first password": first, "second password": second}

    async def log_in(password: str, which: str) -> Customer:
        given = {"email": email, "password": password}
        tokens = (await shop.call("POST", "/auth/login", given)).found
        for name in ("access_token", "refresh_token"):
            found[f"{name} of the {which} login"] = tokens[name]
        return await shop.log_in(email, password)

    customer = await log_in(first, "first")
    changing = {"old_password": first, "password": second}
    assert (await customer.post("/auth/change-password", changing)).status < 300
    customer = await log_in(second, "second")
    refreshing = {"refresh_token": found["refresh_token of the second login"]}
    assert (await shop.call("POST", "/auth/refresh", refreshing)).status == 200
    wrong = {"email": email, "password": f"{second}!"}
    (await shop.call("POST", "/auth/login", wrong)).refused(401)
    found["card token"] = await tokenized(system)
    order = (await customer.order(await shelf.put_up())).made
    assert (await customer.pay(order, by_card(found["card token"]))).made["status"] == "PAID"
    # A token's end is its signature, which nothing else contains.
    return {name: value[-60:].encode() for name, value in found.items()}


async def test_what_is_sent_everywhere_is_kept_nowhere(
    system: System, shop: Shop, api: Api, admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    known = await somebodys_secrets(system, shop, shelf)
    order = (await customer.order(await shelf.put_up(stock=1000))).made
    payment = (await customer.pay(order)).made
    operations = list(
        api.operations(
            product_id=order["lines"][0]["product_id"],
            order_id=order["id"],
            payment_id=payment["id"],
            email=customer.email,
        )
    )
    canaries = Canaries()
    work = [
        (each, who.token)
        for operation in operations
        for numbers, people in ((True, (admin, customer)), (False, (admin,)))
        for each in tries(operation, canaries, numbers=numbers)
        if numbers or each.place not in FREE_TEXT
        for who in people
    ]
    free = asyncio.Semaphore(16)

    async def attempt(each: Try, token: str) -> tuple[Try, Got]:
        async with free:
            return each, await api.send(each.sent, token)

    answers = await asyncio.gather(*(attempt(*each) for each in work))

    for _, got in answers:
        assert got.status < 500, str(got)
        # An answer may show what is kept, and a refusal shows nothing.
        assert canaries.places(got.text) <= (KEPT if got.status < 400 else set()), str(got)
        assert not canaries.places(repr(got.headers)), str(got)
    last = [got for _, got in answers if got.status >= 400][-1].headers["X-Request-Id"]

    async def look() -> None:
        assert last in system.supervisor.log("gateway").read_text()

    await eventually(look)
    wanted = {"card number": CARD.encode(), "password or token": TEXT.encode(), **known}
    leaks = [
        (places, hit)
        async for remains in everything_kept(system)
        for hit in hits(remains, wanted)
        if not (places := canaries.places(hit.around.decode(errors="replace"))) or places - KEPT
    ]
    assert leaks == []
    # They were really sent, everywhere, and reached what keeps them where that is right.
    assert {got.sent.path for _, got in answers} >= {each.sent.path for each in operations}
    assert {400, 401, 403, 404, 409, 415, 422} <= {got.status for _, got in answers}
    assert any(CARD in got.text for _, got in answers if got.status < 300)


@pytest.fixture
def canary() -> bytes:
    return b"planted+" + secrets.token_hex(12).encode()


@pytest.fixture(params=["raw", "base64", "URL-encoded"])
def told(request: pytest.FixtureRequest, canary: bytes) -> bytes:
    """Return the canary as it may be told."""
    return {
        "raw": canary,
        "base64": base64.b64encode(b"password=" + canary),
        "URL-encoded": b"?password=" + quote(canary, safe="").encode(),
    }[request.param]


@pytest.fixture(params=["log", "database", "dead letter", "file"])
async def planted(
    request: pytest.FixtureRequest, system: System, told: bytes
) -> AsyncGenerator[str]:
    """Plant the canary; yield the name of its place."""
    home = system.supervisor.home
    match request.param:
        case "database":
            async with mongodb.connect(system.environment["MONGODB_URI"], process="t") as client:
                collection = client["cartwheel_planted"]["things"]
                await collection.insert_one({"_id": 1, "a": [{"b": told.decode()}]})
                yield "cartwheel_planted.things"
                await client.drop_database("cartwheel_planted")
        case "dead letter":
            connection = await aio_pika.connect(system.environment["RABBITMQ_URL"])
            async with connection:
                channel = await connection.channel()
                queue = await channel.declare_queue(
                    "dead.orders.planted", durable=True, arguments={"x-queue-type": "quorum"}
                )
                message = aio_pika.Message(told, delivery_mode=2)
                await channel.default_exchange.publish(message, queue.name)
                yield "queue dead.orders.planted"
                await queue.delete(if_unused=False, if_empty=False)
        case kind:
            name = "logs/orders.9.log" if kind == "log" else "rabbitmq/planted.rdq"
            (home / name).write_bytes(b'{"event": "' + told + b'"}\n')
            yield name
            (home / name).unlink()


async def test_the_search_finds_what_is_planted(
    system: System, canary: bytes, planted: str
) -> None:
    found = [
        hit
        async for remains in everything_kept(system)
        for hit in hits(remains, {"planted": canary})
    ]

    assert any(planted in hit.where for hit in found), found


def test_no_process_leaves_a_core_dump(system: System) -> None:
    """It would hold what was in memory."""
    names = system.supervisor.names
    mine = [psutil.Process(system.supervisor.pid(name)) for name in names]
    all_of_them = [*mine, *(child for each in mine for child in each.children(recursive=True))]

    limits = {resource.prlimit(process.pid, resource.RLIMIT_CORE)[0] for process in all_of_them}

    assert {process.name for process in PROCESSES} <= set(names)
    assert limits == {0}
