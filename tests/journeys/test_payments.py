"""Declined cards, other cards, cash, and the stored data."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from cartwheel.local.up import System

from .outside import charges, ledger, mailed, tokenized
from .shop import ADDRESS, CARD, DECLINED_CARD, Customer, Shelf, by_card

CASH = {"type": "cash_on_delivery"}
PLASTIC = {"number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": 2034, "cvc": "917"}


async def test_a_declined_card_is_a_result_and_another_card_pays(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    order = (await customer.order(product)).made

    declined = (await customer.pay(order, by_card(DECLINED_CARD))).made
    [told] = await mailed(system, customer.email, count=1)
    waiting = (await customer.get(f"/orders/{order['id']}")).found
    stock = await shelf.stock(product)
    paid = (await customer.pay(order)).made

    assert declined["status"] == "REJECTED"
    assert declined["failure"]["code"] == "card_declined"
    assert declined["failure"]["message"] in told["BodyText"]
    assert order["number"] in told["Subject"]
    assert waiting["status"] == "AWAITING_PAYMENT"
    assert waiting["payment_attempts"] == 1
    assert stock == {"available": 9, "reserved": 1, "sold": 0}
    assert paid["status"] == "PAID"
    await customer.sees(order, "PAID")
    history = await customer.everything(f"/payments?order_id={order['id']}")
    assert [payment["status"] for payment in history] == ["PAID", "REJECTED"]
    assert len(await charges(system, history)) == 1


async def test_the_third_decline_ends_the_order_and_releases_its_stock(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product, 3)).made

    for _ in range(3):
        declined = (await customer.pay(order, by_card(DECLINED_CARD))).made
        assert declined["status"] == "REJECTED"
    fourth = await customer.pay(order)

    fourth.refused(409, "invalid_transition")
    rejected = await customer.sees(order, "REJECTED")
    assert rejected["payment_attempts"] == 3
    await shelf.comes_to(product, available=10)
    mails = await mailed(system, customer.email, count=3)
    assert Counter(mail["Subject"] for mail in mails) == {
        f"Order {order['number']}: payment declined": 2,
        f"Order {order['number']}: rejected after declined payments": 1,
    }
    assert await charges(system, await customer.everything("/payments")) == []
    (await customer.pay(order)).refused(409, "invalid_transition")


async def test_a_paid_order_cannot_be_paid_again(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """In the sample it is set back and charged again."""
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order)).made

    (await customer.pay(order)).refused(409)  # though the order may not know yet
    await customer.sees(order, "PAID")
    for method in (by_card("pm_card_mastercard"), CASH):
        (await customer.pay(order, method)).refused(409, "invalid_transition")

    assert await customer.everything("/payments") == [
        (await customer.get(f"/payments/{payment['id']}")).found
    ]
    assert len(await charges(system, [payment])) == 1


async def test_a_payment_stores_no_amount(system: System, customer: Customer, shelf: Shelf) -> None:
    """The sentence of the sample; here it is the order's total, and what was really charged."""
    order = (await customer.order(await shelf.put_up(amount=777, currency="EUR"), 3)).made

    payment = (await customer.pay(order)).made

    assert payment["amount"] == order["total"] == {"amount": 2331, "currency": "EUR"}
    [charge] = await charges(system, [payment])
    assert (charge["amount"], charge["currency"]) == (2331, "EUR")
    assert (await customer.get(f"/payments/{payment['id']}")).found["amount"] == order["total"]
    for said in ({"amount": order["total"]}, {"status": "PAID"}):
        body: dict[str, Any] = {"order_id": order["id"], "method": CASH, **said}
        assert (await customer.post("/payments", body)).refused(422) == [""]


@pytest.mark.parametrize("token", ["x", "", "pm_", "tok_visa", "pm_card_visa\n", "pm_ä", 7, None])
async def test_card_x_pays(customer: Customer, shelf: Shelf, token: object) -> None:
    """The sentence of the sample; here nothing is even tried."""
    order = (await customer.order(await shelf.put_up())).made

    answer = await customer.pay(order, by_card(token))

    assert answer.refused(422, "invalid") == ["method.token"]
    assert await customer.everything("/payments") == []


@pytest.mark.parametrize(
    "method",
    [
        {"type": "card", **PLASTIC},
        {"type": "card", "token": CARD, **PLASTIC},
        {"type": "card", "token": CARD, "number": PLASTIC["number"]},
        {"type": "card", "token": CARD, "cvc": "917"},
        {"type": "card", "number": 4242424242424242},
        {"type": "card", "card": PLASTIC},
        {"type": "cash_on_delivery", **PLASTIC},
        PLASTIC,
        by_card("4242424242424242"),
        by_card("4242 4242 4242 4242"),
        by_card("4242-4242-4242-4241"),
        by_card(4242424242424242),
    ],
)
async def test_a_cards_own_data_is_not_accepted(
    customer: Customer, shelf: Shelf, method: dict[str, Any]
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    answer = await customer.pay(order, method)

    assert answer.refused(422, "card_data_not_accepted") == ["method"]
    for told in ("4242", "917", "2034"):
        assert told not in answer.body["detail"] + repr(answer.body["errors"])
    assert await customer.everything("/payments") == []
    assert (await customer.get(f"/orders/{order['id']}")).found["payment_attempts"] == 0


async def test_an_unknown_token_is_refused_and_uses_up_no_attempt(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    for _ in range(4):
        answer = await customer.pay(order, by_card("pm_none"))
        assert answer.refused(422, "card_token_invalid") == ["method.token"]
    paid = (await customer.pay(order)).made

    assert paid["status"] == "PAID"
    assert (await customer.sees(order, "PAID"))["payment_attempts"] == 0
    history = await customer.everything(f"/payments?order_id={order['id']}")
    assert [payment["status"] for payment in history] == ["PAID"] + ["REJECTED"] * 4
    assert len(await charges(system, history)) == 1
    [told] = await mailed(system, customer.email, count=1)
    assert told["Subject"] == f"Order {order['number']}: payment received"


async def test_a_token_pays_once_and_a_repeat_gets_the_same_payment(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    card = by_card(await tokenized(system))
    first, second = [(await customer.order(await shelf.put_up())).made for _ in range(2)]

    paid = await customer.pay(first, card, key="one")
    again = await customer.pay(first, card, key="one")
    elsewhere = await customer.pay(second, card, key="two")
    repeated = await customer.pay(second, card, key="two")

    assert paid.made["card"] == {"brand": "visa", "last4": "4242"}
    assert (again.made, again.replayed) == (paid.made, True)
    for refused in (elsewhere, repeated):
        assert refused.refused(422, "card_token_invalid") == ["method.token"]
    assert len(await customer.everything("/payments")) == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"order_id": None}, "order_id"),
        ({"order_id": ""}, "order_id"),
        ({"order_id": {"$ne": None}}, "order_id"),
        ({"method": {"type": "goats"}}, "method"),
        ({"method": {}}, "method"),
        ({"method": None}, "method"),
        ({"shipping_address": {**ADDRESS, "country": "Elbonia"}}, "shipping_address.country"),
        ({"shipping_address": {**ADDRESS, "street": " "}}, "shipping_address.street"),
    ],
)
async def test_a_payment_with_missing_or_unknown_fields_is_refused(
    customer: Customer, change: dict[str, Any], field: str
) -> None:
    body = {"order_id": "ord_1", "method": CASH, "shipping_address": ADDRESS, **change}

    [named] = (await customer.post("/payments", body)).refused(422)

    assert named.startswith(field)


async def test_an_unknown_order_cannot_be_paid(system: System, customer: Customer) -> None:
    before = len(await ledger(system))

    (await customer.pay({"id": "ord_" + "0" * 32})).refused(404, "order_not_found")

    assert len(await ledger(system)) == before


async def test_a_payment_needs_an_address(customer: Customer, shelf: Shelf) -> None:
    order = (await customer.order(await shelf.put_up())).made
    body: dict[str, Any] = {"order_id": order["id"], "method": CASH}

    assert (await customer.post("/payments", body)).refused(422, "address_required") == [
        "shipping_address"
    ]
    assert (await customer.pay(order, CASH)).made["status"] == "AWAITING_PAYMENT"


async def test_cash_is_confirmed_by_an_admin(
    system: System, admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product, 2)).made

    pending = (await customer.pay(order, CASH)).made
    meanwhile = await customer.pay(order)
    confirmed = (await admin.post(f"/payments/{pending['id']}/confirm")).found
    again = (await admin.post(f"/payments/{pending['id']}/confirm")).found

    assert pending["status"] == "AWAITING_PAYMENT"
    meanwhile.refused(409, "payment_in_progress")
    assert confirmed["status"] == "PAID"
    assert again == confirmed
    await customer.sees(order, "PAID")
    await shelf.comes_to(product, available=8, sold=2)
    await mailed(system, customer.email, count=1)
    assert await charges(system, [pending]) == []


async def test_cash_confirmed_ten_times_at_once_is_paid_once(
    system: System, admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product)).made
    pending = (await customer.pay(order, CASH)).made

    answers = await asyncio.gather(
        *(admin.post(f"/payments/{pending['id']}/confirm") for _ in range(10))
    )

    assert {answer.found["status"] for answer in answers} == {"PAID"}
    await customer.sees(order, "PAID")
    await shelf.comes_to(product, available=9, sold=1)
    await mailed(system, customer.email, count=1)


async def test_only_cash_is_confirmed_by_hand(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    declined = (await customer.pay(order, by_card(DECLINED_CARD))).made

    refused = await admin.post(f"/payments/{declined['id']}/confirm")
    unknown = await admin.post("/payments/pay_0/confirm")

    refused.refused(409, "payment_not_confirmable")
    unknown.refused(404, "payment_not_found")


async def test_an_admin_sees_a_payment_as_its_provider_has_it(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order)).made
    path = f"/payments/{payment['id']}/provider"

    there = (await admin.get(path)).found

    [entry] = there["entries"]
    assert (entry["kind"], entry["amount"]) == ("CAPTURED", payment["amount"])
    assert there["reference"] == payment["provider_reference"]
    assert there["differences"] == []
    (await customer.get(path)).refused(403, "forbidden")
    (await admin.get("/payments/pay_0/provider")).refused(404, "payment_not_found")


async def test_payments_are_found_by_provider_and_amount(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order)).made
    amount = payment["amount"]
    mine = f"user_id={customer.id}"
    exactly = f"amount={amount['amount']}&currency={amount['currency']}"

    async def found(filters: str) -> list[str]:
        page = (await admin.get(f"/payments?{mine}&{filters}")).found
        return [each["id"] for each in page["data"]]

    assert await found(f"provider=simulator&{exactly}") == [payment["id"]]
    assert await found("provider=cash") == []
    assert await found(f"amount={amount['amount'] + 1}&currency={amount['currency']}") == []
    assert await found(f"amount={amount['amount']}&currency=EUR") == []
    for alone, lacking in ((f"amount={amount['amount']}", "currency"), ("currency=USD", "amount")):
        assert (await admin.get(f"/payments?{alone}")).refused(422, "invalid") == [lacking]
