"""An order while it is being paid."""

from cartwheel.contracts.orders import GetPayableOrder, OrderNotFound, PayableOrder
from cartwheel.contracts.payments import PaymentCaptured, PaymentDeclined, PaymentPending
from cartwheel.kernel.messages import Clock, CloudEvent
from cartwheel.orders import domain
from cartwheel.orders.domain import Order
from cartwheel.orders.handlers.changing import change
from cartwheel.orders.handlers.ports import Orders


async def get_payable_order(
    request: GetPayableOrder, *, orders: Orders, now: Clock
) -> PayableOrder:
    def ready(order: Order) -> Order:
        if order.user.id != request.user_id:
            raise OrderNotFound("there is no such order")
        return domain.ready_to_pay(order, request.shipping_address, at=now())

    order = await change(request.order_id, ready, orders)
    return PayableOrder(order_id=order.id, total=order.total, attempts=domain.MAX_ATTEMPTS)


async def payment_pending(event: CloudEvent[PaymentPending], *, orders: Orders, now: Clock) -> None:
    await change(
        event.data.order_id,
        lambda order: domain.payment_begun(
            order,
            event.data.method,
            payment_id=event.data.payment_id,
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
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )
