"""What a signed webhook of the payment provider may do, and what it may not."""

import time
from typing import Any

import msgspec
import pytest

from cartwheel.local.up import System
from cartwheel.simulator.webhooks import sign

from ..waiting import eventually
from .outside import charges, ledger, mailed, provider
from .shop import CARD, Answer, Customer, Shelf, Shop
from .test_outages import without

CASH = {"type": "cash_on_delivery"}


async def tell(system: System, shop: Shop, event: dict[str, Any]) -> Answer:
    """Send a webhook as the provider does, signed with its secret."""
    body = msgspec.json.encode({"id": "evt_1", "payment_intent": "pi_1", **event})
    signature = sign(system.environment["SIMULATOR_WEBHOOK_SECRET"], body, time.time())
    headers = {"Simulator-Signature": signature}
    return await shop.call("POST", "/webhooks/simulator", body, headers=headers)


def about(payment: Any, kind: str = "payment_intent.succeeded") -> dict[str, Any]:
    return {"type": kind, "payment_id": payment["id"], **payment["amount"]}


@pytest.mark.parametrize("change", [{}, {"amount": 1}, {"currency": "EUR"}, {"amount": None}])
async def test_a_webhook_never_pays_in_cash(
    system: System,
    shop: Shop,
    admin: Customer,
    customer: Customer,
    shelf: Shelf,
    change: dict[str, Any],
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    pending = (await customer.pay(order, CASH)).made

    told = await tell(system, shop, {**about(pending), **change})
    seen = (await customer.get(f"/payments/{pending['id']}")).found
    confirmed = (await admin.post(f"/payments/{pending['id']}/confirm")).found

    assert told.status == 204
    assert seen == pending
    assert confirmed["status"] == "PAID"
    await customer.sees(order, "PAID")
    assert await charges(system, [pending]) == []


@pytest.mark.parametrize(
    "kind", ["payment_intent.created", "payment_intent.payment_failed", "payment_intent.canceled"]
)
async def test_a_webhook_ends_no_payment_that_is_awaited_in_cash(
    system: System, shop: Shop, customer: Customer, shelf: Shelf, kind: str
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    pending = (await customer.pay(order, CASH)).made

    told = await tell(system, shop, about(pending, kind))

    assert told.status == 204
    assert (await customer.get(f"/payments/{pending['id']}")).found == pending
    assert (await customer.get(f"/orders/{order['id']}")).found["status"] == "AWAITING_PAYMENT"


async def test_while_the_provider_is_away_a_webhook_that_does_not_match_is_503(
    system: System, shop: Shop, customer: Customer, shelf: Shelf
) -> None:
    """So the provider repeats it; one that matches is taken."""
    order = (await customer.order(await shelf.put_up())).made
    paid = (await customer.pay(order)).made
    good = {**about(paid), "payment_intent": paid["provider_reference"]}

    async with without(system, "simulator"):
        matching = await tell(system, shop, good)
        differing = await tell(system, shop, {**good, "amount": 1})
    again = await tell(system, shop, {**good, "amount": 1})

    assert matching.status == 204
    differing.refused(503, "unavailable")
    assert again.status == 204
    assert (await customer.get(f"/payments/{paid['id']}")).found == paid


async def charged_by_mistake(system: System, payment: Any, amount: int) -> None:
    """Have the provider charge `amount` for a payment whose own charge it has not done."""
    currency = payment["amount"]["currency"]
    intent = {"payment_id": payment["id"], "amount": amount, "currency": currency}
    async with (
        provider(system) as http,
        http.post(
            "/v1/payment_intents",
            json={**intent, "token": CARD, "confirm": True},
            headers={"Idempotency-Key": payment["id"]},
            raise_for_status=True,
        ),
    ):
        pass


async def test_another_sum_than_the_orders_goes_back_and_the_customer_is_told_and_pays_anew(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """The provider's own webhook tells of it."""
    order = (await customer.order(await shelf.put_up())).made
    async with provider(system) as http, http.post("/v1/faults", json={"kind": "drop"}):
        (await customer.pay(order)).refused(503, "outcome_unknown")
    [left] = await customer.everything(f"/payments?order_id={order['id']}")

    await charged_by_mistake(system, left, 1)

    async def look() -> Any:
        found = (await customer.get(f"/payments/{left['id']}")).found
        assert [refund["status"] for refund in found["refunds"]] == ["SUCCEEDED"]
        return found

    rejected = await eventually(look, within=15)
    subjects = {mail["Subject"] for mail in await mailed(system, customer.email, count=2)}
    paid = (await customer.pay(order)).made
    assert (rejected["status"], rejected["failure"]["code"]) == ("REJECTED", "amount_mismatch")
    lines = [line for line in await ledger(system) if line["payment_id"] == left["id"]]
    assert [(line["kind"], line["amount"]) for line in lines] == [("charge", 1), ("refund", 1)]
    assert subjects == {
        f"Order {order['number']}: payment declined",
        f"Order {order['number']}: your money is on its way back",
    }
    assert paid["status"] == "PAID"
    assert (await customer.sees(order, "PAID"))["payment_attempts"] == 0


async def test_a_webhook_about_no_payment_of_ours_is_refused(system: System, shop: Shop) -> None:
    unknown = {"id": "pay_" + "0" * 32, "amount": {"amount": 1, "currency": "USD"}}

    (await tell(system, shop, about(unknown))).refused(404, "payment_not_found")


async def test_a_payment_whose_answer_was_lost_shows_the_card_that_its_webhook_tells(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    async with provider(system) as http, http.post("/v1/faults", json={"kind": "charge_then_drop"}):
        (await customer.pay(order)).refused(503, "outcome_unknown")

    await customer.sees(order, "PAID")

    [paid] = await customer.everything(f"/payments?order_id={order['id']}")
    assert (paid["status"], paid["card"]) == ("PAID", {"brand": "visa", "last4": "4242"})
