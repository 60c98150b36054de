"""What a signed webhook of the payment provider can do, and what it cannot."""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest

from cartwheel.gateway.captures import PATIENCE_SECONDS
from cartwheel.kernel import new_id
from cartwheel.local.up import System
from cartwheel.simulator.webhooks import sign

from ..waiting import eventually
from .outside import charges, ledger, mailed, provider
from .shop import CARD, Answer, Customer, Shelf, Shop
from .test_outages import without

CASH = {"type": "cash_on_delivery"}


async def tell(
    system: System, shop: Shop, event: dict[str, Any], *, secret: str = "", age: float = 0
) -> Answer:
    """Send a webhook as the provider does, signed with its secret or the given one."""
    body = msgspec.json.encode({"id": "evt_1", "payment_intent": "pi_1", **event})
    secret = secret or system.environment["SIMULATOR_WEBHOOK_SECRET"]
    headers = {"Simulator-Signature": sign(secret, body, time.time() - age)}
    return await shop.call("POST", "/webhooks/simulator", body, headers=headers)


async def spoil(system: System, **fault: object) -> None:
    """Inject a fault into the provider's next charge."""
    async with provider(system) as http:
        await http.post("/v1/faults", json=fault, raise_for_status=True)


def about(payment: Any, kind: str = "payment_intent.succeeded") -> dict[str, Any]:
    told = {"type": kind, "payment_id": payment["id"], **payment["amount"]}
    return {**told, "card": payment.get("card")}


@pytest.mark.parametrize("change", [{}, {"amount": 1}, {"currency": "EUR"}, {"amount": None}])
async def test_a_webhook_never_pays_a_cash_payment(
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
async def test_a_webhook_never_ends_a_pending_cash_payment(
    system: System, shop: Shop, customer: Customer, shelf: Shelf, kind: str
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    pending = (await customer.pay(order, CASH)).made

    told = await tell(system, shop, about(pending, kind))

    assert told.status == 204
    assert (await customer.get(f"/payments/{pending['id']}")).found == pending
    assert (await customer.get(f"/orders/{order['id']}")).found["status"] == "AWAITING_PAYMENT"


async def test_a_mismatched_webhook_is_503_while_the_provider_is_down(
    system: System, shop: Shop, customer: Customer, shelf: Shelf
) -> None:
    """The provider then repeats it. A webhook that matches is accepted.

    The gateway has just answered the capture itself, and does not answer a webhook that differs.
    """
    paid = await paid_untold(system, customer, shelf)
    good = {**about(paid), "payment_intent": paid["provider_reference"]}
    changes: list[dict[str, Any]] = [
        {"amount": 1},
        {"currency": "EUR"},
        {"amount": None},
        {"payment_intent": "pi_1"},
    ]

    async with without(system, "simulator"):
        differing = [await tell(system, shop, {**good, **change}) for change in changes]
        matching = await tell(system, shop, good)
    again = await tell(system, shop, {**good, "amount": 1})

    for each in differing:
        each.refused(503, "unavailable")
    assert matching.status == 204
    assert again.status == 204
    assert (await customer.get(f"/payments/{paid['id']}")).found == paid


async def paid_untold(system: System, customer: Customer, shelf: Shelf) -> Any:
    """Return a payment whose webhook the provider never sends."""
    order = (await customer.order(await shelf.put_up())).made
    await spoil(system, kind="webhook_never")
    return (await customer.pay(order)).made


async def test_the_gateway_alone_answers_a_webhook_that_repeats_its_own_answer(
    system: System, shop: Shop, customer: Customer, shelf: Shelf
) -> None:
    """Payments is down, and nobody else can get this answer."""
    paid = await paid_untold(system, customer, shelf)
    good = {**about(paid), "payment_intent": paid["provider_reference"]}

    async with without(system, "payments"):
        forged = await tell(system, shop, good, secret="whsec_of_somebody_else")
        stale = await tell(system, shop, good, age=301)
        genuine = await tell(system, shop, good)

    forged.refused(401, "bad_signature")
    stale.refused(401, "bad_signature")
    assert genuine.status == 204
    assert (await customer.get(f"/payments/{paid['id']}")).found == paid


async def captured_after(
    system: System, customer: Customer, shelf: Shelf, **fault: object
) -> float:
    """Return the seconds between a payment's start and its capture, with a fault in the charge.

    The provider's webhook arrives at once.
    """
    order = (await customer.order(await shelf.put_up())).made
    await spoil(system, **fault)
    await customer.pay(order)
    await customer.sees(order, "PAID")
    [payment] = await customer.everything(f"/payments?order_id={order['id']}")
    begun, captured = (datetime.fromisoformat(entry["at"]) for entry in payment["timeline"])
    return (captured - begun).total_seconds()


async def test_a_webhook_before_the_charges_answer_waits_for_it(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """Otherwise the webhook would have settled the payment first."""
    after = await captured_after(system, customer, shelf, kind="answer_late", seconds=1)

    assert after >= 1


async def test_a_webhook_settles_the_payment_if_the_answer_is_late(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    after = await captured_after(system, customer, shelf, kind="answer_late", seconds=4.5)

    assert PATIENCE_SECONDS <= after < 4.5


async def test_a_webhook_settles_the_payment_at_once_if_the_answer_is_lost(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    after = await captured_after(system, customer, shelf, kind="charge_then_drop")

    assert after < PATIENCE_SECONDS


def storm(payment: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield what may be said of a payment that is being captured: the truth, repeats and lies.

    With each, whether it is said in time, and by the provider.
    """
    truth = about(payment)
    said = [
        truth,
        {**truth, "id": "evt_again"},
        about(payment, "payment_intent.payment_failed"),
        {
            **about(payment, "payment_intent.payment_failed"),
            "failure": {"code": "x", "message": "x"},
        },
        about(payment, "payment_intent.canceled"),
        about(payment, "payment_intent.created"),
        {**truth, "amount": 1},
        {**truth, "currency": "EUR"},
        {**truth, "payment_intent": "pi_of_another"},
        {**truth, "type": "refund.failed", "refund_id": payment["id"].replace("pay_", "rfd_")},
        {**truth, "type": "charge.dispute.created", "dispute_id": "dp_none", "status": "lost"},
    ]
    for number in range(50):
        yield said[number % len(said)], number % 7 != 6


async def test_fifty_webhooks_of_a_payment_in_any_order_among_others_have_one_effect(
    system: System, shop: Shop, customer: Customer, shelf: Shelf
) -> None:
    """They come while the payment is being made, late and forged ones among them."""
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product)).made
    others = [(await customer.pay((await customer.order(product)).made)).made for _ in range(2)]
    await spoil(system, kind="answer_late", seconds=2)
    paying = asyncio.create_task(customer.pay(order))

    async def begun() -> Any:
        found = await customer.everything(f"/payments?order_id={order['id']}")
        assert len(found) == 1
        return found[0]

    payment = await eventually(begun)
    sent = [each for about_it in (payment, *others) for each in storm(about_it)]
    random.Random(18).shuffle(sent)  # noqa: S311 the same order each time

    async def send(event: dict[str, Any], trusted: bool) -> Answer:
        if trusted:
            return await tell(system, shop, event)
        old = random.random() < 0.5  # noqa: S311 no secret
        secret, age = ("", 400) if old else ("whsec_of_somebody_else", 0)
        return await tell(system, shop, event, secret=secret, age=age)

    answers = await asyncio.gather(*(send(*each) for each in sent))
    paid = (await paying).made
    await customer.sees(order, "PAID")
    again = await asyncio.gather(*(tell(system, shop, event) for event, _ in sent))

    statuses = {(trusted, got.status) for (_, trusted), got in zip(sent, answers, strict=True)}
    assert statuses == {(True, 204), (False, 401)}
    assert {answer.status for answer in again} == {204}
    for each in (paid, *others):
        found = (await customer.get(f"/payments/{each['id']}")).found
        assert (found["status"], found["refunds"], found["disputes"]) == ("PAID", [], [])
        assert [entry["type"] for entry in found["timeline"]] == ["begun", "captured"]
    lines = [line for line in await ledger(system) if line["payment_id"] == payment["id"]]
    assert [line["kind"] for line in lines] == ["charge"]
    subjects = [mail["Subject"] for mail in await mailed(system, customer.email, count=3)]
    assert subjects.count(f"Order {order['number']}: payment received") == 1


async def charged_by_mistake(system: System, payment: Any, amount: int) -> None:
    """Make the provider charge `amount` for a payment that it has not charged yet."""
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


async def test_a_wrong_amount_is_refunded_and_the_customer_is_told_and_pays_again(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """The provider's own webhook reports it."""
    order = (await customer.order(await shelf.put_up())).made
    await spoil(system, kind="drop")
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


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"type": "refund.failed", "refund_id": "rfd_1"},
        {"type": "charge.dispute.created", "dispute_id": "dp_1", "status": "needs_response"},
    ],
    ids=lambda more: more.get("type", "payment_intent.succeeded"),
)
async def test_a_webhook_about_an_unknown_payment_is_taken_and_logged(
    system: System, shop: Shop, more: dict[str, Any]
) -> None:
    """Refused, the provider would send it for days."""
    unknown = {"id": new_id("pay"), "amount": {"amount": 1, "currency": "USD"}}

    answer = await tell(system, shop, {**about(unknown), **more})

    log = system.supervisor.log("gateway")

    async def look() -> list[Any]:
        lines = [msgspec.json.decode(line) for line in log.read_text().splitlines()]
        found = [line for line in lines if line.get("payment_id") == unknown["id"]]
        assert found
        return found

    [line] = await eventually(look)
    assert answer.status == 204
    assert line["event"] == "a webhook is about an unknown payment"


async def test_a_payment_whose_answer_was_lost_shows_the_card_from_its_webhook(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    async with provider(system) as http, http.post("/v1/faults", json={"kind": "charge_then_drop"}):
        (await customer.pay(order)).refused(503, "outcome_unknown")

    await customer.sees(order, "PAID")

    [paid] = await customer.everything(f"/payments?order_id={order['id']}")
    assert (paid["status"], paid["card"]) == ("PAID", {"brand": "visa", "last4": "4242"})
