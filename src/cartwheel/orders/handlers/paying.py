"""What a payment does to its order."""

from datetime import datetime, timedelta

import msgspec

from cartwheel.contracts.orders import GetPayableOrder, OrderNotFound, PayableOrder
from cartwheel.contracts.payments import (
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentPending,
)
from cartwheel.kernel import Change, Clock, CloudEvent, utc_now
from cartwheel.kernel.errors import Refusal
from cartwheel.orders.domain import acting, authorized
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.acting import TIME_TO_ACT
from cartwheel.orders.domain.order import Order
from cartwheel.orders.ports import Orders


async def get_payable_orders(
    requests: list[GetPayableOrder],
    *,
    orders: Orders,
    act_within: timedelta = TIME_TO_ACT,
    now: Clock = utc_now,
) -> list[PayableOrder | Refusal]:
    found = await orders.get_many([request.order_id for request in requests])
    at = now()
    return [_payable(found.get(request.order_id), request, act_within, at) for request in requests]


def _payable(
    order: Order | None, request: GetPayableOrder, act_within: timedelta, at: datetime
) -> PayableOrder | Refusal:
    if order is None or order.user.id != _payer(request):
        return OrderNotFound("There is no such order.")
    try:
        payable = rules.payable(order, request.shipping_address)
    except Refusal as refusal:
        return refusal
    until = acting.action_until(order, act_within, at)
    return msgspec.structs.replace(payable, action_until=until)


def _payer(request: GetPayableOrder) -> str:
    """Return who pays. Admins, too, pay only for their own orders."""
    return request.actor.user_id if request.actor else request.user_id


async def payment_pending(
    event: CloudEvent[PaymentPending],
    *,
    orders: Orders,
    cash_within: timedelta,
    now: Clock = utc_now,
) -> None:
    by = Change.caused_by(event, at=now())
    order_id = event.data.order_id
    await orders.change(order_id, rules.payment_begun, event.data, cash_within, by=by)


async def payment_action_required(
    event: CloudEvent[PaymentActionRequired],
    *,
    orders: Orders,
    act_within: timedelta,
    now: Clock = utc_now,
) -> None:
    by = Change.caused_by(event, at=now())
    order_id = event.data.order_id
    await orders.change(order_id, acting.action_required, event.data, act_within, by=by)


async def payment_canceled(
    event: CloudEvent[PaymentCanceled], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, authorized.payment_canceled, event.data, by=by)


async def payment_authorized(
    event: CloudEvent[PaymentAuthorized], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, authorized.authorize, event.data, by=by)


async def payment_captured(
    event: CloudEvent[PaymentCaptured], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, authorized.pay, event.data, by=by)


async def payment_declined(
    event: CloudEvent[PaymentDeclined], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, rules.payment_declined, event.data, by=by)
