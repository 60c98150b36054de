"""A payment that waits for its customer: for a 3-D Secure challenge, or in a wallet.

    AWAITING_PAYMENT ──the provider asks for it──► REQUIRES_ACTION ──► any verdict

What the customer does is between them and the provider, whose verdict settles the payment as any
other. It waits until `next_action.expires_at`: the deadline that its order has told, or at once if
somebody gives it up or the order ends. After that, a job has the provider cancel it. If the
customer was faster, the provider says so.
"""

from datetime import datetime, timedelta

import msgspec

from cartwheel.contracts.payments import (
    Failure,
    PaymentActionRequired,
    PaymentStatus,
    Redirect,
)
from cartwheel.kernel import Change
from cartwheel.payments.domain.payment import Payment, changed
from cartwheel.providers.port import ActionRequired

UNDECIDED = (PaymentStatus.AWAITING_PAYMENT, PaymentStatus.REQUIRES_ACTION)
"""The statuses of a payment that has no verdict yet."""

TIME_TO_ACT = timedelta(minutes=10)
"""For a payment whose order has not told how long it waits."""

AFTER_THE_ORDER = timedelta(seconds=10)

ACTION_EXPIRED = Failure(
    code="action_expired",
    message="The payment was not approved in time. Nothing was charged. Please try again.",
)


def requires_action(payment: Payment) -> bool:
    return payment.status is PaymentStatus.REQUIRES_ACTION


def require_action(payment: Payment, asked: ActionRequired, change: Change) -> Payment:
    """Return an awaited `payment` as REQUIRES_ACTION.

    If it was given up in the meantime, it expires at once.
    """
    if requires_action(payment):
        return payment
    until = payment.action_until or payment.created_at + TIME_TO_ACT
    if asked.expires_at is not None:
        until = min(until, asked.expires_at)
    if payment.cancel_request:
        until = min(until, change.at)
    waiting = msgspec.structs.replace(
        payment,
        status=PaymentStatus.REQUIRES_ACTION,
        next_action=Redirect(url=asked.url, expires_at=until),
    )
    event = PaymentActionRequired(
        payment_id=payment.id, order_id=payment.order_id, expires_at=until
    )
    return changed(waiting, "action required", event, change=change)


def is_over(payment: Payment, at: datetime) -> bool:
    """Return whether a waiting `payment` is to be ended. The order, if it has the same deadline,
    ends first, and its customer gets one mail."""
    action = payment.next_action
    if action is None:
        return False
    return action.expires_at + (timedelta() if is_given_up(payment) else AFTER_THE_ORDER) <= at


def is_given_up(payment: Payment) -> bool:
    """Return whether somebody, or the order's end, has given up a `payment` without a verdict."""
    return payment.unwanted or payment.cancel_request is not None


def expire(payment: Payment, change: Change) -> Payment:
    """Return a waiting `payment` whose time is over now, so that a job ends it. It is unchanged if
    its time was over before."""
    action = payment.next_action
    if action is None or action.expires_at <= change.at:
        return payment
    over = msgspec.structs.replace(action, expires_at=change.at)
    return msgspec.structs.replace(payment, next_action=over)
