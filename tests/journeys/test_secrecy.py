"""The shop does not accept card numbers and CVCs, and does not store them if they are sent."""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cartwheel.kernel import mongodb
from cartwheel.local.up import System

from ..private import open_to_others
from .broker import Tap
from .outside import provider, tokenized
from .shop import ADDRESS, CARD, Answer, Customer, Shelf, Shop, by_card

AMEX = "3782 822463 10005"
PAYS = "5555-5555-5555-4444"
DECLINED = "4000 0000 0000 0002"
SOMEBODYS = "4539148803436467"
MISTYPED = "4539148803436466"
CVC = "7391"
TYPED = "It was 4242-4242 4242 4242, 12/34."
WITH_A_CARD = {**ADDRESS, "name": TYPED}

_NUMBERS = [
    re.sub(r"\D", "", number).encode() for number in (AMEX, PAYS, DECLINED, SOMEBODYS, MISTYPED)
]
_CVC = re.compile(rb"""["']cvc\\?["']\s*[:=]|["' ]7391\\?["' ,}]""")


def told(content: bytes) -> list[bytes]:
    """Return the card data in `content`, with its surroundings."""
    ungrouped = content.translate(None, b" -")
    places = [ungrouped.find(number) for number in _NUMBERS]
    return [ungrouped[max(0, at - 80) : at + 30] for at in places if at >= 0] + [
        content[max(0, match.start() - 80) : match.end() + 20] for match in _CVC.finditer(content)
    ]


async def test_card_number_and_cvc_are_in_no_log_database_queue_ledger_or_answer(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=100)

    async with Tap(system) as tap:
        answers = [answer async for answer in every_way_to_pay(system, customer, product)]
    paid = answers[0].made

    files = list(_files(system.supervisor.home))
    documents = await _documents(system)
    for answer in answers:
        assert told(answer.text.encode() + repr(answer.headers).encode()) == []
    for _, message in tap.seen:
        assert told(message) == []
    for file in files:
        assert [(file.name, told(file.read_bytes()))] == [(file.name, [])]
    assert told(documents) == []
    # The search covers the places where data is.
    assert paid["id"].encode() in documents
    assert any(order_id(answers).encode() in body for _, body in tap.seen)
    assert {"gateway.log", "payments.log", "ledger.sqlite"} <= {file.name for file in files}
    assert any(paid["id"].encode() in file.read_bytes() for file in files)
    assert told(b'{"number": "4000000000000002"}')
    assert told(b"x4000 0000 0000 0002")
    assert told(b'{"cvc": "123"}')
    assert told(b"{'code': '7391'}")


def order_id(answers: list[Answer]) -> str:
    return answers[0].made["order_id"]


async def every_way_to_pay(
    system: System, customer: Customer, product: Any
) -> AsyncGenerator[Answer]:
    """Pay with good, declined and wrong cards, and while the provider fails."""

    async def pay_order(method: dict[str, Any]) -> Answer:
        """Pay a new order, and cancel it if it is unpaid: a customer has only so many of those."""
        order = (await customer.order(product)).made
        answer = await customer.pay(order, method)
        await customer.post(f"/orders/{order['id']}/cancel", {})
        return answer

    async def pay(token: str) -> Answer:
        return await pay_order(by_card(token))

    async def pay_plainly(number: str, **changes: object) -> Answer:
        card = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": CVC, **changes}
        return await pay_order({"type": "card", **card})

    yield await pay(await tokenized(system, AMEX, cvc=CVC))
    for number in (PAYS, DECLINED, SOMEBODYS):
        yield await pay(await tokenized(system, number))
        yield await pay_plainly(number)
    yield await pay_plainly(MISTYPED)
    yield await pay_plainly(PAYS, exp_year=2020)
    yield await pay_plainly(PAYS, cvc=[CVC])
    yield await pay_plainly(PAYS, holder=[PAYS])
    yield await pay_plainly(PAYS, token=CARD)
    yield await pay(PAYS)
    yield await customer.post("/payments", f'{{"method": {{"number": "{PAYS}", "cvc'.encode())
    yield await customer.post("/payments", {"order_id": PAYS, "method": by_card(PAYS)})
    yield await customer.pay({"id": "ord_0"}, {"type": "card", "number": AMEX, "cvc": CVC})
    for fault in ("error", "drop"):
        async with _misbehaving(system, fault):
            yield await pay(await tokenized(system, AMEX, cvc=CVC))


@pytest.fixture(scope="module")
async def paid(admin: Customer, shop: Shop, shelf: Shelf) -> tuple[Any, Any]:
    """An order and its payment."""
    customer = await shop.sign_up()
    order = (await customer.order(await shelf.put_up())).made
    return order, (await customer.pay(order)).made


@asynccontextmanager
async def _misbehaving(system: System, fault: str) -> AsyncGenerator[None]:
    async with provider(system) as http:
        (await http.post("/v1/faults", json={"kind": fault, "count": 10})).raise_for_status()
        try:
            yield
        finally:
            (await http.delete("/v1/faults")).raise_for_status()


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PATCH", "/auth/me", {"name": TYPED}, "name"),
        ("POST", "/addresses", {**ADDRESS, "street": TYPED}, "street"),
        ("POST", "/orders", {"shipping_address": WITH_A_CARD}, "shipping_address.name"),
        ("POST", "/orders/{order}/cancel", {"reason": TYPED}, "reason"),
        ("POST", "/orders/{order}/returns", {"reason": TYPED}, "reason"),
        ("POST", "/payments", {"shipping_address": WITH_A_CARD}, "shipping_address.name"),
        ("POST", "/payments", {"order_id": TYPED}, "order_id"),
        ("POST", "/payments/{payment}/refunds", {"reason": TYPED}, "reason"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_card_number_in_a_text_is_refused_and_not_repeated(
    admin: Customer,
    paid: tuple[Any, Any],
    method: str,
    path: str,
    body: dict[str, Any],
    field: str,
) -> None:
    order, payment = paid
    pieces = [{"product_id": order["lines"][0]["product_id"], "quantity": 1}]
    needed: dict[str, dict[str, Any]] = {
        "/orders": {"items": pieces},
        "/orders/{order}/returns": {"lines": pieces},
        "/payments": {"order_id": order["id"], "method": by_card(CARD)},
    }

    answer = await admin.shop.call(
        method,
        path.format(order=order["id"], payment=payment["id"]),
        {**needed.get(path, {}), **body},
        token=admin.token,
    )

    assert answer.refused(422, "card_data_not_accepted") == [field]
    assert not re.search(r"4242|4 2", answer.text)


async def test_other_users_of_the_machine_cannot_read_the_systems_files(
    system: System,
) -> None:
    """The AWS emulator's signing keys let their reader act as an administrator."""
    home = system.supervisor.home
    secrets = {path.suffix for path in home.rglob("*")} & {".pem", ".sqlite", ".log", ".json"}

    assert open_to_others(home) == []
    assert secrets == {".pem", ".sqlite", ".log", ".json"}


def _files(home: Path) -> Iterator[Path]:
    """Yield all files that the system has written, except MongoDB's, which are compressed."""
    for file in home.rglob("*"):
        if file.is_file() and home / "mongod" not in file.parents:
            yield file


async def _documents(system: System) -> bytes:
    """Return every document of every database, including MongoDB's oplog."""
    found: list[str] = []
    async with mongodb.connect(system.environment["MONGODB_URI"], process="tests") as client:
        for name in await client.list_database_names():
            database = client[name]
            for collection in await database.list_collection_names():
                async for document in database[collection].find():
                    found.append(repr(document))
    return "\n".join(found).encode()
