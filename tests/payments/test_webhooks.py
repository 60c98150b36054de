"""A webhook is only a reason to ask the provider, whose answer counts."""

import asyncio
from typing import Any

import msgspec
import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    Failure,
    Method,
    PaymentStatus,
    PaymentView,
    Refund,
    RefundStatus,
)
from cartwheel.kernel.errors import OutcomeUnknown, Unavailable
from cartwheel.kernel.mongodb import Outboxes
from cartwheel.payments.domain import Payment
from cartwheel.payments.mongo import MongoPayments
from cartwheel.providers.port import Charge, Outcome, Voided
from cartwheel.providers.simulator import client as payments_simulator
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator

from ..logs import logged_by
from ..proxy import proxy_to
from ..simulator.conftest import API_KEY
from .conftest import DECLINED, GOOD, Payments, Says, Shop
from .examples import ADMIN, AT, TOTAL, VISA, create, refund_due, reported

NO = Failure(code="card_declined", message="Your card was declined.")
OTHER_SUM = Money(1, "USD")
MISMATCHES: list[dict[str, Any]] = [
    {"amount": Money(TOTAL.amount + 1, TOTAL.currency)},
    {"amount": Money(TOTAL.amount, "EUR")},
    {"amount": None},
    {"method": Method.CASH_ON_DELIVERY},
    {"method": None},
    {"provider": "stranger"},
    {"amount": None, "method": None, "reference": None},  # as an older gateway sends it
]
every_mismatch = pytest.mark.parametrize("otherwise", MISMATCHES, ids=str)


class Asked(SimulatorCards):
    """The real provider, which counts the lookups."""

    def __init__(self, real: SimulatorCards) -> None:
        self.real = real
        self.about: list[str] = []

    async def look_up(self, payment_id: str) -> Outcome | None:
        self.about.append(payment_id)
        return await self.real.look_up(payment_id)


class Wayward(SimulatorCards):
    """The real provider, except that it charges another amount."""

    def __init__(self, real: SimulatorCards) -> None:
        self.real = real

    async def charge(self, charge: Charge) -> Outcome:
        return await self.real.charge(msgspec.structs.replace(charge, amount=OTHER_SUM))


async def unknown(payments: Payments, shop: Shop, fault: str, number: str = GOOD) -> PaymentView:
    """Return a card payment without a verdict, because the provider's answer was lost."""
    order_id = await shop.order()
    await shop.fault(fault)
    with pytest.raises(OutcomeUnknown):
        await payments.create(create(order_id, await shop.card(number)))
    [left] = await payments.of(order_id)
    return left


async def cash(payments: Payments, shop: Shop) -> PaymentView:
    return (await payments.create(create(await shop.order()))).made


async def captured_under(payment: PaymentView, amount: Money, shop: Shop) -> None:
    """Have the provider charge `amount` for the payment's id, whatever the payment's amount."""
    intent = {
        "payment_id": payment.id,
        "amount": amount.amount,
        "currency": amount.currency,
        "token": await shop.simulator.token(),
        "confirm": True,
    }
    status, answer = await shop.simulator.post(
        "/v1/payment_intents", intent, Idempotency_Key=payment.id
    )
    assert (status, answer["status"]) == (200, "succeeded")


async def read(payments: Payments, payment: PaymentView) -> PaymentView:
    [found] = [each for each in await payments.of(payment.order_id) if each.id == payment.id]
    return found


async def is_declined(payments: Payments, payment: PaymentView) -> None:
    rejected = await read(payments, payment)
    assert (rejected.status, rejected.failure) == (PaymentStatus.REJECTED, NO)
    assert rejected.refunds == []


async def test_the_provider_is_asked_once_about_webhooks_that_repeat_each_other(
    payments: Payments, shop: Shop
) -> None:
    left = await unknown(payments, shop, "charge_then_drop")
    asked = Asked(payments.cards)

    for _ in range(3):
        await payments._replace(cards=asked).report(reported(left, reference="pi_told", card=None))

    paid = await read(payments, left)
    assert (paid.status, paid.card) == (PaymentStatus.PAID, VISA)
    assert paid.provider_reference not in (None, "pi_told")
    document = await payments.document(left.id)
    assert document["captured"] == {"amount": TOTAL.amount, "currency": TOTAL.currency}
    # The later ones differ in the reference, which is known by then.
    assert asked.about == [left.id] * 3
    for _ in range(3):
        await payments._replace(cards=asked).report(reported(paid))
    assert asked.about == [left.id] * 3


@pytest.mark.parametrize(
    ("fault", "captured", "status"),
    [
        ("drop", True, PaymentStatus.AWAITING_PAYMENT),
        ("drop", False, PaymentStatus.AWAITING_PAYMENT),
        ("charge_then_drop", False, PaymentStatus.PAID),
    ],
)
async def test_a_matching_webhook_that_lies_is_not_believed(
    payments: Payments, shop: Shop, fault: str, captured: bool, status: PaymentStatus
) -> None:
    left = await unknown(payments, shop, fault)

    await payments.report(reported(left, captured=captured, failure=None if captured else NO))

    assert (await read(payments, left)).status is status


@pytest.mark.parametrize("captured", [True, False])
@every_mismatch
async def test_a_mismatched_webhook_changes_nothing_by_itself(
    payments: Payments, shop: Shop, otherwise: dict[str, Any], captured: bool
) -> None:
    """The charge may still be running, so it is not prevented."""
    left = await unknown(payments, shop, "drop")
    asked = Asked(payments.cards)

    await payments._replace(cards=asked).report(reported(left, captured=captured, **otherwise))

    assert await read(payments, left) == left
    assert asked.about == [left.id]
    assert await shop.charges(left) == []
    stored = await payments.database["payments"].find_one({"_id": left.id})
    assert stored is not None
    assert stored["webhooks_disbelieved"] == 1


@every_mismatch
async def test_the_providers_real_capture_counts(
    payments: Payments, shop: Shop, otherwise: dict[str, Any]
) -> None:
    """The webhook says that the card was declined."""
    left = await unknown(payments, shop, "charge_then_drop")

    await payments.report(reported(left, captured=False, failure=NO, **otherwise))

    paid = await read(payments, left)
    assert paid.status is PaymentStatus.PAID
    assert paid.provider_reference is not None
    assert await payments.told(left.id) == ["payment.captured.v1"]


async def test_the_providers_real_decline_counts(payments: Payments, shop: Shop) -> None:
    """The webhook says that the card was charged."""
    left = await unknown(payments, shop, "charge_then_drop", DECLINED)

    await payments.report(reported(left, amount=OTHER_SUM))

    await is_declined(payments, left)


async def test_a_webhook_that_the_providers_answer_overtakes_changes_nothing_more(
    payments: Payments, shop: Shop
) -> None:
    """In between, the provider's own answer arrives with the reference."""
    left = await unknown(payments, shop, "charge_then_drop", DECLINED)

    class Overtaken(MongoPayments):
        async def save(self, payment: Payment, *, expected: Payment) -> bool:
            await payments.reconcile()
            return await super().save(payment, expected=expected)

    overtaken = payments._replace(payments=Overtaken(payments.database, Outboxes()))
    await overtaken.report(reported(left, reference="pi_other"))

    await is_declined(payments, left)


async def test_a_webhook_with_another_reference_is_not_trusted(
    payments: Payments, shop: Shop
) -> None:
    """The webhook says that a declined card was charged after all."""
    declined = (await payments.create(create(await shop.order(), await shop.card(DECLINED)))).made

    for reference in ("pi_other", None):
        await payments.report(reported(declined, reference=reference))

    assert await read(payments, declined) == declined


async def test_a_mismatched_webhook_is_logged_without_personal_data(
    payments: Payments, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = (await payments.create(create(await shop.order(), await shop.card()))).made

    logged = logged_by(monkeypatch, "payments.handlers.paying")

    await payments.report(reported(paid))
    await payments.report(reported(paid, amount=Money(1, "EUR"), reference="pi_other"))

    [line] = logged
    assert line["log_level"] == "warning"
    assert line["event"] == "a webhook does not match its payment"
    assert line.items() >= {"payment_id": paid.id, "order_id": paid.order_id}.items()
    assert line["differing"] == ["amount", "currency", "reference"]
    assert "4242" not in repr(line)


async def test_each_mismatched_webhook_asks_the_provider_once(
    payments: Payments, shop: Shop
) -> None:
    left = await unknown(payments, shop, "charge_then_drop")
    asked = Asked(payments.cards)
    process = payments._replace(cards=asked)

    await asyncio.gather(*(process.report(reported(left, amount=OTHER_SUM)) for _ in range(20)))

    assert asked.about == [left.id] * 20
    assert (await read(payments, left)).status is PaymentStatus.PAID
    assert await payments.told(left.id) == ["payment.captured.v1"]


@pytest.mark.parametrize("amount", [TOTAL, OTHER_SUM], ids=str)
async def test_a_webhook_must_be_repeated_while_the_provider_is_down(
    payments: Payments, shop: Shop, unused_tcp_port: int, amount: Money
) -> None:
    left = await unknown(payments, shop, "charge_then_drop")
    told = reported(left, amount=amount)
    async with open_simulator(f"http://127.0.0.1:{unused_tcp_port}", API_KEY) as nobody:
        with pytest.raises(Unavailable):
            await payments._replace(cards=nobody).report(told)
    unchanged = await read(payments, left)

    await payments.report(told)

    assert unchanged == left
    assert (await read(payments, left)).status is PaymentStatus.PAID


async def test_a_webhook_must_be_repeated_while_the_provider_is_too_slow(
    payments: Payments, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments_simulator, "ANSWER_WITHIN_SECONDS", 0.3)
    left = await unknown(payments, shop, "charge_then_drop")
    async with (
        proxy_to(shop.simulator.url) as (proxy, url),
        open_simulator(url, API_KEY) as far,
    ):
        proxy.lose_answers()
        with pytest.raises(Unavailable):
            await payments._replace(cards=far).report(reported(left, amount=OTHER_SUM))

    assert await read(payments, left) == left


@pytest.mark.parametrize("found_by", ["its webhook", "asking", "reconciling"])
async def test_another_amount_than_the_orders_never_pays_and_is_refunded(
    payments: Payments, shop: Shop, found_by: str
) -> None:
    left = await unknown(payments, shop, "drop")
    await captured_under(left, OTHER_SUM, shop)

    if found_by == "its webhook":
        for _ in range(3):
            await payments.report(reported(left, amount=OTHER_SUM))
    elif found_by == "asking":
        await payments.report(reported(left, amount=None, captured=False))
    else:
        await payments.reconcile()
    noted = await read(payments, left)
    for _ in range(2):
        await payments.carry_out_refunds()
    another = (await payments.create(create(left.order_id, await shop.card()))).made

    assert noted.status is PaymentStatus.REJECTED
    assert noted.failure is not None
    assert noted.failure.code == "amount_mismatch"
    assert [(refund.amount, refund.status) for refund in noted.refunds] == [
        (OTHER_SUM, RefundStatus.PENDING)
    ]
    assert (await payments.document(left.id))["captured"] == {"amount": 1, "currency": "USD"}
    entries = await shop.simulator.entries(left.id)
    assert [(entry["kind"], entry["amount"]) for entry in entries] == [("charge", 1), ("refund", 1)]
    assert await payments.told(left.id) == ["payment.declined.v1", "payment.refunded.v1"]
    assert another.status is PaymentStatus.PAID  # no attempt was used up


async def test_a_charges_answer_with_another_amount_does_not_pay(
    payments: Payments, shop: Shop
) -> None:
    wayward = payments._replace(cards=Wayward(payments.cards))

    made = (await wayward.create(create(await shop.order(), await shop.card()))).made
    await payments.carry_out_refunds()

    assert made.status is PaymentStatus.REJECTED
    assert [refund.amount for refund in made.refunds] == [OTHER_SUM]
    assert await shop.charges(made) == ["charge", "refund"]


async def test_a_late_capture_is_refunded_with_its_own_amount(
    payments: Payments, shop: Shop
) -> None:
    left = await unknown(payments, shop, "drop")
    await payments._replace(cards=Says(Voided())).report(reported(left, captured=False))
    await captured_under(left, OTHER_SUM, shop)

    await payments.report(reported(left, amount=OTHER_SUM))
    await payments.carry_out_refunds()

    [refund] = (await read(payments, left)).refunds
    assert (refund.amount, refund.reason) == (
        OTHER_SUM,
        "It was captured after the payment was rejected.",
    )
    assert refund.status is RefundStatus.SUCCEEDED
    assert await shop.charges(left) == ["charge", "refund"]


@pytest.mark.parametrize("amount", [TOTAL, OTHER_SUM], ids=str)
@pytest.mark.parametrize("captured", [True, False])
async def test_a_webhook_changes_nothing_about_cash(
    payments: Payments, shop: Shop, amount: Money, captured: bool
) -> None:
    pending = await cash(payments, shop)

    await payments.report(reported(pending, captured=captured, amount=amount))

    assert await read(payments, pending) == pending
    assert (await payments.confirm(pending.id, ADMIN)).status is PaymentStatus.PAID


async def test_a_declined_or_canceled_charge_changes_nothing_about_cash(
    payments: Payments, shop: Shop
) -> None:
    pending = await cash(payments, shop)
    assert (await payments.cards.cancel(pending.id)).reference is None

    await payments.report(reported(pending, captured=False))

    assert await read(payments, pending) == pending


@pytest.mark.parametrize("amount", [TOTAL, OTHER_SUM], ids=str)
async def test_a_providers_capture_for_a_cash_payment_is_refunded_and_pays_nothing(
    payments: Payments, shop: Shop, amount: Money
) -> None:
    pending = await cash(payments, shop)
    await captured_under(pending, amount, shop)

    for _ in range(3):
        await payments.report(reported(pending, amount=amount))
    noted = await read(payments, pending)
    for _ in range(2):
        await payments.carry_out_refunds()

    assert noted.status is PaymentStatus.AWAITING_PAYMENT
    back = Refund(
        id=f"{pending.id.replace('pay_', 'rfd_')}-simulator",
        amount=amount,
        reason="It was captured by simulator, not by cash.",
        provider="simulator",
        at=AT,
    )
    assert noted.refunds == [back]
    assert await shop.charges(pending) == ["charge", "refund"]
    assert await payments.told(pending.id) == ["payment.pending.v1"]


async def test_a_refused_refund_does_not_block_others_of_its_payment(
    payments: Payments, shop: Shop
) -> None:
    pending = await cash(payments, shop)
    await captured_under(pending, TOTAL, shop)
    await payments.confirm(pending.id, ADMIN)
    await payments.report(reported(pending))
    by_hand = {"payment_id": pending.id, "refund_id": "rfd_by_hand", "amount": TOTAL.amount}
    assert (await shop.simulator.post("/v1/refunds", by_hand))[0] == 200  # so ours is refused
    await payments.refund_due(refund_due(pending.order_id, pending.id))

    await payments.carry_out_refunds()

    refused, returned = (await read(payments, pending)).refunds
    assert (refused.provider, refused.status) == ("simulator", RefundStatus.PENDING)
    assert (returned.provider, returned.status) == (None, RefundStatus.SUCCEEDED)


async def test_cash_is_confirmed_and_refunded_whatever_a_provider_captured_for_it(
    payments: Payments, shop: Shop
) -> None:
    pending = await cash(payments, shop)
    await captured_under(pending, TOTAL, shop)
    await payments.confirm(pending.id, ADMIN)
    await payments.report(reported(pending))
    await payments.carry_out_refunds()
    still = await read(payments, pending)

    await payments.refund_due(refund_due(pending.order_id, pending.id))
    await payments.carry_out_refunds()

    assert still.status is PaymentStatus.PAID
    returned = await read(payments, pending)
    assert returned.status is PaymentStatus.REFUNDED
    assert [refund.provider for refund in returned.refunds] == ["simulator", None]
    assert await shop.charges(pending) == ["charge", "refund"]  # the cash itself, by hand
    assert await payments.told(pending.id) == [
        "payment.pending.v1",
        "payment.captured.v1",
        "payment.refunded.v1",
    ]
