"""Clearing up what was interrupted between the provider and us."""

from datetime import timedelta

from cartwheel.contracts.payments import PaymentStatus
from cartwheel.kernel import jobs
from cartwheel.kernel.messages import Clock
from cartwheel.payments.handlers.changing import change_known, find, settled
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import CardProvider

UNDECIDED_AFTER = timedelta(seconds=30)
"""A card's verdict takes 10 s at most; a payment without one after this was interrupted."""


async def reconcile(*, payments: Payments, cards: CardProvider, now: Clock) -> None:
    """Clear up payments that were interrupted between the provider and us.

    The provider is told to let nothing more happen, and says what has: taken money is kept, and
    anything else is rejected without counting as an attempt.
    """

    async def clear_up(payment_id: str) -> None:
        payment = await find(payment_id, payments)
        if payment.status is not PaymentStatus.AWAITING_PAYMENT:
            return  # its verdict has come since the job looked
        outcome = await cards.cancel(payment.id)
        await change_known(payment, settled(cards.name, outcome, now), payments)

    undecided = payments.undecided(cards.name, after=UNDECIDED_AFTER)
    await jobs.for_each("reconcile payments", undecided, clear_up, now=now)
