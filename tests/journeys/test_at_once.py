"""Concurrent requests: for the last pieces, and repeats of the same request."""

import asyncio
import secrets
from collections import Counter

from cartwheel.local.up import System

from ..waiting import eventually
from .outside import charges, mailed
from .shop import Customer, Shelf, by_card, new_product


async def test_50_customers_order_the_last_10_pieces(crowd: list[Customer], shelf: Shelf) -> None:
    product = await shelf.put_up(stock=10)

    answers = await asyncio.gather(*(crowd[n % 10].order(product) for n in range(50)))

    statuses = Counter(answer.status for answer in answers)
    assert statuses == {201: 10, 409: 40}
    for answer in answers:
        if answer.status == 409:
            assert answer.refused(409, "insufficient_stock") == ["items[0].quantity"]
    assert await shelf.stock(product) == {"available": 0, "reserved": 10, "sold": 0}
    stored = await asyncio.gather(*(customer.everything("/orders") for customer in crowd))
    ordered = [
        order["id"]
        for orders in stored
        for order in orders
        if order["lines"][0]["product_id"] == product["id"]
    ]
    assert sorted(ordered) == sorted(
        answer.body["id"] for answer in answers if answer.body.get("id")
    )


async def test_orders_of_many_products_at_once_never_oversell_one(
    crowd: list[Customer], shelf: Shelf
) -> None:
    """Each orders one of each product, in a different sequence: no deadlock, no partial order."""
    first, second, third = [await shelf.put_up(stock=stock) for stock in (5, 10, 20)]
    shelves = [[first, second, third], [third, second, first], [second, third, first]]

    def items(n: int) -> list[dict[str, object]]:
        return [{"product_id": product["id"], "quantity": 1} for product in shelves[n % 3]]

    answers = await asyncio.gather(
        *(crowd[n % 10].post("/orders", {"items": items(n)}) for n in range(20))
    )

    assert Counter(answer.status for answer in answers) == {201: 5, 409: 15}
    assert await shelf.stock(first) == {"available": 0, "reserved": 5, "sold": 0}
    assert await shelf.stock(second) == {"available": 5, "reserved": 5, "sold": 0}
    assert await shelf.stock(third) == {"available": 15, "reserved": 5, "sold": 0}


async def test_the_same_order_sent_20_times_at_once_is_one_order(
    customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    key = secrets.token_hex(8)

    answers = await asyncio.gather(*(customer.order(product, 10, key=key) for _ in range(20)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.made["id"] for answer in answers}) == 1
    assert len([answer for answer in answers if not answer.replayed]) <= 1
    assert await shelf.stock(product) == {"available": 0, "reserved": 10, "sold": 0}
    assert len(await customer.everything("/orders")) == 1
    again = await customer.order(product, 10, key=key)
    assert again.made["id"] == answers[0].made["id"]
    assert again.replayed


async def test_a_key_used_for_another_order_is_refused(customer: Customer, shelf: Shelf) -> None:
    product = await shelf.put_up(stock=10)
    key = secrets.token_hex(8)
    await customer.order(product, 1, key=key)

    (await customer.order(product, 2, key=key)).refused(422, "idempotency_key_reused")

    assert await shelf.stock(product) == {"available": 9, "reserved": 1, "sold": 0}


async def test_two_bodies_under_one_key_at_once_make_one_order(
    customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=100)
    key = secrets.token_hex(8)

    answers = await asyncio.gather(
        *(customer.order(product, 1 + n % 2, key=key) for n in range(20))
    )

    made = [answer.made for answer in answers if answer.status == 201]
    assert len({order["id"] for order in made}) == 1
    assert len(made) == 10
    for answer in answers:
        if answer.status != 201:
            answer.refused(422, "idempotency_key_reused")
    held = made[0]["lines"][0]["quantity"]
    assert await shelf.stock(product) == {"available": 100 - held, "reserved": held, "sold": 0}


async def test_two_customers_keys_are_independent(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    key = secrets.token_hex(8)

    first, second = [await who.order(product, key=key) for who in (customer, other)]

    assert first.made["id"] != second.made["id"]
    assert not second.replayed


async def test_after_a_refusal_the_same_key_is_a_new_attempt(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    """Only successful requests are stored under their keys."""
    product = await shelf.put_up(stock=1)
    key = secrets.token_hex(8)
    order = (await other.order(product)).made
    (await customer.order(product, key=key)).refused(409, "insufficient_stock")
    for _ in range(3):
        await other.pay(order, by_card("pm_card_chargeDeclinedInsufficientFunds"))
    await shelf.comes_to(product, available=1)

    again = await customer.order(product, key=key)

    assert again.made["lines"][0]["quantity"] == 1
    assert not again.replayed


async def test_the_same_payment_sent_20_times_at_once_is_charged_once(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    key = secrets.token_hex(8)

    answers = await asyncio.gather(*(customer.pay(order, key=key) for _ in range(20)))

    assert {answer.status for answer in answers} == {201}
    assert {answer.made["status"] for answer in answers} == {"PAID"}
    assert len({answer.made["id"] for answer in answers}) == 1
    assert len([answer for answer in answers if not answer.replayed]) <= 1
    assert len(await charges(system, [answers[0].made])) == 1
    assert len(await customer.everything("/payments")) == 1
    await mailed(system, customer.email, count=1)
    other_card = await customer.pay(order, by_card("pm_card_mastercard"), key=key)
    other_card.refused(422, "idempotency_key_reused")


async def test_four_concurrent_payments_of_one_order_become_one(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """In the sample 20 orders became 43 payments, each with its mail."""
    product = await shelf.put_up()
    orders = [(await customer.order(product)).made for _ in range(5)]

    answers = await asyncio.gather(*(customer.pay(order) for order in orders for _ in range(4)))

    assert Counter(answer.status for answer in answers) == {201: 5, 409: 15}
    payments = await customer.everything("/payments")
    assert [payment["status"] for payment in payments] == ["PAID"] * 5
    assert {payment["order_id"] for payment in payments} == {order["id"] for order in orders}
    assert len(await charges(system, payments)) == 5
    await shelf.comes_to(product, available=5, sold=5)
    await mailed(system, customer.email, count=5)


async def test_the_same_product_sent_20_times_at_once_is_one_product(admin: Customer) -> None:
    body = new_product()
    key = secrets.token_hex(8)

    answers = await asyncio.gather(*(admin.post("/products", body, key=key) for _ in range(20)))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.made["id"] for answer in answers}) == 1
    assert len([answer for answer in answers if not answer.replayed]) <= 1
    again = await admin.post("/products", body, key=key)
    assert again.replayed
    changed = await admin.post("/products", {**body, "stock": 11}, key=key)
    changed.refused(422, "idempotency_key_reused")


async def test_of_two_admins_who_change_a_product_at_once_one_is_told_it_is_stale(
    admin: Customer, shelf: Shelf
) -> None:
    path = f"/products/{(await shelf.put_up())['id']}"
    seen = (await admin.get(path)).headers["ETag"]

    answers = await asyncio.gather(
        *(admin.patch(path, {"description": str(n)}, if_match=seen) for n in range(5))
    )

    assert Counter(answer.status for answer in answers) == {200: 1, 412: 4}


async def test_a_sale_does_not_make_an_admins_version_stale(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    path = f"/products/{product['id']}"
    seen = (await admin.get(path)).headers["ETag"]

    await customer.order(product)

    assert (await admin.patch(path, {"description": "new"}, if_match=seen)).status == 200


async def test_a_list_that_grows_while_it_is_read_misses_and_repeats_nothing(
    customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=100)
    before = [(await customer.order(product)).made["id"] for _ in range(7)]

    first = (await customer.get("/orders?limit=3")).found
    await customer.order(product)
    second = (await customer.get(f"/orders?limit=3&cursor={first['next_cursor']}")).found
    third = (await customer.get(f"/orders?limit=3&cursor={second['next_cursor']}")).found

    read = [order["id"] for page in (first, second, third) for order in page["data"]]
    assert read == before[::-1]
    assert third["next_cursor"] is None

    async def all_listed() -> None:
        assert len(await customer.everything("/orders", limit=2)) == 8

    await eventually(all_listed)
