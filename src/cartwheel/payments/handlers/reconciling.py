"""Clearing up what was interrupted between the provider and us."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from cartwheel.kernel.messages import Clock
from cartwheel.kernel.outages import is_outage
from cartwheel.kernel.telemetry import log
from cartwheel.payments.domain import Payment
from cartwheel.payments.handlers.changing import change_known, settled
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import CardProvider

UNDECIDED_AFTER = timedelta(seconds=30)
"""A card's verdict takes 10 s at most; a payment without one after this was interrupted."""


async def reconcile(*, payments: Payments, cards: CardProvider, now: Clock) -> None:
    """Clear up payments that were interrupted between the provider and us.

    The provider is told to let nothing more happen, and says what has: taken money is kept, and
    anything else is rejected without counting as an attempt.
    """
    async for payment in payments.undecided(cards.name, since=now() - UNDECIDED_AFTER):
        with past_what_fails("payment not reconciled", payment):
            outcome = await cards.cancel(payment.id)
            await change_known(payment, settled(cards.name, outcome, now), payments)


@contextmanager
def past_what_fails(message: str, payment: Payment) -> Generator[None]:
    """Go on after a payment that cannot be cleared up: it must not keep the others waiting."""
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise
        log.exception(message, payment_id=payment.id)
