"""Money that is only reserved: captured at shipment, voided or lapsed, whatever dies meanwhile."""

import asyncio
from datetime import datetime, timedelta

import pytest

from cartwheel.contracts.fulfilment import CaptureFailed, NotPaid
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import CancelOrder, OrderStatus
from cartwheel.contracts.payments import (
    NotCancelable,
    PaymentNotCaptured,
    PaymentStatus,
    PaymentView,
    ReportAuthorization,
)
from cartwheel.kernel import Change
from cartwheel.kernel.errors import Forbidden, OutcomeUnknown
from cartwheel.orders.domain import fulfilment
from cartwheel.payments.domain import Expiring

from ..orders.examples import TOTAL
from .conftest import Payments, Shop
from .examples import ADMIN, AT, GATEWAY, ZOE, canceled, create, now, refunding, reported, unwanted


@pytest.fixture
def at_shipment(payments: Payments) -> Payments:
    return payments._replace(capture=False)


@pytest.fixture
async def reserved(at_shipment: Payments, shop: Shop) -> PaymentView:
    """A payment whose money is reserved, and whose order knows it."""
    order_id = await shop.order()
    made = (await at_shipment.create(create(order_id, await shop.card()))).made
    await shop.hears(await at_shipment.document(made.id))
    return made


async def status(shop: Shop, payment: PaymentView) -> OrderStatus:
    return (await shop.orders.get(payment.order_id)).status


async def cancel_order(shop: Shop, payment: PaymentView) -> None:
    request = CancelOrder(order_id=payment.order_id, actor=ZOE)
    by = Change(by=ZOE.user_id, at=now())
    await shop.orders.change(
        payment.order_id, fulfilment.cancel_or_call_off, request, "cof_1", by=by
    )


async def capture_is_refused(shop: Shop, payment: PaymentView) -> None:
    await shop.fault("capture_fails", on="capture", payment_id=payment.id)


def shortly_before(payment: PaymentView, left: timedelta = timedelta(hours=12)) -> datetime:
    """Return the time when only so much is `left` of the authorization."""
    assert payment.capture_before is not None
    return payment.capture_before - left


async def test_a_good_card_is_authorized_and_its_order_waits_without_a_deadline(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    assert (reserved.status, reserved.authorized) == (PaymentStatus.AUTHORIZED, TOTAL)
    assert reserved.capture_before is not None
    order = await shop.orders.get(reserved.order_id)
    assert (order.status, order.expires_at) == (OrderStatus.AUTHORIZED, None)
    assert await shop.charges(reserved) == ["authorization"]
    with pytest.raises(PaymentNotCaptured):
        await at_shipment.refund(refunding(reserved.id))
    with pytest.raises(NotCancelable):
        await at_shipment.cancel(reserved.id, ZOE)
    await at_shipment.reconcile()
    await at_shipment.look_after_authorizations()
    assert await shop.charges(reserved) == ["authorization"]


async def test_the_first_parcel_captures_the_total_once(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    shipped = await shop.first_parcel(reserved.order_id, at_shipment)
    again = await shop.first_parcel(reserved.order_id, at_shipment)

    assert (shipped.status, shipped.paid_by, len(shipped.shipments)) == (
        OrderStatus.PAID,
        reserved.id,
        1,
    )
    assert again == shipped
    assert await shop.hears(await at_shipment.document(reserved.id)) == shipped
    [payment] = await at_shipment.of(reserved.order_id)
    assert (payment.status, payment.capture_before) == (PaymentStatus.PAID, None)
    assert await shop.charges(reserved) == ["authorization", "capture"]


async def test_two_desks_that_ship_at_once_capture_once_and_one_parcel_leaves(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    done = await asyncio.gather(
        *(shop.first_parcel(reserved.order_id, at_shipment, f"desk {n}") for n in range(4)),
        return_exceptions=True,
    )

    assert sum(not isinstance(each, Exception) for each in done) == 1
    assert len((await shop.orders.get(reserved.order_id)).shipments) == 1
    assert await shop.charges(reserved) == ["authorization", "capture"]


async def test_a_parcel_that_cannot_leave_captures_nothing(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    with pytest.raises(NotPaid):
        # What an older version, and anybody who does not ask payments, is answered.
        await shop.ships(reserved.order_id)

    assert await status(shop, reserved) is OrderStatus.AUTHORIZED
    assert await shop.charges(reserved) == ["authorization"]


async def test_a_refused_capture_leaves_all_as_it_was_and_tells_operations_each_time(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    for _ in range(2):
        await capture_is_refused(shop, reserved)
        with pytest.raises(CaptureFailed):
            await shop.first_parcel(reserved.order_id, at_shipment)

    assert await status(shop, reserved) is OrderStatus.AUTHORIZED
    told = await at_shipment.told(reserved.id)
    assert told == ["payment.authorized.v1", *["payment.capture_failed.v1"] * 2]
    shipped = await shop.first_parcel(reserved.order_id, at_shipment)
    assert shipped.status is OrderStatus.PAID
    assert await shop.charges(reserved) == ["authorization", "capture"]


@pytest.mark.parametrize("fault", ["charge_then_drop", "charge_then_error", "drop", "error"])
async def test_a_capture_whose_answer_is_lost_is_finished_by_the_job(
    at_shipment: Payments, shop: Shop, reserved: PaymentView, fault: str
) -> None:
    await shop.fault(fault, on="capture", payment_id=reserved.id)
    with pytest.raises(OutcomeUnknown):
        await shop.first_parcel(reserved.order_id, at_shipment)
    await at_shipment.look_after_authorizations()  # too early: the request may still be running
    assert await at_shipment.told(reserved.id) == ["payment.authorized.v1"]

    await at_shipment.look_after_authorizations(lambda: AT + timedelta(minutes=1))

    order = await shop.hears(await at_shipment.document(reserved.id))
    assert (order.status, order.shipments) == (OrderStatus.PAID, [])
    assert len((await shop.first_parcel(reserved.order_id, at_shipment)).shipments) == 1
    assert await shop.charges(reserved) == ["authorization", "capture"]


@pytest.mark.parametrize("told", ["authorized first", "captured first"])
async def test_an_order_is_paid_in_whatever_order_it_hears_of_it(
    at_shipment: Payments, shop: Shop, told: str
) -> None:
    made = (await at_shipment.create(create(await shop.order(), await shop.card()))).made
    await at_shipment.capture_payment(made.id, TOTAL)
    document = await at_shipment.document(made.id)
    if told == "captured first":
        document["outbox"].reverse()

    order = await shop.hears(document)

    assert (order.status, order.paid_by, order.refunds_due) == (OrderStatus.PAID, made.id, [])


async def test_a_canceled_order_has_its_authorization_voided(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    await cancel_order(shop, reserved)
    for _ in range(2):
        await at_shipment.canceled(canceled(reserved.order_id))
    with pytest.raises(CaptureFailed):
        await at_shipment.capture_payment(reserved.id, TOTAL)

    await at_shipment.look_after_authorizations()

    [payment] = await at_shipment.of(reserved.order_id)
    assert payment.status is PaymentStatus.CANCELED
    assert payment.failure is not None
    assert payment.failure.code == "order_canceled"
    order = await shop.hears(await at_shipment.document(reserved.id))
    assert (order.status, order.refunds_due) == (OrderStatus.CANCELED, [])
    assert await shop.charges(reserved) == ["authorization", "void"]


async def test_a_void_is_tried_until_the_provider_answers(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    await shop.fault("drop", on="cancel", payment_id=reserved.id)
    await at_shipment.canceled(canceled(reserved.order_id))
    await at_shipment.look_after_authorizations()
    assert await shop.charges(reserved) == ["authorization"]

    await at_shipment.look_after_authorizations(lambda: AT + timedelta(minutes=1))

    assert await shop.charges(reserved) == ["authorization", "void"]


async def test_what_is_captured_while_the_order_is_canceled_is_refunded(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    await shop.fault("answer_late", on="capture", payment_id=reserved.id, seconds=0.5)
    shipping = asyncio.create_task(shop.first_parcel(reserved.order_id, at_shipment))
    await asyncio.sleep(0.2)
    await cancel_order(shop, reserved)
    await at_shipment.canceled(canceled(reserved.order_id))
    with pytest.raises(NotPaid):
        await shipping
    await at_shipment.look_after_authorizations(lambda: AT + timedelta(minutes=1))

    order = await shop.hears(await at_shipment.document(reserved.id))

    assert (order.status, order.shipments) == (OrderStatus.CANCELED, [])
    assert order.refunds_due == [reserved.id]
    assert await shop.charges(reserved) == ["authorization", "capture"]


async def test_an_order_that_ended_before_it_heard_of_the_authorization_has_it_voided(
    at_shipment: Payments, shop: Shop
) -> None:
    made = (await at_shipment.create(create(await shop.order(), await shop.card()))).made
    await cancel_order(shop, made)

    await shop.hears(await at_shipment.document(made.id))
    order = await shop.hears(await at_shipment.document(made.id))
    assert (await shop.told(made.order_id)).count("order.payment_unwanted.v1") == 1
    await at_shipment.unwanted(unwanted(made.order_id, made.id))
    await at_shipment.look_after_authorizations()

    assert order.status is OrderStatus.CANCELED
    assert await shop.charges(made) == ["authorization", "void"]


@pytest.mark.parametrize("expiring", [Expiring.VOID, Expiring.CAPTURE])
async def test_twelve_hours_before_it_lapses_it_is_captured_or_voided(
    at_shipment: Payments, shop: Shop, reserved: PaymentView, expiring: Expiring
) -> None:
    shop_that = at_shipment._replace(expiring=expiring)
    early = shortly_before(reserved, timedelta(hours=13))
    await shop_that.look_after_authorizations(lambda: early)
    assert await shop.charges(reserved) == ["authorization"]

    await shop_that.look_after_authorizations(lambda: shortly_before(reserved))

    order = await shop.hears(await at_shipment.document(reserved.id))
    voided = expiring is Expiring.VOID
    assert order.status is (OrderStatus.CANCELED if voided else OrderStatus.PAID)
    assert await shop.charges(reserved) == ["authorization", "void" if voided else "capture"]


async def test_a_capture_that_fails_until_it_is_too_late_ends_as_a_void(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    shop_that = at_shipment._replace(expiring=Expiring.CAPTURE)
    await shop.fault("capture_fails", on="capture", payment_id=reserved.id, count=None)

    for left in (timedelta(hours=12), timedelta(hours=6), timedelta(minutes=5)):
        at = shortly_before(reserved, left)
        for _ in range(2):
            await shop_that.look_after_authorizations(lambda at=at: at)

    told = await at_shipment.told(reserved.id)
    assert told.count("payment.capture_failed.v1") == 3
    assert told[-1] == "payment.canceled.v1"
    assert await shop.charges(reserved) == ["authorization", "void"]


async def lapse(shop: Shop, payment: PaymentView) -> None:
    answered, intent = await shop.simulator.post(f"/v1/payments/{payment.id}/lapse")
    assert (answered, intent["status"]) == (200, "canceled")


async def test_a_lapse_that_the_provider_reports_cancels_the_order(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    await lapse(shop, reserved)

    for _ in range(2):
        await at_shipment.report(reported(reserved, captured=False))

    [payment] = await at_shipment.of(reserved.order_id)
    assert payment.failure is not None
    assert (payment.status, payment.failure.code) == (
        PaymentStatus.CANCELED,
        "authorization_lapsed",
    )
    order = await shop.hears(await at_shipment.document(reserved.id))
    assert (order.status, order.authorized_by) == (OrderStatus.CANCELED, None)
    assert await shop.charges(reserved) == ["authorization", "lapse"]


async def test_a_lapse_that_nobody_reported_is_found_by_the_first_parcel(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    await lapse(shop, reserved)

    with pytest.raises(CaptureFailed):
        await shop.first_parcel(reserved.order_id, at_shipment)

    order = await shop.hears(await at_shipment.document(reserved.id))
    assert (order.status, order.shipments) == (OrderStatus.CANCELED, [])


async def test_an_authorization_whose_answer_was_lost_is_found_by_its_webhook(
    at_shipment: Payments, shop: Shop
) -> None:
    await shop.fault("charge_then_drop")
    order_id = await shop.order()
    with pytest.raises(OutcomeUnknown):
        await at_shipment.create(create(order_id, await shop.card()))
    [left] = await at_shipment.of(order_id)
    report = ReportAuthorization(provider="simulator", payment_id=left.id, actor=GATEWAY)

    for _ in range(2):
        await at_shipment.report_authorization(report)

    [found] = await at_shipment.of(order_id)
    assert found.status is PaymentStatus.AUTHORIZED
    assert await at_shipment.told(left.id) == ["payment.authorized.v1"]


async def test_an_authorization_of_which_nothing_is_heard_is_voided(
    at_shipment: Payments, shop: Shop
) -> None:
    await shop.fault("charge_then_drop")
    order_id = await shop.order()
    with pytest.raises(OutcomeUnknown):
        await at_shipment.create(create(order_id, await shop.card()))

    await at_shipment.reconcile()

    [payment] = await at_shipment.of(order_id)
    assert payment.status is PaymentStatus.REJECTED
    assert await shop.charges(payment) == ["authorization", "void"]


async def test_the_webhook_of_a_capture_and_its_answer_pay_once(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    await shop.fault("charge_then_drop", on="capture", payment_id=reserved.id)
    with pytest.raises(OutcomeUnknown):
        await shop.first_parcel(reserved.order_id, at_shipment)

    for _ in range(2):
        await at_shipment.report(reported(reserved))
    await shop.first_parcel(reserved.order_id, at_shipment)

    told = await at_shipment.told(reserved.id)
    assert told == ["payment.authorized.v1", "payment.captured.v1"]
    assert (await at_shipment.document(reserved.id)).get("webhooks_disbelieved") is None


async def test_only_orders_may_ask_for_a_capture(
    at_shipment: Payments, reserved: PaymentView
) -> None:
    for actor in (ZOE, ADMIN):
        with pytest.raises(Forbidden):
            await at_shipment.capture_payment(reserved.id, TOTAL, actor)


async def test_a_part_is_captured_and_the_rest_of_it_released(
    at_shipment: Payments, shop: Shop, reserved: PaymentView
) -> None:
    part = Money(1999, "USD")

    assert await at_shipment.capture_payment(reserved.id, part) == part
    assert await at_shipment.capture_payment(reserved.id, TOTAL) == part
    await at_shipment.report(reported(reserved, amount=part))

    [_, captured] = await shop.simulator.entries(reserved.id)
    assert (captured["kind"], captured["amount"]) == ("capture", part.amount)
    assert (await at_shipment.document(reserved.id))["captured"]["amount"] == part.amount
    await at_shipment.refund(refunding(reserved.id))
    await at_shipment.carry_out_refunds()
    [payment] = await at_shipment.of(reserved.order_id)
    assert payment.status is PaymentStatus.REFUNDED
    assert [each.amount for each in payment.refunds] == [part]
