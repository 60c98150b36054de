"""Canceling, expiring and refunding an order."""

from datetime import timedelta

from cartwheel.contracts.orders import CancelOrder, OrderView
from cartwheel.contracts.payments import (
    PaymentDisputeClosed,
    PaymentRefunded,
    PaymentRefundFailed,
)
from cartwheel.contracts.products import StockShortage
from cartwheel.kernel import Change, Clock, CloudEvent, for_each, new_id, utc_now
from cartwheel.orders.domain import fulfilment
from cartwheel.orders.domain import order as rules
from cartwheel.orders.ports import Orders


async def cancel_order(request: CancelOrder, *, orders: Orders, now: Clock = utc_now) -> OrderView:
    """Cancel the order, or call off what of it is not shipped yet."""
    by = Change(by=request.actor.user_id, at=now())
    order = await orders.change(
        request.order_id, fulfilment.cancel_or_call_off, request, new_id("cof"), by=by
    )
    return order.view()


async def expire_orders(*, orders: Orders, now: Clock = utc_now) -> None:
    """Cancel the orders whose payment deadline has passed."""

    async def expire(order_id: str) -> None:
        await orders.change(order_id, rules.expire, by=Change(by="deadline", at=now()))

    await for_each("expire orders", orders.overdue(), expire, now=now)


async def date_older_orders(
    *, orders: Orders, cash_within: timedelta, now: Clock = utc_now
) -> None:
    """Give a deadline to orders that an older version has wait for their cash forever."""

    async def date(order_id: str) -> None:
        by = Change(by="deadline", at=now())
        await orders.change(order_id, rules.with_deadline, cash_within, by=by)

    await for_each("date older orders", orders.undated(), date, now=now)


async def stock_shortage(
    event: CloudEvent[StockShortage], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, rules.out_of_stock, by=by)


async def payment_refunded(
    event: CloudEvent[PaymentRefunded], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, rules.refunded, event.data, by=by)


async def payment_refund_failed(
    event: CloudEvent[PaymentRefundFailed], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, rules.refund_failed, event.data, by=by)


async def payment_dispute_closed(
    event: CloudEvent[PaymentDisputeClosed], *, orders: Orders, now: Clock = utc_now
) -> None:
    by = Change.caused_by(event, at=now())
    await orders.change(event.data.order_id, rules.dispute_closed, event.data, by=by)
