"""An order while it is being paid."""

from cartwheel.contracts.orders import GetPayableOrder, OrderNotFound, PayableOrder
from cartwheel.contracts.payments import PaymentCaptured, PaymentDeclined, PaymentPending
from cartwheel.kernel.errors import Refusal
from cartwheel.kernel.messages import Clock, CloudEvent
from cartwheel.orders import domain
from cartwheel.orders.domain import Order
from cartwheel.orders.handlers.changing import change
from cartwheel.orders.handlers.ports import Orders


async def get_payable_orders(
    requests: list[GetPayableOrder], *, orders: Orders
) -> list[PayableOrder | Refusal]:
    found = await orders.get([request.order_id for request in requests])
    return [_payable(found.get(request.order_id), request) for request in requests]


def _payable(order: Order | None, request: GetPayableOrder) -> PayableOrder | Refusal:
    if order is None or order.user.id != request.user_id:
        return OrderNotFound("there is no such order")
    try:
        return domain.payable(order, request.shipping_address)
    except Refusal as refusal:
        return refusal


async def payment_pending(event: CloudEvent[PaymentPending], *, orders: Orders, now: Clock) -> None:
    await change(
        event.data.order_id,
        lambda order: domain.payment_begun(
            order,
            event.data.method,
            payment_id=event.data.payment_id,
            address=event.data.shipping_address,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )


async def payment_captured(
    event: CloudEvent[PaymentCaptured], *, orders: Orders, now: Clock
) -> None:
    await change(
        event.data.order_id,
        lambda order: domain.pay(
            order,
            event.data.amount,
            payment_id=event.data.payment_id,
            address=event.data.shipping_address,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )


async def payment_declined(
    event: CloudEvent[PaymentDeclined], *, orders: Orders, now: Clock
) -> None:
    await change(
        event.data.order_id,
        lambda order: domain.payment_declined(
            order,
            event.data.failure,
            payment_id=event.data.payment_id,
            counts=event.data.counts,
            address=event.data.shipping_address,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )
