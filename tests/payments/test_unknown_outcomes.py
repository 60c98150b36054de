"""When the provider does not answer, nothing is charged twice, and the outcome is found out."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from cartwheel.contracts.payments import (
    CardToken,
    CreatePayment,
    Failure,
    PaymentInProgress,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
    ReportVerdict,
)
from cartwheel.kernel import new_id
from cartwheel.kernel.errors import OutcomeUnknown, Unavailable
from cartwheel.kernel.http_client import UnexpectedAnswer
from cartwheel.kernel.mongodb import Document, to_document
from cartwheel.payments.handlers.reconciling import UNDECIDED_AFTER
from cartwheel.providers.port import Outcome
from cartwheel.providers.simulator import client as payments_simulator
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator

from ..profiling import documents_examined
from ..simulator.conftest import API_KEY
from .conftest import DECLINED, GOOD, Payments, Shop
from .examples import CASH, LATER, VISA, create, now, payment, reported


async def unknown(payments: Payments, request: CreatePayment) -> PaymentView:
    """Return the payment with an unknown outcome that the request leaves behind."""
    with pytest.raises(OutcomeUnknown):
        await payments.create(request)
    [left, *_] = await payments.of(request.order_id)
    assert left.status is PaymentStatus.AWAITING_PAYMENT
    return left


class FailingOn(SimulatorCards):
    """The real provider, except that it fails on one payment."""

    def __init__(self, payment_id: str, fault: Exception, real: SimulatorCards) -> None:
        self.payment_id = payment_id
        self.fault = fault
        self.real = real

    async def cancel(self, payment_id: str) -> Outcome:
        if payment_id == self.payment_id:
            raise self.fault
        return await self.real.cancel(payment_id)

    async def look_up(self, payment_id: str) -> Outcome | None:
        return await self.real.look_up(payment_id)


async def interrupted(payments: Payments, count: int) -> list[str]:
    """Return the ids of payments that were stored, but never reached the provider."""
    made = [
        msgspec.structs.replace(
            payment(CardToken(token="pm_1")),
            id=new_id("pay"),
            order_id=new_id("ord"),
            request_id=new_id("req"),
        )
        for _ in range(count)
    ]
    assert all([await payments.payments.add(each) for each in made])
    return [each.id for each in made]


def awaited_cash(number: int) -> Document:
    cash = msgspec.structs.replace(
        payment(CASH), id=f"pay_{number}", order_id=f"ord_{number}", request_id=str(number)
    )
    return {**to_document(cash), "outbox": []}


async def awaiting(payments: Payments) -> set[str]:
    found = payments.database["payments"].find({"status": "AWAITING_PAYMENT"})
    return {document["_id"] async for document in found}


async def read(payments: Payments, payment: PaymentView) -> PaymentView:
    [found] = [each for each in await payments.of(payment.order_id) if each.id == payment.id]
    return found


@pytest.mark.parametrize("fault", ["charge_then_drop", "charge_then_error"])
async def test_a_capture_whose_answer_was_lost_is_found_and_kept(
    payments: Payments, shop: Shop, fault: str
) -> None:
    await shop.fault(fault)
    left = await unknown(payments, create(await shop.order(), await shop.card()))

    await payments.reconcile()
    await payments.reconcile()

    paid = await read(payments, left)
    assert (left.card, paid.card) == (None, VISA)
    assert paid.status is PaymentStatus.PAID
    assert await shop.charges(left) == ["charge"]
    [told] = (await payments.document(left.id))["outbox"]
    assert told["type"] == "payment.captured.v1"


@pytest.mark.parametrize("fault", ["drop", "error"])
async def test_a_charge_that_never_happened_is_voided_and_does_not_count(
    payments: Payments, shop: Shop, fault: str
) -> None:
    await shop.fault(fault)
    order_id = await shop.order()
    left = await unknown(payments, create(order_id, await shop.card()))

    await payments.reconcile()
    again = (await payments.create(create(order_id, await shop.card()))).made

    rejected = await read(payments, left)
    assert rejected.status is PaymentStatus.REJECTED
    assert rejected.failure is not None
    assert rejected.failure.code == "processing_error"
    assert await payments.payments.declined(order_id) == []
    assert again.status is PaymentStatus.PAID
    assert await shop.charges(left, again) == ["cancellation", "charge"]


async def test_a_decline_whose_answer_was_lost_is_found_and_counts(
    payments: Payments, shop: Shop
) -> None:
    await shop.fault("charge_then_drop")
    order_id = await shop.order()
    left = await unknown(payments, create(order_id, await shop.card(DECLINED)))

    await payments.reconcile()

    assert (await read(payments, left)).status is PaymentStatus.REJECTED
    assert [each.id for each in await payments.payments.declined(order_id)] == [left.id]


async def test_nothing_is_charged_while_the_provider_is_unreachable(
    payments: Payments, shop: Shop, unused_tcp_port: int
) -> None:
    request = create(await shop.order(), await shop.card())
    async with open_simulator(f"http://127.0.0.1:{unused_tcp_port}", API_KEY) as nobody:
        left = await unknown(payments._replace(cards=nobody), request)

    await payments.reconcile()

    assert (await read(payments, left)).status is PaymentStatus.REJECTED
    assert await shop.charges(left) == ["cancellation"]


async def test_a_slow_charge_has_no_effect_after_it_was_voided(
    payments: Payments, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments_simulator, "ANSWER_WITHIN_SECONDS", 0.3)
    await shop.fault("charge_late", seconds=2.0)
    request = create(await shop.order(), await shop.card())
    async with open_simulator(shop.simulator.url, API_KEY) as impatient:
        left = await unknown(payments._replace(cards=impatient), request)

    await payments.reconcile()
    await asyncio.sleep(2.0)

    assert (await read(payments, left)).status is PaymentStatus.REJECTED
    assert await shop.charges(left) == ["cancellation"]


async def test_the_order_cannot_be_paid_otherwise_until_the_outcome_is_known(
    payments: Payments, shop: Shop
) -> None:
    await shop.fault("charge_then_drop")
    order_id = await shop.order()
    left = await unknown(payments, create(order_id, await shop.card()))

    with pytest.raises(PaymentInProgress):
        await payments.create(create(order_id, await shop.card()))

    assert await payments.of(order_id) == [left]
    assert await shop.charges(left) == ["charge"]


async def test_repeating_the_request_never_charges_again(payments: Payments, shop: Shop) -> None:
    await shop.fault("charge_then_drop")
    request = create(await shop.order(), await shop.card(), request_id="5c0e")
    left = await unknown(payments, request)
    waiting = [asyncio.create_task(payments.create(request)) for _ in range(5)]
    await asyncio.sleep(0.3)

    await payments.reconcile()
    answers = await asyncio.gather(*waiting)

    assert {(answer.made.id, answer.made.status) for answer in answers} == {
        (left.id, PaymentStatus.PAID)
    }
    assert all(answer.replayed for answer in answers)
    assert await shop.charges(left) == ["charge"]


async def test_a_running_payment_is_not_reconciled(payments: Payments, shop: Shop) -> None:
    await shop.fault("drop")
    left = await unknown(payments, create(await shop.order(), await shop.card()))

    await payments.reconcile(now)

    assert await read(payments, left) == left
    assert await shop.charges(left) == []


async def test_two_processes_that_reconcile_at_once_emit_one_event(
    payments: Payments, shop: Shop
) -> None:
    await shop.fault("charge_then_drop")
    left = await unknown(payments, create(await shop.order(), await shop.card()))

    await asyncio.gather(*(payments.reconcile() for _ in range(5)))

    document = await payments.document(left.id)
    assert [event["type"] for event in document["outbox"]] == ["payment.captured.v1"]


@pytest.mark.parametrize("fault", [UnexpectedAnswer("neither yes nor no"), Unavailable("500")])
async def test_a_failing_reconciliation_does_not_block_others(
    payments: Payments, shop: Shop, fault: Exception
) -> None:
    await shop.fault("charge_then_drop")
    stuck = await unknown(payments, create(await shop.order(), await shop.card()))
    others = await interrupted(payments, 49)

    await payments._replace(cards=FailingOn(stuck.id, fault, payments.cards)).reconcile()

    assert await awaiting(payments) == {stuck.id}
    await payments.reconcile(lambda: LATER + timedelta(seconds=5))
    assert (await read(payments, stuck)).status is PaymentStatus.PAID
    assert await shop.charges(stuck) == ["charge"]
    assert len(others) == 49


async def test_an_unreadable_payment_does_not_block_others(payments: Payments) -> None:
    unreadable, *_ = await interrupted(payments, 50)
    from_a_younger_version = {"$set": {"method": "by pigeon"}}
    await payments.database["payments"].update_one({"_id": unreadable}, from_a_younger_version)

    await payments.reconcile()

    assert await awaiting(payments) == {unreadable}
    retry = (await payments.document(unreadable))["retry"]
    assert "by pigeon" in retry["error"]


async def test_the_reconciliation_reads_only_interrupted_payments(payments: Payments) -> None:
    """It skips pending cash, and payments that failed and wait for a retry."""
    stuck = await interrupted(payments, 30)
    waiting = {"$set": {"due_at": LATER + timedelta(seconds=1)}}
    await payments.database["payments"].update_many({"_id": {"$in": stuck[:20]}}, waiting)
    await payments.database["payments"].insert_many(
        [awaited_cash(number) for number in range(3_000)]
    )

    async with documents_examined(payments.database, "payments") as examined:
        undecided = payments.payments.undecided("simulator", after=UNDECIDED_AFTER)
        due = await undecided.due(LATER, limit=1000)

    assert [item.id for item in due] == stuck[20:]
    assert sum(examined) == 10


async def test_a_webhook_settles_a_payment_without_an_answer(
    payments: Payments, shop: Shop
) -> None:
    await shop.fault("charge_then_drop")
    left = await unknown(payments, create(await shop.order(), await shop.card(GOOD)))

    for _ in range(3):
        await payments.report(reported(left, reference=None))

    settled = await read(payments, left)
    assert settled.status is PaymentStatus.PAID
    assert settled.provider_reference is not None
    assert [entry.by for entry in settled.timeline][-1] == "simulator"
    assert len((await payments.document(left.id))["outbox"]) == 1


async def test_a_late_webhook_changes_no_verdict(payments: Payments, shop: Shop) -> None:
    paid = (await payments.create(create(await shop.order(), await shop.card()))).made

    no = Failure(code="card_declined", message="Your card was declined.")
    await payments.report(reported(paid, captured=False, failure=no))

    assert await read(payments, paid) == paid


async def test_a_webhook_about_an_unknown_payment_is_refused(payments: Payments) -> None:
    with pytest.raises(PaymentNotFound):
        await payments.report(
            ReportVerdict(provider="simulator", payment_id="pay_none", captured=True)
        )
