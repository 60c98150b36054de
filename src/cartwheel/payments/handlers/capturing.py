"""Capturing and voiding what a provider has authorized."""

from cartwheel.contracts.fulfilment import CaptureFailed
from cartwheel.contracts.identity import require_service
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    CapturePayment,
    PaymentStatus,
    ReportAuthorization,
)
from cartwheel.kernel import Change, Clock, for_each, utc_now
from cartwheel.kernel.errors import Outage, OutcomeUnknown, Unavailable
from cartwheel.payments import domain
from cartwheel.payments.domain import Expiring, Payment, Wanted
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import CaptureRefused, CardProvider


async def capture_payment(
    request: CapturePayment, *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> Money:
    """Capture an authorized payment.

    The decision is stored first. So if the process dies after that, or the provider does not
    answer, the job goes on with it, and a repeat of the request gets its outcome.

    Raises:
        CaptureFailed: the issuer refuses, or the authorization has ended.
        OutcomeUnknown: the provider does not answer.
    """
    require_service(request.actor, "capture payments")
    by = Change(by=request.wanted_by, at=now())
    payment = await payments.change(request.payment_id, domain.capture_asked, request.amount, by=by)
    if payment.status is PaymentStatus.AUTHORIZED:
        try:
            payment = await _act(payment, payments, cards, now)
        except Outage as outage:
            raise OutcomeUnknown(f"{cards.name} did not answer: {outage}") from outage
    if payment.status is PaymentStatus.AUTHORIZED:
        raise CaptureFailed("The card's issuer refuses to pay what it has reserved.")
    if payment.captured is None or not payment.live:
        raise CaptureFailed("The money is no longer reserved.")
    return payment.captured


async def look_after_authorizations(
    *, payments: Payments, cards: CardProvider, expiring: Expiring, now: Clock = utc_now
) -> None:
    """Do what is decided about authorizations, and decide about those that are about to lapse."""

    async def look_after(payment_id: str) -> None:
        by = Change(by="authorizations", at=now())
        payment = await payments.change(payment_id, domain.expiring, expiring, by=by)
        if payment.status is PaymentStatus.AUTHORIZED and payment.decided is not None:
            await _act(payment, payments, cards, now)

    await for_each("look after authorizations", payments.to_act_on(), look_after, now=now)


async def report_authorization(
    request: ReportAuthorization, *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> None:
    """Ask the provider about a payment that it reports as authorized, unless that is known.

    Raises:
        Forbidden: the actor is not a service.
        Unavailable: the provider does not answer; nothing was changed.
    """
    require_service(request.actor, "report that a payment is authorized")
    payment = await payments.get(request.payment_id)
    known = payment.status not in domain.UNDECIDED
    if known or payment.provider != request.provider or cards.name != request.provider:
        return
    try:
        outcome = await cards.look_up(payment.id)
    except Outage as outage:
        raise Unavailable(f"{cards.name} did not answer: {outage}") from outage
    if outcome is not None:
        by = Change(by=cards.name, at=now())
        await payments.change(payment.id, domain.settle_by_provider, outcome, by=by, known=payment)


async def _act(payment: Payment, payments: Payments, cards: CardProvider, now: Clock) -> Payment:
    """Do at the provider what is decided about `payment`, and store the outcome."""
    decided = payment.decided
    if decided is None:
        return payment
    try:
        if decided.wanted is Wanted.CAPTURE:
            outcome = await cards.capture(payment.id, decided.amount or payment.amount)
        else:
            outcome = await cards.cancel(payment.id)
    except CaptureRefused as refused:
        by = Change(by=cards.name, at=now())
        return await payments.change(
            payment.id, domain.capture_failed, refused.failure, by=by, known=payment
        )
    by = Change(by=cards.name, at=now())
    return await payments.change(
        payment.id, domain.settle_by_provider, outcome, by=by, known=payment
    )
