"""Clearing up what was interrupted between the provider and us."""

from datetime import timedelta

from cartwheel.contracts.payments import PaymentStatus
from cartwheel.kernel import Change, Clock, for_each, utc_now
from cartwheel.payments import domain
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import CardProvider

UNDECIDED_AFTER = timedelta(seconds=30)
"""A card's verdict takes 10 s at most; a payment without one after this was interrupted."""


async def reconcile(*, payments: Payments, cards: CardProvider, now: Clock = utc_now) -> None:
    """Clear up payments that were interrupted between the provider and us.

    The provider is told to let nothing more happen, and says what has: taken money is kept, and
    anything else is rejected without counting as an attempt.
    """

    async def clear_up(payment_id: str) -> None:
        payment = await payments.get(payment_id)
        if payment.status is not PaymentStatus.AWAITING_PAYMENT:
            return  # its verdict has come since the job looked
        outcome = await cards.cancel(payment.id)
        by = Change(by=cards.name, at=now())
        await payments.change(payment.id, domain.settle_by_provider, outcome, by=by, known=payment)

    undecided = payments.undecided(cards.name, after=UNDECIDED_AFTER)
    await for_each("reconcile payments", undecided, clear_up, now=now)
