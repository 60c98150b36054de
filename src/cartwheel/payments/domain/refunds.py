"""Refunds: what is left of a captured amount, and how each refund ends.

                       PENDING ──made──► SUCCEEDED ──it comes back──► FAILED
                          └──the provider refuses it──► FAILED, CANCELED

What is left is decided in `left` alone. A refund is first stored, on a document whose version
guards the write, and made at the provider after that. So two refunds of 60 % cannot both be stored,
whoever asks for them. A refund's id is its key towards the provider. It comes from the request, the
order, or, for all that is left, from the payment, so each is made once.
"""

import uuid

import msgspec

from cartwheel.contracts.idempotency import check_repeated
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    MOST_REFUNDS,
    CreateRefund,
    DisputeStatus,
    Failure,
    PaymentDisputed,
    PaymentNotCaptured,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentStatus,
    RefundExceedsCapture,
    RefundInvalid,
    RefundStatus,
    ReportRefund,
    TooManyRefunds,
)
from cartwheel.kernel import Change
from cartwheel.kernel.errors import FieldError
from cartwheel.payments.domain.payment import Owed, Payment, Refund, changed
from cartwheel.providers.port import REFUNDED, RefundOutcome

_NAMESPACE = uuid.UUID("2b1c8f0a-6a5d-5c0e-8d0b-3f4f6a0c9e51")

PAID = (PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)
"""The statuses of a payment whose exact amount was captured."""

NOT_MADE = (RefundStatus.FAILED, RefundStatus.CANCELED)

NOTHING_LEFT = Failure(
    code=RefundExceedsCapture.code, message="Nothing is left of the captured money."
)


def captured(payment: Payment) -> Money | None:
    """Return what the payment's own provider captured; None if that is nothing."""
    if payment.captured is not None:
        return payment.captured
    return payment.amount if payment.status in PAID else None  # stored before `captured`


def is_disputed(payment: Payment) -> bool:
    return any(each.status is DisputeStatus.NEEDS_RESPONSE for each in payment.disputes)


def left(payment: Payment) -> Money:
    """Return what can be refunded: the capture, less refunds not failed, less disputes not won.

    A dispute may follow a refund, and the two may come to more than the capture. Then nothing is
    left.
    """
    taken = captured(payment) or Money(0, payment.amount.currency)
    refunded = sum(
        each.amount.amount
        for each in payment.refunds
        if each.provider is None and each.status not in NOT_MADE
    )
    disputed = sum(
        each.amount.amount for each in payment.disputes if each.status is not DisputeStatus.WON
    )
    return Money(max(taken.amount - refunded - disputed, 0), taken.currency)


def refund_as_asked(
    payment: Payment, request: CreateRefund, price: Money | None, change: Change
) -> Payment:
    """Return `payment` with the refund that an admin asks for; unchanged if it has it already.

    `price` is what the request's lines cost.

    Raises:
        IdempotencyKeyReused: the request made another refund.
        PaymentNotCaptured, PaymentDisputed, TooManyRefunds, RefundExceedsCapture, RefundInvalid.
    """
    refund_id = id_of(request)
    made = next((each for each in payment.refunds if each.id == refund_id), None)
    if made is not None:
        check_repeated(made.body_hash, request.body_hash, made="refund")
        return payment
    if captured(payment) is None:
        raise PaymentNotCaptured(f"The payment is {payment.status}: no money was captured.")
    if is_disputed(payment):
        raise PaymentDisputed("The payment is disputed. Wait until the dispute is closed.")
    if len(payment.refunds) >= MOST_REFUNDS:
        raise TooManyRefunds(f"The payment has {len(payment.refunds)} refunds, as many as it may.")
    rest = left(payment)
    amount = price or request.amount or rest
    if amount.currency != rest.currency:
        detail = f"`amount.currency` must be {rest.currency}, the payment's."
        raise RefundInvalid(detail, errors=[FieldError("amount.currency", detail)])
    if not 0 < amount.amount <= rest.amount:
        raise RefundExceedsCapture(
            f"Only {rest.amount} {rest.currency}, in minor units, is left of the captured money.",
            members={"left": msgspec.to_builtins(rest)},
        )
    refund = Refund(
        id=refund_id,
        amount=amount,
        reason=request.reason,
        at=change.at,
        by_other_means=request.by_other_means,
        body_hash=request.body_hash,
    )
    due = _with(payment, refund, change)
    return refund_ended(due, refund_id, REFUNDED, change) if request.by_other_means else due


def id_of(request: CreateRefund) -> str:
    """Return the id of the refund that `request` makes: always the same."""
    return f"rfd_{uuid.uuid5(_NAMESPACE, request.request_id).hex}"


def refund_owed(
    payment: Payment, refund_id: str | None, amount: Money, reason: str, change: Change
) -> Payment:
    """Return `payment` with the refund that its order owes: `amount`, at most what is left.

    Without a `refund_id` the order owes all that was captured: what is left is refunded, once.
    While the payment is disputed, it is not known what will be left, so the refund waits.
    """
    if refund_id is None:
        return refund_all(payment, reason, change)
    return _owed(payment, Owed(refund_id=refund_id, amount=amount, reason=reason), change)


def refund_all(payment: Payment, reason: str, change: Change) -> Payment:
    """Return `payment` with a refund of all that is left, or that waits for a dispute."""
    refund_id = payment.id.replace("pay_", "rfd_", 1)
    return _owed(payment, Owed(refund_id=refund_id, amount=None, reason=reason), change)


def refund_what_waited(payment: Payment, change: Change) -> Payment:
    """Return `payment` with the refunds that waited for its disputes, once none is open."""
    if is_disputed(payment):
        return payment
    waited = payment.owed
    payment = msgspec.structs.replace(payment, owed=[])
    for owed in waited:
        payment = _owed(payment, owed, change)
    return payment


def _owed(payment: Payment, owed: Owed, change: Change) -> Payment:
    known = (*(each.id for each in payment.refunds), *(each.refund_id for each in payment.owed))
    if owed.refund_id in known:
        return payment
    if is_disputed(payment):
        waiting = msgspec.structs.replace(payment, owed=[*payment.owed, owed])
        return changed(waiting, "refund owed", change=change)
    rest = left(payment)
    amount = rest if owed.amount is None else min(owed.amount, rest, key=_minor_units)
    refund = Refund(id=owed.refund_id, amount=amount, reason=owed.reason, at=change.at)
    if amount.amount:
        return _with(payment, refund, change)
    if owed.amount is None:
        return payment  # it was all refunded before
    # The order waits for the answer about this refund.
    refund = msgspec.structs.replace(refund, amount=owed.amount)
    due = _with(payment, refund, change)
    return refund_ended(due, refund.id, RefundOutcome(RefundStatus.FAILED, NOTHING_LEFT), change)


def money_of_another_provider(
    payment: Payment, amount: Money, reason: str, change: Change
) -> Payment:
    """Return `payment` with a refund of what the provider `change.by`, not its own, captured."""
    refund_id = f"{payment.id.replace('pay_', 'rfd_', 1)}-{change.by}"
    if any(refund.id == refund_id for refund in payment.refunds):
        return payment
    refund = Refund(id=refund_id, amount=amount, reason=reason, provider=change.by, at=change.at)
    return _with(payment, refund, change)


def refund_ended(
    payment: Payment, refund_id: str, outcome: RefundOutcome, change: Change
) -> Payment:
    """Return `payment` with a refund SUCCEEDED, FAILED or CANCELED, as its provider answers.

    A refund that succeeded may still fail. One that failed stays so, whatever is told later. An
    event tells the order, unless the money was never part of this payment.
    """
    place, refund = next(
        (place, each) for place, each in enumerate(payment.refunds) if each.id == refund_id
    )
    if refund.status in (outcome.status, *NOT_MADE) or outcome.status is RefundStatus.PENDING:
        return payment
    ended = msgspec.structs.replace(refund, status=outcome.status, failure=outcome.failure)
    refunds = [*payment.refunds]
    refunds[place] = ended
    after = _with_status(msgspec.structs.replace(payment, refunds=refunds))
    if outcome.failure is not None:
        failed = PaymentRefundFailed(
            payment_id=payment.id,
            order_id=payment.order_id,
            refund_id=refund_id,
            amount=refund.amount,
            failure=outcome.failure,
        )
        return changed(
            after, "refund failed", *(() if refund.provider else (failed,)), change=change
        )
    made = PaymentRefunded(
        payment_id=payment.id,
        order_id=payment.order_id,
        refund_id=refund_id,
        amount=refund.amount,
    )
    # A job makes the refund, but its cause is the event that asked for it.
    dues = [entry for entry in payment.timeline if entry.type == "refund due"]
    cause = dues[place].because_of if place < len(dues) else None
    caused = msgspec.structs.replace(change, event_id=cause)
    return changed(after, "refunded", *(() if refund.provider else (made,)), change=caused)


def refund_failed_as_told(payment: Payment, report: ReportRefund, change: Change) -> Payment:
    """Return `payment` with a refund FAILED, as its provider reports.

    A report that does not match the payment is not trusted, and changes nothing.
    """
    if not tells_of_a_refund(payment, report):
        return payment
    failure = RefundOutcome(RefundStatus.FAILED, report.failure)
    return refund_ended(payment, report.refund_id, failure, change)


def tells_of_a_refund(payment: Payment, report: ReportRefund) -> bool:
    """Return whether `report` is about a refund that its provider makes for this payment."""
    return any(
        each.id == report.refund_id
        and each.amount == report.amount
        and (each.provider or payment.provider) == report.provider
        and not each.by_other_means
        for each in payment.refunds
    )


def _with(payment: Payment, refund: Refund, change: Change) -> Payment:
    due = msgspec.structs.replace(payment, refunds=[*payment.refunds, refund])
    return changed(due, "refund due", change=change)


def _with_status(payment: Payment) -> Payment:
    """Return a paid `payment` with the status that its refunds give it.

    A REFUNDED payment is not live, and stays so if a refund comes back: its order may have another
    live payment by then.
    """
    if payment.status not in PAID:
        return payment
    returned = sum(
        each.amount.amount
        for each in payment.refunds
        if each.status is RefundStatus.SUCCEEDED and each.provider is None
    )
    if not returned:
        return msgspec.structs.replace(payment, status=PaymentStatus.PAID)
    if returned < (captured(payment) or payment.amount).amount:
        return msgspec.structs.replace(payment, status=PaymentStatus.PARTIALLY_REFUNDED)
    return msgspec.structs.replace(payment, status=PaymentStatus.REFUNDED, live=False, attempt=None)


def _minor_units(money: Money) -> int:
    return money.amount
