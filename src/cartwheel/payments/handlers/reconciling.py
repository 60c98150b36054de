"""Finding the outcome of payments that were interrupted, or that wait for their customer."""

from datetime import timedelta

from cartwheel.contracts.payments import PaymentStatus
from cartwheel.kernel import Change, Clock, for_each, utc_now
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import ActionRequired, CardProvider, Outcome

UNDECIDED_AFTER = timedelta(seconds=30)
"""A verdict takes at most 10 s. A payment that has none after this time was interrupted."""

LOOK_AGAIN_AFTER = timedelta(seconds=20)
"""How often the provider is asked about a payment that waits for its customer. Its webhook comes
earlier, unless it is lost."""


async def reconcile(*, payments: Payments, cards: CardProvider, now: Clock = utc_now) -> None:
    """Settle payments whose verdict was lost or never arrived.

    One whose customer has to act waits for them. Of any other the provider voids the payment, so
    that nothing more can happen, and answers what has happened. Captured money stays a payment.
    Anything else is rejected and does not count as an attempt.
    """

    async def clear_up(payment_id: str) -> None:
        payment = await payments.get(payment_id)
        if payment.status is not PaymentStatus.AWAITING_PAYMENT:
            return  # the verdict arrived after the job found the payment
        outcome = await cards.look_up(payment.id)
        waits = outcome is not None and isinstance(outcome.verdict, ActionRequired)
        if outcome is None or not waits or payment.cancel_request:
            outcome = await cards.cancel(payment.id)
        by = Change(by=cards.name, at=now())
        await payments.change(payment.id, domain.settle_by_provider, outcome, by=by, known=payment)

    undecided = payments.undecided(cards.name, after=UNDECIDED_AFTER)
    await for_each("reconcile payments", undecided, clear_up, now=now)


async def end_actions(*, payments: Payments, cards: CardProvider, now: Clock = utc_now) -> None:
    """Settle payments that wait for their customer, who has acted, or whose time is over.

    After that time the provider cancels the payment, so that it can no longer be approved, or
    answers that it was. It is asked first, because to cancel voids what was only authorized.
    """
    acting = payments.acting(cards.name)

    async def settle(payment: Payment, outcome: Outcome) -> Payment:
        by = Change(by=cards.name, at=now())
        return await payments.change(
            payment.id, domain.settle_by_provider, outcome, by=by, known=payment
        )

    async def end(payment_id: str) -> None:
        payment = await payments.get(payment_id)
        at = now()
        if not domain.requires_action(payment):
            return  # the verdict arrived after the job found the payment
        if not domain.is_given_up(payment):
            outcome = await cards.look_up(payment.id)
            payment = await settle(payment, outcome) if outcome else payment
        if not domain.requires_action(payment):
            return
        if domain.is_over(payment, at):
            await settle(payment, await cards.cancel(payment.id))
        else:
            await acting.look_again([payment.id], at=at + LOOK_AGAIN_AFTER)

    await for_each("end actions", acting, end, now=now)
