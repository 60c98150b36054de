"""How a stored payment is changed: read, decide, store."""

from collections.abc import Callable

from cartwheel.contracts.payments import PaymentNotFound
from cartwheel.kernel.messages import Cause, Clock
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import Verdict


async def change(
    payment_id: str, change: Callable[[Payment], Payment], payments: Payments
) -> Payment:
    """Read, decide and store, again until nobody else has changed the payment in between."""
    while True:
        payment = await find(payment_id, payments)
        changed = change(payment)
        if changed is payment or await payments.save(changed, expected=payment):
            return changed


async def settle(
    payment_id: str, verdict: Verdict, by: str, payments: Payments, now: Clock
) -> Payment:
    return await change(
        payment_id,
        lambda payment: domain.settle(payment, verdict, cause=Cause(by=by), at=now()),
        payments,
    )


async def find(payment_id: str, payments: Payments) -> Payment:
    payment = await payments.get(payment_id)
    if payment is None:
        raise PaymentNotFound("there is no such payment")
    return payment
