"""How a stored payment is changed: read, decide, store."""

from collections.abc import Callable

from cartwheel.contracts.payments import PaymentNotFound
from cartwheel.kernel import optimistic
from cartwheel.kernel.messages import Cause, Clock
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import Outcome


async def change(
    payment_id: str, decide: Callable[[Payment], Payment], payments: Payments
) -> Payment:
    return await optimistic.change(lambda: find(payment_id, payments), decide, payments.save)


async def change_known(
    payment: Payment, decide: Callable[[Payment], Payment], payments: Payments
) -> Payment:
    """As `change`, where `payment` is as it was last stored or read: that spares a read."""
    return await optimistic.change(
        lambda: find(payment.id, payments), decide, payments.save, known=payment
    )


def settled(by: str, outcome: Outcome, now: Clock) -> Callable[[Payment], Payment]:
    """Return how a payment is changed that ended so, as the provider `by` says."""
    return lambda payment: domain.settle_by(by, payment, outcome, at=now())


def token_refused(by: str, now: Clock) -> Callable[[Payment], Payment]:
    """Return how a payment is changed whose token the provider `by` does not take."""
    return lambda payment: domain.refuse_token(payment, cause=Cause(by=by), at=now())


async def find(payment_id: str, payments: Payments) -> Payment:
    payment = await payments.get(payment_id)
    if payment is None:
        raise PaymentNotFound("there is no such payment")
    return payment
