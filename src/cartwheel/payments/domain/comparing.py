"""How a payment differs from what its provider's ledger says.

Only money is compared: what was captured, and each refund. A refund that is PENDING differs from
nothing, because it may or may not have been made by now.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cartwheel.contracts.ledger import Difference, DifferenceKind, EntryKind, LedgerEntry
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import RefundStatus
from cartwheel.payments.domain.payment import Payment
from cartwheel.payments.domain.refunds import captured

SETTLED_AFTER = timedelta(minutes=1)
"""A webhook, or the job that looks for lost verdicts, has told payments by then."""


def in_progress(payment: Payment | None, entries: Sequence[LedgerEntry], *, at: datetime) -> bool:
    """Return whether payments may still learn of the newest entry."""
    changes = [each.at for each in entries]
    if payment is not None:
        changes.append(payment.updated_at)
    return any(at - each < SETTLED_AFTER for each in changes)


def differences(
    payment: Payment | None, entries: Sequence[LedgerEntry], provider: str
) -> list[Difference]:
    """Return how `payment` differs from the `entries` of `provider` about it.

    Without a payment, its id is not known here.
    """
    here = _captured(payment, provider) if payment else None
    there = next((each.amount for each in entries if each.kind is EntryKind.CAPTURED), None)
    return [*_of_captures(payment, here, there), *_of_refunds(payment, entries, provider)]


def _of_captures(
    payment: Payment | None, here: Money | None, there: Money | None
) -> list[Difference]:
    if here == there:
        return []
    if there is None:
        kind = DifferenceKind.NOT_THERE
    elif here is None:
        kind = DifferenceKind.NOT_HERE
    else:
        kind = DifferenceKind.AMOUNT_DIFFERS
    # A capture that payments has not heard of settles the payment, as its webhook would have.
    repairable = kind is DifferenceKind.NOT_HERE and payment is not None
    return [Difference(kind=kind, here=here, there=there, repairable=repairable)]


def _of_refunds(
    payment: Payment | None, entries: Sequence[LedgerEntry], provider: str
) -> list[Difference]:
    made: dict[str, Money | None] = {}
    failed: set[str] = set()
    for each in entries:
        if each.kind is EntryKind.REFUNDED and each.refund_id is not None:
            made[each.refund_id] = each.amount
        elif each.kind is EntryKind.REFUND_FAILED and each.refund_id is not None:
            failed.add(each.refund_id)
    there = {refund_id: None if refund_id in failed else made[refund_id] for refund_id in made}
    here, undecided = _refunds(payment, provider) if payment else ({}, set[str]())
    return [
        Difference(
            kind=DifferenceKind.REFUND_DIFFERS,
            here=here.get(refund_id),
            there=there.get(refund_id),
            refund_id=refund_id,
            # A failure that payments has not heard of makes the money refundable again.
            repairable=refund_id in failed,
        )
        for refund_id in sorted((here.keys() | there.keys()) - undecided)
        if here.get(refund_id) != there.get(refund_id)
    ]


def _captured(payment: Payment, provider: str) -> Money | None:
    """Return what payments has noted that `provider` captured."""
    if payment.provider == provider:
        return captured(payment)
    # Money of another provider never pays a payment. All of it is one refund.
    return next((each.amount for each in payment.refunds if each.provider == provider), None)


def _refunds(payment: Payment, provider: str) -> tuple[dict[str, Money], set[str]]:
    """Return what each refund at `provider` has paid back, and the ids of those not decided."""
    refunds = [
        each
        for each in payment.refunds
        if (each.provider or payment.provider) == provider and not each.by_other_means
    ]
    made = {each.id: each.amount for each in refunds if each.status is RefundStatus.SUCCEEDED}
    return made, {each.id for each in refunds if each.status is RefundStatus.PENDING}
