"""Money that an order is not waiting for is refunded once, whatever fails on the way."""

import asyncio
from datetime import datetime, timedelta

import pytest
from structlog.typing import EventDict

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    NotConfirmable,
    PaymentInProgress,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
    RefundStatus,
)
from cartwheel.kernel.errors import OutcomeUnknown, Unavailable
from cartwheel.kernel.http_client import UnexpectedAnswer
from cartwheel.kernel.mongodb import Document, Outboxes
from cartwheel.payments.mongo import MongoPayments
from cartwheel.providers.port import Captured, RefundOutcome, Voided
from cartwheel.providers.simulator import client as payments_simulator
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator

from ..logs import logged_by
from ..profiling import documents_examined
from ..proxy import proxy_to
from ..simulator.conftest import API_KEY
from .conftest import Payments, Says, Shop
from .examples import ADMIN, AT, TOTAL, canceled, create, later, now, refund_due, reported, unwanted


@pytest.fixture
def other(payments: Payments) -> Payments:
    """A second process of the service."""
    return payments._replace(payments=MongoPayments(payments.database, Outboxes()))


@pytest.fixture
async def paid(payments: Payments, shop: Shop) -> PaymentView:
    return await pay(payments, shop)


@pytest.fixture
async def cash(payments: Payments, shop: Shop) -> PaymentView:
    return (await payments.create(create(await shop.order()))).made


async def read(payments: Payments, payment: PaymentView) -> PaymentView:
    [found] = [each for each in await payments.of(payment.order_id) if each.id == payment.id]
    return found


async def pay(payments: Payments, shop: Shop) -> PaymentView:
    return (await payments.create(create(await shop.order(), await shop.card()))).made


def in_5_seconds() -> datetime:
    return AT + timedelta(seconds=5)


def unique(number: int) -> Document:
    """Return the fields of a payment that must be unique."""
    return {"_id": f"pay_{number}", "request_id": str(number), "order_id": f"ord_{number}"}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[EventDict]:
    return logged_by(monkeypatch, "kernel._core.jobs")


async def due(payments: Payments, payment: PaymentView) -> None:
    await payments.refund_due(refund_due(payment.order_id, payment.id))


async def test_a_due_refund_is_stored_and_then_made(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    await due(payments, paid)
    noted = await read(payments, paid)

    await payments.carry_out_refunds()

    done = await read(payments, paid)
    assert noted.status is PaymentStatus.PAID
    assert [refund.status for refund in noted.refunds] == [RefundStatus.PENDING]
    assert done.status is PaymentStatus.REFUNDED
    [refund] = done.refunds
    assert (refund.status, refund.amount) == (RefundStatus.SUCCEEDED, TOTAL)
    assert await shop.charges(paid) == ["charge", "refund"]
    assert await payments.told(paid.id) == ["payment.captured.v1", "payment.refunded.v1"]
    assert [entry.type for entry in done.timeline][-2:] == ["refund due", "refunded"]


async def test_a_refund_requested_ten_times_at_two_processes_is_made_once(
    payments: Payments, other: Payments, shop: Shop, paid: PaymentView
) -> None:
    await asyncio.gather(*(due((payments, other)[number % 2], paid) for number in range(10)))
    await asyncio.gather(
        *((payments, other)[number % 2].carry_out_refunds() for number in range(6))
    )
    await due(payments, paid)
    await payments.carry_out_refunds()

    assert await shop.charges(paid) == ["charge", "refund"]
    assert await payments.told(paid.id) == ["payment.captured.v1", "payment.refunded.v1"]
    assert len((await read(payments, paid)).refunds) == 1


async def test_a_partial_refund_leaves_the_rest_paid(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    await payments.refund_due(refund_due(paid.order_id, paid.id, Money(100, "USD"), "rfd_a"))

    await payments.carry_out_refunds()

    assert (await read(payments, paid)).status is PaymentStatus.PARTIALLY_REFUNDED
    entries = await shop.simulator.entries(paid.id)
    assert [(entry["kind"], entry["amount"]) for entry in entries] == [
        ("charge", TOTAL.amount),
        ("refund", 100),
    ]


async def test_the_refund_waits_while_the_provider_is_down(
    payments: Payments, shop: Shop, paid: PaymentView, unused_tcp_port: int
) -> None:
    await due(payments, paid)
    async with open_simulator(f"http://127.0.0.1:{unused_tcp_port}", API_KEY) as nobody:
        for clock in (now, in_5_seconds):
            await payments._replace(cards=nobody).carry_out_refunds(clock)
    waiting = await read(payments, paid)

    await payments.carry_out_refunds(later)

    assert waiting.status is PaymentStatus.PAID
    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED
    assert await shop.charges(paid) == ["charge", "refund"]


async def test_a_refund_whose_answer_is_lost_is_not_made_twice(
    payments: Payments, shop: Shop, paid: PaymentView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider has made the refund, but its answer arrives after the timeout."""
    monkeypatch.setattr(payments_simulator, "ANSWER_WITHIN_SECONDS", 0.5)
    await due(payments, paid)
    async with (
        proxy_to(shop.simulator.url) as (proxy, url),
        open_simulator(url, API_KEY) as far,
    ):
        proxy.lose_answers()
        await payments._replace(cards=far).carry_out_refunds()
    made = await shop.charges(paid)
    known = await read(payments, paid)

    await payments.carry_out_refunds(in_5_seconds)

    assert made == ["charge", "refund"]
    assert known.status is PaymentStatus.PAID
    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED
    assert await shop.charges(paid) == ["charge", "refund"]
    assert await payments.told(paid.id) == ["payment.captured.v1", "payment.refunded.v1"]


async def test_a_refund_is_completed_after_a_crash_between_provider_and_database(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    class Dying(MongoPayments):
        async def save(self, payment: object, *, expected: object) -> bool:
            raise KeyboardInterrupt

    await due(payments, paid)
    with pytest.raises(KeyboardInterrupt):
        await payments._replace(payments=Dying(payments.database, Outboxes())).carry_out_refunds()

    await payments.carry_out_refunds()

    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED
    assert await shop.charges(paid) == ["charge", "refund"]
    assert await payments.told(paid.id) == ["payment.captured.v1", "payment.refunded.v1"]


@pytest.mark.parametrize("fault", [UnexpectedAnswer("neither yes nor no"), Unavailable("500")])
async def test_a_failing_refund_does_not_block_others(
    payments: Payments, shop: Shop, paid: PaymentView, fault: Exception
) -> None:
    stuck = paid
    others = await asyncio.gather(*(pay(payments, shop) for _ in range(49)))
    for payment in (stuck, *others):
        await due(payments, payment)

    class FailingOnOne(SimulatorCards):
        def __init__(self) -> None:
            """Replace only `refund` of the real client."""

        async def refund(self, payment_id: str, refund_id: str, amount: Money) -> RefundOutcome:
            if payment_id == stuck.id:
                raise fault
            return await payments.cards.refund(payment_id, refund_id, amount)

    await payments._replace(cards=FailingOnOne()).carry_out_refunds()

    assert (await read(payments, stuck)).status is PaymentStatus.PAID
    assert [(await read(payments, each)).status for each in others] == [PaymentStatus.REFUNDED] * 49
    await payments.carry_out_refunds(in_5_seconds)
    assert (await read(payments, stuck)).status is PaymentStatus.REFUNDED


async def test_a_refund_that_the_provider_refuses_is_retried_with_growing_pauses(
    payments: Payments, shop: Shop, paid: PaymentView, logged: list[EventDict]
) -> None:
    """Somebody has refunded a cent at the provider itself. After a day, a person has to act."""
    by_hand = {"payment_id": paid.id, "refund_id": f"by_hand_{paid.id}", "amount": 1}
    assert (await shop.simulator.post("/v1/refunds", by_hand))[0] == 200
    await due(payments, paid)

    for minute in range(0, 25 * 60, 5):
        await payments.carry_out_refunds(lambda after=minute: AT + timedelta(minutes=after))

    retry = (await payments.document(paid.id))["retry"]
    assert retry["error"].endswith("simulator answered 409 amount_too_large to /v1/refunds")
    assert retry["since"] == AT
    assert [(line["event"], line["item"]) for line in logged] == [
        ("item failed and will be tried again", paid.id),
        ("item needs a person", paid.id),
    ]
    assert await shop.charges(paid) == ["charge", "refund"]


async def test_the_refund_job_reads_only_due_refunds(payments: Payments) -> None:
    refund = {"status": "PENDING"}
    waiting = {"due_at": AT + timedelta(seconds=1)}
    await payments.database["payments"].insert_many(
        [
            {**unique(number), "refunds": [refund], **(waiting if number < 2_000 else {})}
            for number in range(2_010)
        ]
    )

    async with documents_examined(payments.database, "payments") as examined:
        due = await payments.payments.to_refund().due(AT, limit=1000)

    assert len(due) == 10
    assert sum(examined) == 10


async def test_a_refund_of_an_unknown_payment_is_refused(payments: Payments) -> None:
    with pytest.raises(PaymentNotFound):
        await payments.refund_due(refund_due("ord_1", "pay_none"))


async def test_a_refunded_order_that_still_awaits_payment_keeps_its_attempts(
    payments: Payments, paid: PaymentView
) -> None:
    await due(payments, paid)

    await payments.carry_out_refunds()

    assert await payments.payments.declined(paid.order_id) == []


async def test_money_captured_after_the_rejection_is_refunded_in_the_same_write(
    payments: Payments, shop: Shop
) -> None:
    """The webhook of the capture arrives late, and ten times."""
    order_id = await shop.order()
    await shop.fault("drop")
    with pytest.raises(OutcomeUnknown):
        await payments.create(create(order_id, await shop.card()))
    await payments.reconcile()
    [rejected] = await payments.of(order_id)

    provider = payments._replace(cards=Says(Captured(TOTAL)))
    await asyncio.gather(*(provider.report(reported(rejected)) for _ in range(10)))

    document = await payments.document(rejected.id)
    assert (document["status"], document["live"]) == ("REJECTED", False)
    assert [refund["status"] for refund in document["refunds"]] == ["PENDING"]
    assert document["refunds"][0]["amount"] == {"amount": TOTAL.amount, "currency": "USD"}
    assert [entry["type"] for entry in document["timeline"]].count("refund due") == 1
    assert await payments.told(rejected.id) == ["payment.declined.v1"]


async def test_a_late_capture_of_a_rejected_payment_is_refunded_and_another_payment_pays(
    payments: Payments, shop: Shop
) -> None:
    """The provider first reports a decline, although it has charged, and the capture last."""
    order_id = await shop.order()
    await shop.fault("charge_then_drop")
    with pytest.raises(OutcomeUnknown):
        await payments.create(create(order_id, await shop.card()))
    [left] = await payments.of(order_id)
    await payments._replace(cards=Says(Voided())).report(reported(left, captured=False))
    other = (await payments.create(create(order_id, await shop.card()))).made
    await payments.report(reported(left))

    await payments.carry_out_refunds()

    rejected = await read(payments, left)
    assert rejected.status is PaymentStatus.REJECTED
    assert [refund.status for refund in rejected.refunds] == [RefundStatus.SUCCEEDED]
    assert (await read(payments, other)).status is PaymentStatus.PAID
    assert await shop.charges(left) == ["charge", "refund"]
    assert await shop.charges(other) == ["charge"]
    assert await payments.told(left.id) == ["payment.declined.v1", "payment.refunded.v1"]


async def test_pending_cash_of_a_canceled_order_is_rejected(
    payments: Payments, cash: PaymentView
) -> None:
    for _ in range(3):
        await payments.canceled(canceled(cash.order_id))

    given_up = await read(payments, cash)
    assert given_up.status is PaymentStatus.CANCELED
    assert given_up.failure is not None
    assert given_up.failure.code == "order_canceled"
    assert await payments.told(cash.id) == ["payment.pending.v1", "payment.canceled.v1"]
    with pytest.raises(NotConfirmable):
        await payments.confirm(cash.id, ADMIN)


async def test_cash_begun_during_the_cancellation_is_rejected(
    payments: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    await payments.canceled(canceled(order_id))
    cash = (await payments.create(create(order_id))).made

    for _ in range(3):
        await payments.unwanted(unwanted(order_id, cash.id))

    assert (await read(payments, cash)).status is PaymentStatus.CANCELED
    assert await payments.told(cash.id) == ["payment.pending.v1", "payment.canceled.v1"]


async def test_another_orders_cash_stays_pending(
    payments: Payments, shop: Shop, cash: PaymentView
) -> None:
    await payments.canceled(canceled(await shop.order()))

    assert await read(payments, cash) == cash


async def test_a_running_charge_is_not_interrupted(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    await shop.fault("charge_then_drop")
    with pytest.raises(OutcomeUnknown):
        await payments.create(create(order_id, await shop.card()))
    [left] = await payments.of(order_id)

    await payments.canceled(canceled(order_id))
    await payments.unwanted(unwanted(order_id, left.id))

    assert await payments.of(order_id) == [left]
    with pytest.raises(PaymentInProgress):
        await payments.create(create(order_id))


async def test_confirmed_cash_is_refunded_by_hand(
    payments: Payments, shop: Shop, cash: PaymentView
) -> None:
    await payments.confirm(cash.id, ADMIN)
    await due(payments, cash)

    await payments.carry_out_refunds()

    assert (await read(payments, cash)).status is PaymentStatus.REFUNDED
    assert await shop.charges(cash) == []
