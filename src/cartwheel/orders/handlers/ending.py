"""The ways in which an order is given up, and its money given back."""

from cartwheel.contracts.orders import (
    CancelOrder,
    OrderNotFound,
    OrderStatus,
    OrderView,
    ReasonRequired,
)
from cartwheel.contracts.payments import PaymentRefunded
from cartwheel.contracts.products import StockShortage
from cartwheel.kernel import jobs
from cartwheel.kernel.errors import FieldError
from cartwheel.kernel.messages import Cause, Clock, CloudEvent
from cartwheel.orders import domain
from cartwheel.orders.domain import Order
from cartwheel.orders.handlers.changing import change
from cartwheel.orders.handlers.ports import Orders


async def cancel_order(request: CancelOrder, *, orders: Orders, now: Clock) -> OrderView:
    actor = request.actor

    def cancel(order: Order) -> Order:
        owner = order.user.id == actor.user_id
        if not owner and not actor.admin:
            raise OrderNotFound("there is no such order")
        # Whoever acts as an admin says why: on others' orders, and on what only admins may cancel.
        as_admin = not owner or (actor.admin and order.status is OrderStatus.PAID)
        if as_admin and not request.reason:
            raise ReasonRequired(
                "say why the order is canceled", errors=[FieldError("reason", "required")]
            )
        return domain.cancel(
            order,
            reason=request.reason or "Canceled by the customer.",
            by_admin=actor.admin,
            cause=Cause(by=actor.user_id),
            at=now(),
        )

    return (await change(request.order_id, cancel, orders)).view()


async def expire_orders(*, orders: Orders, now: Clock) -> None:
    """Cancel the orders whose payment deadline has passed."""
    cause = Cause(by="deadline")

    async def expire(order_id: str) -> None:
        await change(order_id, lambda order: domain.expire(order, cause=cause, at=now()), orders)

    await jobs.for_each("expire orders", orders.overdue(), expire, now=now)


async def stock_shortage(event: CloudEvent[StockShortage], *, orders: Orders, now: Clock) -> None:
    await change(
        event.data.order_id,
        lambda order: domain.out_of_stock(order, cause=event.cause(), at=now()),
        orders,
    )


async def payment_refunded(
    event: CloudEvent[PaymentRefunded], *, orders: Orders, now: Clock
) -> None:
    await change(
        event.data.order_id,
        lambda order: domain.refunded(
            order,
            event.data.amount,
            payment_id=event.data.payment_id,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )
