"""What one customer may have reserved, and ways out of a payment that was begun."""

import asyncio
from collections import Counter
from datetime import datetime
from typing import Any

from cartwheel.local.up import System

from ..waiting import eventually
from .outside import mailed
from .shop import ADDRESS, Answer, Customer, Shelf

CASH = {"type": "cash_on_delivery"}
OPEN_ORDERS = 10


async def cancel(who: Customer, payment: Any, *, key: str | None = None) -> Answer:
    return await who.post(f"/payments/{payment['id']}/cancel", key=key)


async def seconds_left(who: Customer, order: Any) -> float:
    found = (await who.get(f"/orders/{order['id']}")).found
    expires, placed = (datetime.fromisoformat(found[name]) for name in ("expires_at", "created_at"))
    return (expires - placed).total_seconds()


async def comes_to_expire(who: Customer, order: Any, seconds: float) -> None:
    """Wait until the order expires about so many seconds after it was placed."""

    async def look() -> None:
        assert abs(await seconds_left(who, order) - seconds) < 600

    await eventually(look)


async def test_sixty_orders_of_one_customer_at_once_are_ten(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=100)

    answers = await asyncio.gather(*(customer.order(product) for _ in range(60)))

    assert Counter(answer.status for answer in answers) == {201: OPEN_ORDERS, 409: 50}
    for answer in answers:
        if answer.status == 409:
            assert answer.refused(409, "too_many_open_orders") == []
            assert answer.headers["Retry-After"] == "1"
    assert await shelf.stock(product) == {"available": 90, "reserved": 10, "sold": 0}
    assert (await other.order(product)).status == 201


async def test_a_place_is_free_again_when_an_order_is_paid_or_canceled(
    customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=100)
    orders = [(await customer.order(product)).made for _ in range(OPEN_ORDERS)]
    (await customer.order(product)).refused(409, "too_many_open_orders")

    async def place_one() -> None:
        assert (await customer.order(product)).status == 201

    await customer.pay(orders[0])
    await eventually(place_one)
    await customer.post(f"/orders/{orders[1]['id']}/cancel", {})
    await eventually(place_one)
    (await customer.order(product)).refused(409, "too_many_open_orders")


async def test_pieces_are_bounded_by_line_and_by_order(customer: Customer, shelf: Shelf) -> None:
    first, second, third = [await shelf.put_up(stock=5_000) for _ in range(3)]

    def order(*items: tuple[Any, int]) -> Any:
        return customer.post(
            "/orders",
            {"items": [{"product_id": each["id"], "quantity": n} for each, n in items]},
        )

    line = await order((second, 1), (first, 500), (first, 501))
    whole = await order((first, 1_000), (second, 1_000), (third, 1))
    most = await order((first, 1_000), (second, 1_000))

    assert line.refused(422, "too_many_pieces") == ["items[1].quantity"]
    assert whole.refused(422, "too_many_pieces") == ["items"]
    assert most.status == 201
    assert (await shelf.stock(third))["reserved"] == 0


async def test_an_order_at_another_price_than_expected_is_told_the_new_one(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10, amount=1999)
    body = {"items": [{"product_id": product["id"], "quantity": 2}]}
    seen = {"amount": 3998, "currency": "USD"}
    await admin.patch(f"/products/{product['id']}", {"price": {"amount": 2500, "currency": "USD"}})

    changed = await customer.post("/orders", {**body, "expected_total": seen})

    assert changed.refused(409, "price_changed") == []
    assert changed.body["total"] == {"amount": 5000, "currency": "USD"}
    assert "Retry-After" not in changed.headers
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}
    agreed = {**body, "expected_total": changed.body["total"]}
    order = await customer.post("/orders", agreed, key="agreed")
    assert order.made["total"] == changed.body["total"]
    assert (await customer.post("/orders", agreed, key="agreed")).replayed
    without = await customer.post("/orders", body, key="agreed")
    without.refused(422, "idempotency_key_reused")
    bad = {**body, "expected_total": None}
    assert (await customer.post("/orders", bad)).refused(422) == ["expected_total"]


async def test_who_gives_up_cash_pays_by_card_and_no_mail_tells_of_a_failure(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    cash = (await customer.pay(order, CASH)).made
    await comes_to_expire(customer, order, 7 * 86_400)
    (await customer.pay(order)).refused(409, "payment_in_progress")

    canceled = (await cancel(customer, cash, key="enough")).found
    again = (await cancel(customer, cash, key="enough")).found
    await comes_to_expire(customer, order, 900)
    paid = (await customer.pay(order)).made

    assert (canceled["status"], canceled["failure"]) == ("CANCELED", None)
    assert again == canceled
    assert paid["status"] == "PAID"
    assert (await customer.sees(order, "PAID"))["payment_attempts"] == 0
    [mail] = await mailed(system, customer.email)
    assert mail["Subject"] == f"Order {order['number']}: payment received"
    (await cancel(customer, paid)).refused(409, "payment_not_cancelable")
    listed = await customer.everything(f"/payments?order_id={order['id']}&status=CANCELED")
    assert [each["id"] for each in listed] == [cash["id"]]


async def test_only_its_payer_and_administrators_cancel_a_payment(
    customer: Customer, other: Customer, admin: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    cash = (await customer.pay(order, CASH)).made

    (await cancel(other, cash)).refused(404, "payment_not_found")
    (await cancel(admin, {"id": "pay_none"})).refused(404, "payment_not_found")

    assert (await customer.get(f"/payments/{cash['id']}")).found == cash
    assert (await cancel(admin, cash)).found["status"] == "CANCELED"
    assert (
        ADDRESS["city"]
        == (await customer.get(f"/orders/{order['id']}")).found["shipping_address"]["city"]
    )
