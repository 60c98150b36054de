"""Making a payment, and what others say became of it."""

import asyncio

from cartwheel.contracts.orders import GetPayableOrder
from cartwheel.contracts.payments import (
    CardToken,
    CardTokenInvalid,
    ConfirmPayment,
    CreatePayment,
    Method,
    PaymentInProgress,
    PaymentStatus,
    PaymentView,
    ReportVerdict,
)
from cartwheel.kernel.bus import time_left
from cartwheel.kernel.errors import (
    FieldError,
    Forbidden,
    IdempotencyKeyReused,
    Outage,
    OutcomeUnknown,
    Refusal,
    Unavailable,
)
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import Asks, Cause, Clock, Created
from cartwheel.kernel.telemetry import log
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.handlers.changing import change, change_known, find, settled, token_refused
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import (
    Captured,
    CardProvider,
    Charge,
    Declined,
    Outcome,
    TokenRefused,
    Verdict,
    Voided,
)

_LOOK_AGAIN = 0.1
"""Seconds between two looks at a payment that the same request is making at this moment."""


async def create_payment(
    request: CreatePayment, *, payments: Payments, cards: CardProvider, bus: Asks, now: Clock
) -> Created[PaymentView]:
    """Store a payment, then charge its card. Nothing is looked up first: unique indexes tell what
    was there before, and only then is it read."""
    try:
        payable = await bus.request(
            GetPayableOrder(
                order_id=request.order_id,
                user_id=request.actor.user_id,
                shipping_address=request.shipping_address,
            )
        )
    except (Refusal, Outage):
        # An order that this very request has paid is not payable any more.
        earlier = await payments.made_by(request.request_id)
        if earlier is None:
            raise
        return await _replay(earlier, request, payments)
    payment_id = request.payment_id or new_id("pay")
    while True:
        payment = domain.begin(
            request,
            payable,
            payment_id=payment_id,
            provider=cards.name if isinstance(request.method, CardToken) else "cash",
            at=now(),
        )
        if await payments.add(payment):
            break
        earlier = await payments.made_by(request.request_id)
        if earlier is not None:
            return await _replay(earlier, request, payments)
        declined = await payments.declined(request.order_id)
        request, payable = domain.after_declines(declined, request, payable)
    if isinstance(request.method, CardToken):
        try:
            outcome = await cards.charge(
                Charge(payment_id=payment.id, amount=payment.amount, token=request.method.token)
            )
            ended = settled(cards.name, outcome, now)
        except Outage as outage:
            # Nothing is charged again to find out: `reconcile` asks the provider.
            raise OutcomeUnknown(f"{cards.name} did not answer: {outage}") from outage
        except TokenRefused:
            ended = token_refused(cards.name, now)
        payment = await change_known(payment, ended, payments)
    return _answer(payment)


async def _replay(
    payment: Payment, request: CreatePayment, payments: Payments
) -> Created[PaymentView]:
    """Answer what the same request has made, or is making at this moment."""
    if payment.body_hash != request.body_hash:
        raise IdempotencyKeyReused("this Idempotency-Key was used for another payment")
    while _is_running(payment) and time_left.at_most(10.0) > 1.0:
        await asyncio.sleep(_LOOK_AGAIN)
        payment = await find(payment.id, payments)
    if _is_running(payment):
        raise PaymentInProgress("this payment is still running")
    return _answer(payment, replayed=True)


def _is_running(payment: Payment) -> bool:
    return payment.method is Method.CARD and payment.status is PaymentStatus.AWAITING_PAYMENT


def _answer(payment: Payment, *, replayed: bool = False) -> Created[PaymentView]:
    """Raises CardTokenInvalid for a payment whose token the provider has not taken."""
    if domain.was_token_refused(payment):
        raise CardTokenInvalid(
            domain.TOKEN_REFUSED.message,
            errors=[FieldError("method.token", "is unknown or was used before")],
        )
    return Created(made=payment.view(), replayed=replayed)


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


async def report_verdict(
    request: ReportVerdict, *, payments: Payments, cards: CardProvider, now: Clock
) -> None:
    """A provider's webhook tells how a payment ended: perhaps late, repeated, or out of order.

    One that does not match its payment is not believed. It changes nothing by itself, and the
    provider is asked, once, what has really happened.

    Raises:
        Unavailable: the provider does not answer; nothing was changed.
    """

    def believe(payment: Payment) -> Payment:
        if domain.differing(payment, request):
            return payment
        outcome = Outcome(_verdict(request, payment), request.reference, request.card)
        return settled(request.provider, outcome, now)(payment)

    payment = await change(request.payment_id, believe, payments)
    differing = domain.differing(payment, request)
    if not differing:
        return
    log.warning(
        "a webhook does not match its payment",
        payment_id=payment.id,
        order_id=payment.order_id,
        provider=request.provider,
        differing=differing,
    )
    await payments.disbelieved(payment.id)
    try:
        outcome = await cards.look_up(payment.id)
    except Outage as outage:
        raise Unavailable(f"{cards.name} did not answer: {outage}") from outage
    if outcome is not None:
        await change_known(payment, settled(cards.name, outcome, now), payments)


def _verdict(report: ReportVerdict, payment: Payment) -> Verdict:
    """Return the verdict of a report that matches its payment, the amount included."""
    if report.captured:
        return Captured(payment.amount)
    if report.failure is not None:
        return Declined(code=report.failure.code, message=report.failure.message)
    return Voided()
