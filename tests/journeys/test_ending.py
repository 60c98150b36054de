"""Canceled orders and refunds."""

import asyncio
from typing import Any

import pytest

from cartwheel.local.up import System

from ..waiting import eventually
from .outside import ledger, mailed
from .shop import Answer, Customer, Shelf, by_card

CASH = {"type": "cash_on_delivery"}
WHY = {"reason": "Damaged in the warehouse."}


async def cancel(who: Customer, order: Any, body: object = None) -> Answer:
    return await who.post(f"/orders/{order['id']}/cancel", body or {})


async def payment_comes_to(who: Customer, payment: Any, status: str) -> Any:
    """Return the payment when it has `status`."""

    async def look() -> Any:
        found = (await who.get(f"/payments/{payment['id']}")).found
        assert found["status"] == status
        return found

    return await eventually(look)


async def lines(system: System, payment: Any) -> list[tuple[str, int]]:
    """Return the provider's ledger lines about a payment: kind and amount."""
    return [
        (line["kind"], line["amount"])
        for line in await ledger(system)
        if line["payment_id"] == payment["id"]
    ]


async def timeline(who: Customer, order: Any) -> list[tuple[str, str]]:
    entries = (await who.get(f"/orders/{order['id']}/timeline")).found
    return [(entry["type"], entry["by"]) for entry in entries]


async def test_a_customer_cancels_an_order_and_its_stock_is_available_again(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product, 3)).made

    canceled = (await cancel(customer, order)).found
    again = (await cancel(customer, order)).found

    assert (canceled["status"], canceled["expires_at"]) == ("CANCELED", None)
    assert again == canceled == (await customer.get(f"/orders/{order['id']}")).found
    await shelf.comes_to(product, available=10)
    [mail] = await mailed(system, customer.email)
    assert mail["Subject"] == f"Order {order['number']}: canceled"
    assert "We have received no payment for it." in mail["BodyText"]
    assert await timeline(customer, order) == [
        ("order.placed.v1", customer.id),
        ("order.canceled.v1", customer.id),
    ]
    (await customer.pay(order)).refused(409, "invalid_transition")


async def test_an_admin_cancels_a_paid_order_and_it_is_refunded_once(
    system: System, customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10, amount=1999)
    order = (await customer.order(product, 2)).made
    payment = (await customer.pay(order)).made
    await customer.sees(order, "PAID")
    await shelf.comes_to(product, available=8, sold=2)

    assert (await cancel(admin, order)).refused(422, "reason_required") == ["reason"]
    answers = await asyncio.gather(*(cancel(admin, order, WHY) for _ in range(5)))

    assert {answer.found["status"] for answer in answers} == {"CANCELED"}
    refunded = await payment_comes_to(customer, payment, "REFUNDED")
    [refund] = refunded["refunds"]
    assert (refund["status"], refund["amount"]) == ("SUCCEEDED", order["total"])
    assert await lines(system, payment) == [("charge", 3998), ("refund", 3998)]
    await shelf.comes_to(product, available=10)
    mails = await mailed(system, customer.email, count=3)
    subjects = {mail["Subject"].removeprefix(f"Order {order['number']}: "): mail for mail in mails}
    assert WHY["reason"] in subjects["canceled"]["BodyText"]
    assert "Your money is on its way back" in subjects["canceled"]["BodyText"]
    assert "$39.98" in subjects["your money is on its way back"]["BodyText"]
    assert "payment received" in subjects
    assert await timeline(customer, order) == [
        ("order.placed.v1", customer.id),
        ("order.paid.v1", "payments"),
        ("order.canceled.v1", admin.id),
        ("order.refund_due.v1", admin.id),
        ("order.refunded.v1", "payments"),
    ]


async def test_a_customer_cannot_cancel_a_paid_order(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    order = (await customer.order(product)).made
    payment = (await customer.pay(order)).made
    paid = await customer.sees(order, "PAID")

    (await cancel(customer, order, WHY)).refused(409, "invalid_transition")

    assert (await customer.get(f"/orders/{order['id']}")).found == paid
    assert [kind for kind, _ in await lines(system, payment)] == ["charge"]


async def test_another_customers_order_is_not_found_when_canceling(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    (await cancel(other, order, WHY)).refused(404, "order_not_found")
    (await cancel(other, {"id": "ord_none"}, WHY)).refused(404, "order_not_found")

    assert (await customer.get(f"/orders/{order['id']}")).found == order


@pytest.mark.parametrize(
    "body", [{"reason": ""}, {"reason": "  "}, {"reason": 7}, {"reason": "x" * 501}, {"why": "so"}]
)
async def test_a_malformed_reason_is_named_and_cancels_nothing(
    customer: Customer, shelf: Shelf, body: object
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    (await cancel(customer, order, body)).refused(422)

    assert (await customer.get(f"/orders/{order['id']}")).found == order


async def test_canceling_rejects_the_pending_cash(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    cash = (await customer.pay(order, CASH)).made

    await cancel(customer, order)

    given_up = await payment_comes_to(customer, cash, "CANCELED")
    assert given_up["failure"]["code"] == "order_canceled"
    confirmed = await admin.post(f"/payments/{cash['id']}/confirm")
    confirmed.refused(409, "payment_not_confirmable")


async def test_a_concurrent_payment_and_cancellation_keep_money_only_of_a_paid_order(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=100)
    orders = [(await customer.order(product)).made for _ in range(6)]

    async def both(order: Any) -> tuple[Answer, Answer]:
        return await asyncio.gather(customer.pay(order, by_card()), cancel(customer, order))

    for order, (payment, canceled) in zip(
        orders, await asyncio.gather(*map(both, orders)), strict=True
    ):
        status = "CANCELED" if canceled.status == 200 else "PAID"
        await customer.sees(order, status)
        if payment.status != 201:
            payment.refused(409, "invalid_transition")
        elif status == "CANCELED":
            await payment_comes_to(customer, payment.body, "REFUNDED")
            assert [kind for kind, _ in await lines(system, payment.body)] == ["charge", "refund"]
        else:
            assert [kind for kind, _ in await lines(system, payment.body)] == ["charge"]

    canceled = await customer.everything("/orders?status=CANCELED")
    await shelf.comes_to(product, available=94 + len(canceled), sold=6 - len(canceled))


async def test_concurrent_cash_and_cancellation_leave_nothing_pending(
    customer: Customer, shelf: Shelf
) -> None:
    """Whichever comes first, the payment ends when its order ends."""
    product = await shelf.put_up(stock=100)
    orders = [(await customer.order(product)).made for _ in range(10)]

    async def both(order: Any) -> Answer:
        payment, _ = await asyncio.gather(customer.pay(order, CASH), cancel(customer, order))
        return payment

    for payment in await asyncio.gather(*map(both, orders)):
        if payment.status == 201:
            await payment_comes_to(customer, payment.body, "CANCELED")
        else:
            payment.refused(409, "invalid_transition")

    await shelf.comes_to(product, available=100)
