"""Comparing payments with the provider's ledger, and taking over what the provider says."""

from collections.abc import Awaitable
from typing import TypeVar

from cartwheel.contracts.identity import Actor, require_admin
from cartwheel.contracts.ledger import (
    Difference,
    DifferenceKind,
    EntryKind,
    GetPaymentAtProvider,
    LedgerEntry,
    ListLedger,
    PaymentAtProvider,
    Reconciled,
    ReconcilePayment,
)
from cartwheel.contracts.payments import Failure, Method, PaymentNotFound, ReportRefund
from cartwheel.kernel import Change, Clock, Page, log, utc_now
from cartwheel.kernel.errors import Outage, Unavailable
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import CardProvider

Answer = TypeVar("Answer")

ACTOR = Actor.service("payments")
REFUND_FAILED = Failure(code="refund_failed", message="The refund was not made.")

MOST_ENTRIES = 1000
"""Entries on a page of the ledger, however many are asked for."""


async def get_payment_at_provider(
    request: GetPaymentAtProvider, *, payments: Payments, cards: CardProvider
) -> PaymentAtProvider:
    require_admin(request.actor, "see payments at their provider")
    payment = await payments.get(request.payment_id)
    entries: list[LedgerEntry] = []
    if payment.method is not Method.CASH_ON_DELIVERY:
        entries = await _asked(cards, cards.entries_of(payment.id))
    return PaymentAtProvider(
        payment_id=payment.id,
        provider=payment.provider,
        reference=payment.provider_reference,
        entries=entries,
        differences=domain.differences(payment, entries, cards.name),
    )


async def list_ledger(request: ListLedger, *, cards: CardProvider) -> Page[LedgerEntry]:
    require_admin(request.actor, "read the provider's ledger")
    return await _asked(
        cards,
        cards.ledger(
            since=request.since,
            until=request.until,
            limit=min(request.limit, MOST_ENTRIES),
            cursor=request.cursor,
        ),
    )


async def reconcile_payment(
    request: ReconcilePayment, *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> Reconciled:
    """Compare a payment with the ledger, and repair it if that is wanted.

    Each repair is a write of its own. If payments dies between two, a repeat does the rest.

    Raises:
        Forbidden: the actor is no admin.
        Unavailable: the provider does not answer.
    """
    require_admin(request.actor, "reconcile payments")
    payment = await _known(request.payment_id, payments)
    # The ledger is read after the payment: what it has learned meanwhile is too young to compare.
    entries = await _asked(cards, cards.entries_of(request.payment_id))
    if domain.in_progress(payment, entries, at=now()):
        return Reconciled(payment_id=request.payment_id, differences=[], left=[])
    found = left = domain.differences(payment, entries, cards.name)
    if request.repair and payment is not None:
        by = Change(by=cards.name, at=now())
        for each in found:
            if each.repairable:
                payment = await _repair(payment, each, entries, by, payments, cards)
        left = domain.differences(payment, entries, cards.name)
        if left != found:
            repaired = len(found) - len(left)
            by_whom = request.actor.user_id
            log.info("payment reconciled", payment_id=payment.id, repaired=repaired, by=by_whom)
    return Reconciled(payment_id=request.payment_id, differences=found, left=left)


async def _repair(
    payment: Payment,
    difference: Difference,
    entries: list[LedgerEntry],
    by: Change,
    payments: Payments,
    cards: CardProvider,
) -> Payment:
    """Return `payment` with what the provider says, as if its lost webhook had arrived."""
    if difference.kind is DifferenceKind.NOT_HERE:
        outcome = await _asked(cards, cards.look_up(payment.id))
        if outcome is None:
            return payment
        return await payments.change(
            payment.id, domain.settle_by_provider, outcome, by=by, known=payment
        )
    if difference.refund_id is None or difference.here is None:
        return payment
    report = ReportRefund(
        provider=cards.name,
        payment_id=payment.id,
        refund_id=difference.refund_id,
        failure=_why(difference.refund_id, entries),
        amount=difference.here,
        actor=ACTOR,
    )
    return await payments.change(
        payment.id, domain.refund_failed_as_told, report, by=by, known=payment
    )


def _why(refund_id: str, entries: list[LedgerEntry]) -> Failure:
    for each in entries:
        if each.kind is EntryKind.REFUND_FAILED and each.refund_id == refund_id and each.failure:
            return each.failure
    return REFUND_FAILED


async def _known(payment_id: str, payments: Payments) -> Payment | None:
    try:
        return await payments.get(payment_id)
    except PaymentNotFound:
        return None


async def _asked(cards: CardProvider, asking: Awaitable[Answer]) -> Answer:
    try:
        return await asking
    except Outage as outage:
        raise Unavailable(f"{cards.name} did not answer: {outage}") from outage
