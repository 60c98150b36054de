"""Refunds that administrators make, on the real MongoDB with the real simulator."""

import asyncio

import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import LineRefused, Pieces
from cartwheel.contracts.payments import (
    DisputeStatus,
    GetRefund,
    ListDisputed,
    PaymentDisputed,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
    RefundExceedsCapture,
    RefundInvalid,
    RefundNotFound,
    RefundStatus,
)
from cartwheel.kernel import Created
from cartwheel.kernel.errors import Forbidden, OutcomeUnknown, Unavailable
from cartwheel.kernel.mongodb import Outboxes
from cartwheel.payments.handlers import reading
from cartwheel.payments.mongo import MongoPayments
from cartwheel.providers.simulator.client import open_simulator

from ..simulator.conftest import API_KEY
from .conftest import Payments, Shop
from .examples import (
    ADMIN,
    EVE,
    TOTAL,
    ZOE,
    create,
    disputed,
    failed_refund,
    refund_due,
    refunding,
)


@pytest.fixture
async def paid(payments: Payments, shop: Shop) -> PaymentView:
    return (await payments.create(create(await shop.order(), await shop.card()))).made


async def read(payments: Payments, payment: PaymentView) -> PaymentView:
    [found] = await payments.of(payment.order_id)
    return found


async def moved(shop: Shop, payment: PaymentView) -> list[tuple[str, int]]:
    """Return what the simulator's ledger says."""
    lines = await shop.simulator.entries(payment.id)
    return [(line["kind"], line["amount"]) for line in lines]


async def test_a_part_is_refunded_at_the_provider(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    made = (await payments.refund(refunding(paid.id, Money(1000, "USD")))).made
    await payments.carry_out_refunds()

    assert made.status is RefundStatus.PENDING
    found = await read(payments, paid)
    assert found.status is PaymentStatus.PARTIALLY_REFUNDED
    assert [(each.id, each.status) for each in found.refunds] == [(made.id, RefundStatus.SUCCEEDED)]
    assert await moved(shop, paid) == [("charge", TOTAL.amount), ("refund", 1000)]


async def test_of_two_refunds_of_sixty_percent_at_once_one_succeeds(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    other = payments._replace(payments=MongoPayments(payments.database, Outboxes()))
    part = Money(TOTAL.amount * 60 // 100, "USD")

    answers = await asyncio.gather(
        *(each.refund(refunding(paid.id, part)) for each in (payments, other)),
        return_exceptions=True,
    )
    await asyncio.gather(payments.carry_out_refunds(), other.carry_out_refunds())

    assert {type(answer) for answer in answers} == {Created, RefundExceedsCapture}
    assert await moved(shop, paid) == [("charge", TOTAL.amount), ("refund", part.amount)]


async def test_the_same_request_refunds_once_and_says_so(
    payments: Payments, paid: PaymentView
) -> None:
    request = refunding(paid.id, Money(1000, "USD"))

    first, again = await payments.refund(request), await payments.refund(request)

    assert (first.replayed, again.replayed) == (False, True)
    assert first.made.id == again.made.id
    assert len((await read(payments, paid)).refunds) == 1


async def test_pieces_are_refunded_at_the_orders_price(
    payments: Payments, paid: PaymentView
) -> None:
    mug, spoon = Pieces(product_id="prd_1", quantity=1), Pieces(product_id="prd_2", quantity=1)

    made = (await payments.refund(refunding(paid.id, lines=[mug, spoon]))).made

    assert made.amount == Money(1999 + 250, "USD")


@pytest.mark.parametrize(("product_id", "quantity"), [("prd_9", 1), ("prd_1", 3)])
async def test_pieces_that_the_order_does_not_have_are_refused(
    payments: Payments, paid: PaymentView, product_id: str, quantity: int
) -> None:
    pieces = [Pieces(product_id=product_id, quantity=quantity)]

    with pytest.raises(LineRefused) as refused:
        await payments.refund(refunding(paid.id, lines=pieces))

    assert [error.field for error in refused.value.errors] == ["lines[0]"]
    assert (await read(payments, paid)).refunds == []


async def test_an_amount_and_lines_together_are_refused(
    payments: Payments, paid: PaymentView
) -> None:
    pieces = [Pieces(product_id="prd_1", quantity=1)]

    with pytest.raises(RefundInvalid):
        await payments.refund(refunding(paid.id, Money(1, "USD"), lines=pieces))


async def test_only_administrators_refund(payments: Payments, paid: PaymentView) -> None:
    with pytest.raises(Forbidden):
        await payments.refund(refunding(paid.id, actor=ZOE))


async def test_a_refund_is_shown_to_whoever_may_see_the_payment(
    payments: Payments, paid: PaymentView
) -> None:
    made = (await payments.refund(refunding(paid.id, Money(1000, "USD")))).made
    store = payments.payments

    for actor in (ZOE, ADMIN):
        request = GetRefund(payment_id=paid.id, refund_id=made.id, actor=actor)
        assert (await reading.get_refund(request, payments=store)).amount == made.amount
    not_hers = GetRefund(payment_id=paid.id, refund_id=made.id, actor=EVE)
    with pytest.raises(PaymentNotFound):
        await reading.get_refund(not_hers, payments=store)
    unknown = GetRefund(payment_id=paid.id, refund_id="rfd_none", actor=ADMIN)
    with pytest.raises(RefundNotFound):
        await reading.get_refund(unknown, payments=store)


async def test_a_refund_that_the_provider_fails_at_once_can_be_made_again(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    await shop.fault("refund_fails", on="refund", payment_id=paid.id)
    await payments.refund_due(refund_due(paid.order_id, paid.id))
    await payments.carry_out_refunds()
    failed = await read(payments, paid)

    await payments.refund(refunding(paid.id))
    await payments.carry_out_refunds()

    assert failed.status is PaymentStatus.PAID
    assert [each.failure is not None for each in failed.refunds] == [True]
    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED
    kinds = [kind for kind, _ in await moved(shop, paid)]
    assert kinds == ["charge", "refund_failed", "refund"]


async def test_a_refund_that_fails_late_leaves_its_amount_again(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    made = (await payments.refund(refunding(paid.id))).made
    await payments.carry_out_refunds()
    await shop.simulator.post(f"/v1/refunds/{made.id}/fail", {})

    await asyncio.gather(
        *(payments.report_refund(failed_refund(paid.id, made.id, TOTAL)) for _ in range(5))
    )

    assert (await read(payments, paid)).status is PaymentStatus.PAID
    assert (await payments.told(paid.id)).count("payment.refund_failed.v1") == 1
    again = (await payments.refund(refunding(paid.id))).made
    await payments.carry_out_refunds()
    assert again.id != made.id
    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED


async def test_a_payment_that_is_paid_again_does_not_collide_with_the_orders_live_one(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    """The index of live payments has room for one. An order awaiting payment gets a second one."""
    made = (await payments.refund(refunding(paid.id))).made
    await payments.carry_out_refunds()
    second = (await payments.create(create(paid.order_id, await shop.card()))).made

    await shop.simulator.post(f"/v1/refunds/{made.id}/fail", {})
    await payments.report_refund(failed_refund(paid.id, made.id, TOTAL))

    found = {each.id: each.status for each in await payments.of(paid.order_id)}
    assert found == {paid.id: PaymentStatus.PAID, second.id: PaymentStatus.PAID}
    assert (await payments.document(paid.id))["live"] is False


async def test_a_report_that_does_not_match_is_counted_and_changes_nothing(
    payments: Payments, paid: PaymentView
) -> None:
    await payments.report_refund(failed_refund(paid.id, "rfd_none", TOTAL))
    await payments.report_dispute(disputed(paid.id, provider="cash"))

    assert await read(payments, paid) == paid
    assert (await payments.document(paid.id))["webhooks_disbelieved"] == 2


async def test_only_services_report(payments: Payments, paid: PaymentView) -> None:
    with pytest.raises(Forbidden):
        await payments.report_refund(failed_refund(paid.id, "rfd_1", TOTAL, actor=ADMIN))
    with pytest.raises(Forbidden):
        await payments.report_dispute(disputed(paid.id, actor=ADMIN))


async def test_a_report_of_a_failed_refund_that_lies_is_not_believed(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    """Otherwise the money would be refunded again."""
    made = (await payments.refund(refunding(paid.id))).made
    await payments.carry_out_refunds()

    await payments.report_refund(failed_refund(paid.id, made.id, TOTAL))

    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED
    assert await moved(shop, paid) == [("charge", TOTAL.amount), ("refund", TOTAL.amount)]


async def opened(shop: Shop, payment: PaymentView) -> str:
    """Return the id of a dispute at the provider."""
    status, dispute = await shop.simulator.post("/v1/disputes", {"payment_id": payment.id})
    assert status == 201
    return dispute["id"]


async def test_a_dispute_is_recorded_though_the_answer_to_the_charge_was_lost(
    payments: Payments, shop: Shop
) -> None:
    request = create(await shop.order(), await shop.card())
    await shop.fault("charge_then_drop")
    with pytest.raises(OutcomeUnknown):
        await payments.create(request)
    [stored] = await payments.of(request.order_id)
    dispute_id = await opened(shop, stored)

    await payments.report_dispute(disputed(stored.id, dispute_id=dispute_id))

    found = await read(payments, stored)
    assert found.status is PaymentStatus.PAID
    assert [each.id for each in found.disputes] == [dispute_id]


async def test_a_report_of_a_dispute_that_lies_is_not_believed(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    other = (await payments.create(create(await shop.order(), await shop.card()))).made
    elsewhere, here = await opened(shop, other), await opened(shop, paid)

    for unknown in ("dp_none", elsewhere):
        await payments.report_dispute(disputed(paid.id, dispute_id=unknown))
    untouched = await read(payments, paid)
    await payments.report_dispute(disputed(paid.id, DisputeStatus.WON, dispute_id=here))

    assert untouched == paid
    assert (await payments.document(paid.id))["webhooks_disbelieved"] == 2
    [dispute] = (await read(payments, paid)).disputes
    assert (dispute.id, dispute.status) == (here, DisputeStatus.NEEDS_RESPONSE)


async def test_reports_must_be_repeated_while_the_provider_is_down(
    payments: Payments, shop: Shop, paid: PaymentView, unused_tcp_port: int
) -> None:
    made = (await payments.refund(refunding(paid.id, Money(1000, "USD")))).made
    await payments.carry_out_refunds()
    before = await read(payments, paid)

    async with open_simulator(f"http://127.0.0.1:{unused_tcp_port}", API_KEY) as nobody:
        away = payments._replace(cards=nobody)
        with pytest.raises(Unavailable):
            await away.report_refund(failed_refund(paid.id, made.id, made.amount))
        with pytest.raises(Unavailable):
            await away.report_dispute(disputed(paid.id))

    assert await read(payments, paid) == before


async def test_a_dispute_holds_up_refunds_and_is_listed(
    payments: Payments, shop: Shop, paid: PaymentView
) -> None:
    dispute_id = await opened(shop, paid)
    await payments.report_dispute(disputed(paid.id, dispute_id=dispute_id))

    with pytest.raises(PaymentDisputed):
        await payments.refund(refunding(paid.id))
    await payments.refund_due(refund_due(paid.order_id, paid.id))
    await payments.carry_out_refunds()
    assert (await read(payments, paid)).refunds == []

    async def listed(status: DisputeStatus | None) -> list[str]:
        request = ListDisputed(limit=10, status=status, actor=ADMIN)
        page = await reading.list_disputed(request, payments=payments.payments)
        return [each.id for each in page.data]

    assert await listed(None) == await listed(DisputeStatus.NEEDS_RESPONSE) == [paid.id]
    assert await listed(DisputeStatus.LOST) == []

    await shop.simulator.post(f"/v1/disputes/{dispute_id}/close", {"status": "won"})
    await payments.report_dispute(disputed(paid.id, DisputeStatus.WON, dispute_id=dispute_id))
    await payments.carry_out_refunds()
    assert (await read(payments, paid)).status is PaymentStatus.REFUNDED
