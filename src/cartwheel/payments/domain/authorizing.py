"""Authorizations: what may become of money that the provider has only reserved.

    AWAITING_PAYMENT ──authorized──► AUTHORIZED ──captured──► PAID
                                         └──voided, or lapsed──► CANCELED

What is to become of an authorization is first stored, on a document whose version guards the write,
and done at the provider after that: by the request that wants it, or by a job. The provider
captures or voids it once, so whoever comes second gets the first outcome.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from cartwheel.contracts.fulfilment import CaptureFailed
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    Failure,
    PaymentAuthorized,
    PaymentCanceled,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentStatus,
)
from cartwheel.kernel import Change
from cartwheel.payments.domain.actions import is_given_up
from cartwheel.payments.domain.payment import Decided, Payment, Wanted, changed
from cartwheel.payments.domain.refunds import PAID, refund_all
from cartwheel.providers.port import Authorized, Captured, Verdict, Voided

EXPIRING = timedelta(hours=12)
"""This long before it lapses, an authorization is captured or voided."""

INTERRUPTED = timedelta(seconds=30)
"""A capture takes at most 10 s. One that has no outcome after this time was interrupted."""

TOO_LATE = timedelta(minutes=10)
"""A capture that fails so shortly before the authorization lapses is not tried again."""

LAPSED = Failure(
    code="authorization_lapsed",
    message="The money was reserved for too long, and is yours again.",
)


class Expiring(StrEnum):
    """What becomes of an authorization that is about to lapse."""

    CAPTURE = "capture"
    VOID = "void"


def authorized(payment: Payment, verdict: Authorized, change: Change) -> Payment:
    """Return a `payment` without a verdict as AUTHORIZED.

    Unchanged if another amount is authorized, or if the payment was given up: whoever gave it up,
    or the job after them, voids it at the provider.
    """
    if verdict.amount != payment.amount or is_given_up(payment):
        return payment
    reserved = msgspec.structs.replace(
        payment,
        status=PaymentStatus.AUTHORIZED,
        authorized=verdict.amount,
        capture_before=verdict.capture_before,
        act_at=_expiring(verdict.capture_before, change.at),
    )
    event = PaymentAuthorized(
        payment_id=payment.id,
        order_id=payment.order_id,
        amount=verdict.amount,
        capture_before=verdict.capture_before,
        shipping_address=payment.shipping_address,
    )
    return changed(reserved, "authorized", event, change=change)


def capture_asked(payment: Payment, amount: Money, change: Change) -> Payment:
    """Return an AUTHORIZED `payment` with the decision to capture `amount`; a PAID one unchanged.

    Raises:
        CaptureFailed: it is neither, or it is being voided.
    """
    if payment.status in PAID:
        return payment
    decided = payment.decided
    if payment.status is not PaymentStatus.AUTHORIZED:
        raise CaptureFailed(f"The payment is {payment.status}: no money is reserved.")
    if decided is not None and decided.wanted is Wanted.VOID:
        raise CaptureFailed("The reserved money is being released.")
    if decided is not None:
        return payment
    return _decide(payment, Decided(wanted=Wanted.CAPTURE, amount=amount), change)


def capture_failed(payment: Payment, failure: Failure, change: Change) -> Payment:
    """Return `payment` without the capture that its provider refuses, and tell operations.

    It can be captured again while there is time. When there is none, it is voided.
    """
    if payment.status is not PaymentStatus.AUTHORIZED or payment.decided is None:
        return payment
    before = payment.capture_before or change.at
    again = msgspec.structs.replace(payment, decided=None, act_at=_expiring(before, change.at))
    if before - change.at < TOO_LATE:
        decided = Decided(wanted=Wanted.VOID, failure=LAPSED)
        again = msgspec.structs.replace(payment, decided=decided, act_at=change.at)
    event = PaymentCaptureFailed(
        payment_id=payment.id,
        order_id=payment.order_id,
        amount=payment.decided.amount or payment.amount,
        failure=failure,
    )
    return changed(again, "capture failed", event, change=change)


def void_owed(payment: Payment, why: Failure, change: Change) -> Payment:
    """Return an AUTHORIZED `payment` with the decision to void it; others unchanged.

    If it is being captured, the provider decides which comes first. Captured money is refunded when
    the order asks for it.
    """
    void = payment.decided is not None and payment.decided.wanted is Wanted.VOID
    if payment.status is not PaymentStatus.AUTHORIZED or void:
        return payment
    return _decide(payment, Decided(wanted=Wanted.VOID, failure=why), change)


def expiring(payment: Payment, wanted: Expiring, change: Change) -> Payment:
    """Return an AUTHORIZED `payment` that is about to lapse as captured or voided, as is wanted."""
    due = payment.act_at is not None and payment.act_at <= change.at
    if payment.status is not PaymentStatus.AUTHORIZED or payment.decided is not None or not due:
        return payment
    if wanted is Expiring.CAPTURE:
        return _decide(payment, Decided(wanted=Wanted.CAPTURE, amount=payment.amount), change)
    return _decide(payment, Decided(wanted=Wanted.VOID, failure=LAPSED), change)


def authorization_ended(payment: Payment, verdict: Verdict, change: Change) -> Payment:
    """Return an AUTHORIZED `payment` as its provider has ended it: captured, voided or lapsed.

    Any amount but the wanted one is refunded.
    """
    match verdict:
        case Captured(amount=money) if money == wanted_amount(payment):
            paid = msgspec.structs.replace(
                _ended(payment), status=PaymentStatus.PAID, captured=money
            )
            event = PaymentCaptured(
                payment_id=payment.id,
                order_id=payment.order_id,
                amount=money,
                shipping_address=payment.shipping_address,
            )
            return changed(paid, "captured", event, change=change)
        case Captured(amount=money):
            taken = msgspec.structs.replace(_canceled(payment, change), captured=money)
            return refund_all(taken, "Another amount was captured than was wanted.", change)
        case Voided():
            return _canceled(payment, change)
        case _:
            return payment


def wanted_amount(payment: Payment) -> Money:
    """Return what is to be captured of an authorized payment."""
    decided = payment.decided
    return (decided.amount if decided else None) or payment.amount


def _decide(payment: Payment, decided: Decided, change: Change) -> Payment:
    capture = decided.wanted is Wanted.CAPTURE
    # Whoever wants a capture makes it at once. The job makes it only if that was interrupted.
    at = change.at + INTERRUPTED if capture else change.at
    waiting = msgspec.structs.replace(payment, decided=decided, act_at=at)
    return changed(waiting, "capture asked for" if capture else "void asked for", change=change)


def _canceled(payment: Payment, change: Change) -> Payment:
    why = payment.decided.failure if payment.decided else None
    canceled = msgspec.structs.replace(
        _ended(payment),
        status=PaymentStatus.CANCELED,
        live=False,
        attempt=None,
        failure=why or LAPSED,
    )
    event = PaymentCanceled(payment_id=payment.id, order_id=payment.order_id)
    return changed(canceled, "canceled", event, change=change)


def _ended(payment: Payment) -> Payment:
    return msgspec.structs.replace(payment, capture_before=None, act_at=None, decided=None)


def _expiring(before: datetime, at: datetime) -> datetime:
    """Return when to look at an authorization: `EXPIRING` before it lapses, or half-way there."""
    return before - min(EXPIRING, (before - at) / 2)
