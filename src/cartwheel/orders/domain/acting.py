"""An order of which a payment waits for its customer's approval: 3-D Secure, or a wallet.

The first such payment moves the payment deadline, once: otherwise, whoever begins one after the
other would hold the stock forever. When the order ends, payments cancels what still waits.
"""

from datetime import datetime, timedelta

import msgspec

from cartwheel.contracts.orders import OrderActionRequired, OrderPaymentUnwanted, OrderStatus
from cartwheel.contracts.payments import PaymentActionRequired
from cartwheel.kernel import Change
from cartwheel.orders.domain.order import TIME_TO_PAY, Order, changed

TIME_TO_ACT = timedelta(minutes=10)
"""How long a customer has at least to approve the first payment that needs it, unless the
deployment sets another time."""


def action_until(order: Order, act_within: timedelta, at: datetime) -> datetime | None:
    """Return until when a payment that begins at `at` may wait for its customer.

    None if the order has no deadline. That of cash does not count: another payment can begin only
    after the cash was given up, though the order may not have heard of that yet.
    """
    until = order.expires_at
    if until is None:
        return None
    if until == order.cash_until and order.pay_by is not None:
        until = max(order.pay_by, at + TIME_TO_PAY)
    return until if order.action_until is not None else max(until, at + act_within)


def action_required(
    order: Order, told: PaymentActionRequired, act_within: timedelta, change: Change
) -> Order:
    """Return `order` with a payment that waits for its customer, and the deadline that it gets.

    If the order has ended in the meantime, it emits `OrderPaymentUnwanted`. Without that event the
    customer could still approve the payment until its own deadline.
    """
    payment_id = told.payment_id
    known = (
        *order.acting_payments,
        *order.canceled_payments,
        *order.declined_payments,
        *order.failed_payments,
        *order.refunds_due,
        order.authorized_by,
        order.paid_by,
    )
    if payment_id in known:
        return order
    until = action_until(order, act_within, change.at)
    order = msgspec.structs.replace(order, acting_payments=[*order.acting_payments, payment_id])
    if order.status is not OrderStatus.AWAITING_PAYMENT:
        unwanted = OrderPaymentUnwanted(
            order_id=order.id, payment_id=payment_id, reason=f"The order is {order.status}."
        )
        return changed(order, unwanted, change=change)
    if order.action_until is None and order.expires_at is not None and until is not None:
        order = msgspec.structs.replace(
            order, expires_at=max(order.expires_at, until), pay_by=until, action_until=until
        )
    event = OrderActionRequired(
        order=order.snapshot(), payment_id=payment_id, expires_at=told.expires_at
    )
    return changed(order, event, change=change)
