"""Finding the outcome of card payments that were interrupted."""

from datetime import timedelta

from cartwheel.contracts.payments import PaymentStatus
from cartwheel.kernel import Change, Clock, for_each, utc_now
from cartwheel.payments import domain
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import CardProvider

UNDECIDED_AFTER = timedelta(seconds=30)
"""A verdict takes at most 10 s. A payment that has none after this time was interrupted."""


async def reconcile(*, payments: Payments, cards: CardProvider, now: Clock = utc_now) -> None:
    """Settle card payments whose verdict was lost or never arrived.

    The provider voids the payment, so that nothing more can happen, and answers what has happened.
    Captured money stays a payment. Anything else is rejected and does not count as an attempt.
    """

    async def clear_up(payment_id: str) -> None:
        payment = await payments.get(payment_id)
        if payment.status is not PaymentStatus.AWAITING_PAYMENT:
            return  # the verdict arrived after the job found the payment
        outcome = await cards.cancel(payment.id)
        by = Change(by=cards.name, at=now())
        await payments.change(payment.id, domain.settle_by_provider, outcome, by=by, known=payment)

    undecided = payments.undecided(cards.name, after=UNDECIDED_AFTER)
    await for_each("reconcile payments", undecided, clear_up, now=now)
