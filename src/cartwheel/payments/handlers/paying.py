"""Making a payment, and what others say became of it."""

import asyncio

from cartwheel.contracts.orders import GetPayableOrder, InvalidTransition
from cartwheel.contracts.payments import (
    CardToken,
    ConfirmPayment,
    CreatePayment,
    PaymentInProgress,
    PaymentStatus,
    PaymentView,
    ReportVerdict,
)
from cartwheel.kernel.bus import deadline
from cartwheel.kernel.errors import Forbidden, IdempotencyKeyReused, Outage, OutcomeUnknown
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import Asks, Cause, Clock, Created
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.handlers.changing import change, change_known, find, settled
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import (
    Captured,
    CardProvider,
    Charge,
    Declined,
    Outcome,
    Verdict,
    Voided,
)

_LOOK_AGAIN = 0.1
"""Seconds between two looks at a payment that the same request is making at this moment."""


async def create_payment(
    request: CreatePayment, *, payments: Payments, cards: CardProvider, bus: Asks, now: Clock
) -> Created[PaymentView]:
    earlier = await payments.made_by(request.request_id)
    if earlier is not None:
        return await _replay(earlier, request, payments)
    payable = await bus.request(
        GetPayableOrder(
            order_id=request.order_id,
            user_id=request.actor.user_id,
            shipping_address=request.shipping_address,
        )
    )
    # Orders learns of a decline a moment later; without this, a fourth attempt could slip in.
    # And were this one the slower by a decline, its number would be taken when it is added.
    declines = await payments.declines(request.order_id)
    if declines >= payable.attempts:
        raise InvalidTransition("too many payments of this order were declined")
    payment = domain.begin(
        request,
        payable,
        payment_id=new_id("pay"),
        attempt=declines + 1,
        provider=cards.name if isinstance(request.method, CardToken) else "cash",
        at=now(),
    )
    if not await payments.add(payment):
        earlier = await payments.made_by(request.request_id)
        if earlier is None:
            raise PaymentInProgress("the order has a payment that is running, waiting or done")
        return await _replay(earlier, request, payments)
    if isinstance(request.method, CardToken):
        try:
            outcome = await cards.charge(
                Charge(payment_id=payment.id, amount=payment.amount, token=request.method.token)
            )
        except Outage as outage:
            # Nothing is charged again to find out: `reconcile` asks the provider.
            raise OutcomeUnknown(f"{cards.name} did not answer: {outage}") from outage
        payment = await change_known(payment, settled(cards.name, outcome, now), payments)
    return Created(made=payment.view())


async def _replay(
    payment: Payment, request: CreatePayment, payments: Payments
) -> Created[PaymentView]:
    """Answer what the same request has made, or is making at this moment."""
    if payment.body_hash != request.body_hash:
        raise IdempotencyKeyReused("this Idempotency-Key was used for another payment")
    while _is_running(payment) and deadline.left(10.0) > 1.0:
        await asyncio.sleep(_LOOK_AGAIN)
        payment = await find(payment.id, payments)
    if _is_running(payment):
        raise PaymentInProgress("this payment is still running")
    return Created(made=payment.view(), replayed=True)


def _is_running(payment: Payment) -> bool:
    return payment.card is not None and payment.status is PaymentStatus.AWAITING_PAYMENT


async def confirm_payment(
    request: ConfirmPayment, *, payments: Payments, now: Clock
) -> PaymentView:
    if not request.actor.admin:
        raise Forbidden("only an admin confirms payments")
    cause = Cause(by=request.actor.user_id)
    payment = await change(
        request.payment_id,
        lambda payment: domain.confirm_cash(payment, cause=cause, at=now()),
        payments,
    )
    return payment.view()


async def report_verdict(request: ReportVerdict, *, payments: Payments, now: Clock) -> None:
    """A provider's webhook tells how a payment ended: perhaps late, repeated, or out of order."""
    verdict: Verdict
    if request.captured:
        verdict = Captured()
    elif request.failure is not None:
        verdict = Declined(code=request.failure.code, message=request.failure.message)
    else:
        verdict = Voided()
    outcome = Outcome(verdict, request.reference)
    await change(request.payment_id, settled(request.provider, outcome, now), payments)
