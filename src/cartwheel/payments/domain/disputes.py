"""Disputes (chargebacks): the customer's bank takes money back, and the provider decides.

    NEEDS_RESPONSE ──► WON, or LOST

While a dispute is open, nothing is refunded, and what the order owes waits. Reports may come in any
order, so a closed dispute stays closed.
"""

import msgspec

from cartwheel.contracts import text
from cartwheel.contracts.payments import (
    Dispute,
    DisputeStatus,
    PaymentDisputeClosed,
    PaymentDisputeOpened,
    ReportDispute,
)
from cartwheel.kernel import Change
from cartwheel.payments.domain.payment import Payment, changed
from cartwheel.payments.domain.refunds import captured, refund_what_waited

LONGEST_REASON = 100
"""How many characters of a provider's reason are stored."""

MOST_DISPUTES = 20
"""A provider has one dispute of a payment, or a few. More would be a fault of its own."""


def dispute_reported(payment: Payment, report: ReportDispute, change: Change) -> Payment:
    """Return `payment` with the dispute as its provider reports it.

    A report that does not match the payment is not trusted, and changes nothing.
    """
    if report.amount is None or not tells_of(payment, report):
        return payment
    known = next((each for each in payment.disputes if each.id == report.dispute_id), None)
    if known is None:
        known = Dispute(
            id=report.dispute_id,
            amount=report.amount,
            status=DisputeStatus.NEEDS_RESPONSE,
            reason=text.one_line(report.reason, longest=LONGEST_REASON),
            at=change.at,
        )
        opened = PaymentDisputeOpened(
            payment_id=payment.id,
            order_id=payment.order_id,
            dispute_id=known.id,
            amount=known.amount,
            reason=known.reason,
        )
        payment = msgspec.structs.replace(payment, disputes=[*payment.disputes, known])
        payment = changed(payment, "disputed", opened, change=change)
    if known.status is not DisputeStatus.NEEDS_RESPONSE or report.status is known.status:
        return payment
    decided = msgspec.structs.replace(known, status=report.status, closed_at=change.at)
    disputes = [decided if each.id == known.id else each for each in payment.disputes]
    closed = PaymentDisputeClosed(
        payment_id=payment.id,
        order_id=payment.order_id,
        dispute_id=known.id,
        amount=known.amount,
        won=report.status is DisputeStatus.WON,
    )
    payment = msgspec.structs.replace(payment, disputes=disputes)
    payment = changed(payment, "dispute closed", closed, change=change)
    return refund_what_waited(payment, change)


def tells_of(payment: Payment, report: ReportDispute) -> bool:
    """Return whether `report` can be about this payment."""
    taken, told = captured(payment), report.amount
    known = any(each.id == report.dispute_id for each in payment.disputes)
    return (
        report.provider == payment.provider
        and taken is not None
        and told is not None
        and told.currency == taken.currency
        and (known or len(payment.disputes) < MOST_DISPUTES)
    )
