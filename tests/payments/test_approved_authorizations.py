"""A payment that is approved in a shop that charges at shipment: its money is only reserved."""

from datetime import timedelta

import pytest

from cartwheel.contracts.orders import OrderStatus
from cartwheel.contracts.payments import (
    CardToken,
    PaymentStatus,
    PaymentView,
    ReportAuthorization,
    Wallet,
)

from .conftest import Payments, Shop
from .examples import GATEWAY, canceled
from .test_actions import answer, begun, both, over, settled


@pytest.fixture
def at_shipment(payments: Payments) -> Payments:
    return payments._replace(capture=False)


@pytest.fixture
async def waiting(at_shipment: Payments, shop: Shop) -> PaymentView:
    return await begun(at_shipment, shop)


async def webhook(payments: Payments, payment: PaymentView) -> None:
    report = ReportAuthorization(provider="simulator", payment_id=payment.id, actor=GATEWAY)
    await payments.report_authorization(report)


@both
async def test_an_approved_payment_is_reserved_and_captured_later(
    at_shipment: Payments, shop: Shop, method: CardToken | Wallet
) -> None:
    waiting = await begun(at_shipment, shop, method)
    await answer(waiting)

    for _ in range(2):
        await webhook(at_shipment, waiting)
    reserved = await settled(at_shipment, waiting)
    order = await shop.hears(await at_shipment.document(waiting.id))
    captured = await at_shipment.capture_payment(waiting.id, waiting.amount)

    assert (reserved.status, reserved.next_action) == (PaymentStatus.AUTHORIZED, None)
    assert (order.status, order.authorized_by) == (OrderStatus.AUTHORIZED, waiting.id)
    assert captured == waiting.amount
    assert await shop.charges(waiting) == ["challenge", "authorization", "capture"]


async def test_an_approval_in_time_counts_even_if_payments_hears_of_it_late(
    at_shipment: Payments, shop: Shop, waiting: PaymentView
) -> None:
    await answer(waiting)

    await over(at_shipment, waiting)

    assert (await settled(at_shipment, waiting)).status is PaymentStatus.AUTHORIZED
    assert await shop.charges(waiting) == ["challenge", "authorization"]


async def test_an_approval_after_the_end_of_the_order_reserves_nothing(
    at_shipment: Payments, shop: Shop, waiting: PaymentView
) -> None:
    await at_shipment.canceled(canceled(waiting.order_id))
    await answer(waiting)

    await webhook(at_shipment, waiting)
    still = await settled(at_shipment, waiting)
    await at_shipment.end_actions()

    ended = await settled(at_shipment, waiting)
    assert still.status is PaymentStatus.REQUIRES_ACTION
    assert ended.status is PaymentStatus.CANCELED
    assert ended.failure
    assert ended.failure.code == "order_canceled"
    assert await shop.charges(waiting) == ["challenge", "authorization", "void"]


async def test_what_nobody_approves_is_never_reserved(
    at_shipment: Payments, shop: Shop, waiting: PaymentView
) -> None:
    assert waiting.next_action
    before = waiting.next_action.expires_at - timedelta(minutes=1)

    await at_shipment.end_actions(lambda: before)
    await over(at_shipment, waiting)

    assert (await settled(at_shipment, waiting)).status is PaymentStatus.REJECTED
    assert await shop.charges(waiting) == ["challenge", "cancellation"]
