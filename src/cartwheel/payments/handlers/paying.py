"""Making a payment, and recording the outcome that others report."""

import asyncio

from cartwheel.contracts.fulfilment import GiveUpCash
from cartwheel.contracts.idempotency import check_repeated
from cartwheel.contracts.identity import Actor, require_admin, require_service
from cartwheel.contracts.orders import GetPayableOrder
from cartwheel.contracts.payments import (
    CancelPayment,
    CardToken,
    CardTokenInvalid,
    CashNotAccepted,
    CashOnDelivery,
    ConfirmPayment,
    CreatePayment,
    Method,
    PaymentInProgress,
    PaymentStatus,
    PaymentView,
    ReportVerdict,
    ReturnUrlRefused,
)
from cartwheel.kernel import Bus, Change, Clock, Created, log, new_id, time_left, utc_now
from cartwheel.kernel.errors import (
    FieldError,
    Outage,
    OutcomeUnknown,
    Refusal,
    Unavailable,
)
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.domain.return_urls import NOWHERE, ReturnUrls
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import CardProvider, Charge, TokenRefused

ACTOR = Actor.service("payments")

_POLL_SECONDS = 0.1
"""How often to read a payment that a repeat of the same request is still making."""


async def create_payment(
    request: CreatePayment,
    *,
    payments: Payments,
    cards: CardProvider,
    bus: Bus,
    takes_cash: bool,
    capture: bool = True,
    return_urls: ReturnUrls = NOWHERE,
    now: Clock = utc_now,
) -> Created[PaymentView]:
    """Store a payment, then charge its card, or have its customer approve it.

    Without `capture`, the amount is only authorized.

    Nothing is looked up first. Unique indexes report a payment that exists already, and only then
    is it read.
    """
    if isinstance(request.method, CashOnDelivery) and not takes_cash:
        return await _refuse_cash(request, payments)
    if request.return_url is not None and request.return_url not in return_urls:
        return await _refuse_return_url(request, payments)
    try:
        payable = await bus.request(
            GetPayableOrder(
                order_id=request.order_id,
                user_id=request.actor.user_id,
                actor=request.actor,
                shipping_address=request.shipping_address,
            )
        )
    except (Refusal, Outage):
        # The order may be unpayable because this very request has paid it already.
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
            provider="cash" if isinstance(request.method, CashOnDelivery) else cards.name,
            at=now(),
        )
        if await payments.add(payment):
            break
        earlier = await payments.made_by(request.request_id)
        if earlier is not None:
            return await _replay(earlier, request, payments)
        declined = await payments.declined(request.order_id)
        request, payable = domain.after_declines(declined, request, payable)
    if not isinstance(request.method, CashOnDelivery):
        payment = await _charge(payment, request, capture, payments, cards, now)
    return _answer(payment)


async def _refuse_cash(request: CreatePayment, payments: Payments) -> Created[PaymentView]:
    """Return what the same request made while cash was still accepted.

    Raises CashNotAccepted.
    """
    earlier = await payments.made_by(request.request_id)
    if earlier is None:
        raise CashNotAccepted(
            "This shop takes no cash on delivery. Pay in another way.",
            errors=[FieldError("method.type", "`method.type` must not be cash_on_delivery.")],
        )
    return await _replay(earlier, request, payments)


async def _refuse_return_url(request: CreatePayment, payments: Payments) -> Created[PaymentView]:
    """Return what the same request made while its address was still allowed.

    Raises ReturnUrlRefused.
    """
    earlier = await payments.made_by(request.request_id)
    if earlier is None:
        raise ReturnUrlRefused(
            "The shop does not send customers to this address.",
            errors=[
                FieldError(
                    "return_url", "`return_url` must be below an address that the shop allows."
                )
            ],
        )
    return await _replay(earlier, request, payments)


async def _charge(
    payment: Payment,
    request: CreatePayment,
    capture: bool,
    payments: Payments,
    cards: CardProvider,
    now: Clock,
) -> Payment:
    charge = Charge(
        payment_id=payment.id,
        amount=payment.amount,
        token=request.method.token if isinstance(request.method, CardToken) else None,
        capture=capture,
        return_url=request.return_url,
    )
    try:
        outcome = await cards.charge(charge)
    except Outage as outage:
        # Do not charge again to find out: `reconcile` asks the provider.
        raise OutcomeUnknown(f"{cards.name} did not answer: {outage}") from outage
    except TokenRefused:
        by = Change(by=cards.name, at=now())
        return await payments.change(payment.id, domain.refuse_token, by=by, known=payment)
    by = Change(by=cards.name, at=now())
    return await payments.change(
        payment.id, domain.settle_by_provider, outcome, by=by, known=payment
    )


async def _replay(
    payment: Payment, request: CreatePayment, payments: Payments
) -> Created[PaymentView]:
    """Answer with the payment that the same request has made or is still making."""
    check_repeated(payment.body_hash, request.body_hash, made="payment")
    while _is_running(payment) and time_left(at_most=10.0) > 1.0:
        await asyncio.sleep(_POLL_SECONDS)
        payment = await payments.get(payment.id)
    if _is_running(payment):
        raise PaymentInProgress("This payment is still in progress. Try again in a few seconds.")
    return _answer(payment, replayed=True)


def _is_running(payment: Payment) -> bool:
    in_cash = payment.method is Method.CASH_ON_DELIVERY
    return not in_cash and payment.status is PaymentStatus.AWAITING_PAYMENT


def _answer(payment: Payment, *, replayed: bool = False) -> Created[PaymentView]:
    """Return the answer; raise CardTokenInvalid if the provider refused the payment's token."""
    if domain.was_token_refused(payment):
        raise CardTokenInvalid(
            domain.TOKEN_REFUSED.message,
            errors=[
                FieldError(
                    "method.token",
                    "`method.token` is unknown or was used before. Send a new token.",
                )
            ],
        )
    return Created(made=payment.view(), replayed=replayed)


async def confirm_payment(
    request: ConfirmPayment, *, payments: Payments, now: Clock = utc_now
) -> PaymentView:
    require_admin(request.actor, "confirm payments")
    by = Change(by=request.actor.user_id, at=now())
    payment = await payments.change(request.payment_id, domain.confirm_cash, by=by)
    return payment.view()


async def cancel_payment(
    request: CancelPayment,
    *,
    payments: Payments,
    cards: CardProvider,
    bus: Bus,
    now: Clock = utc_now,
) -> PaymentView:
    """Cancel a payment. Its provider decides, as it may have been charged by now.

    Of cash the order decides, because it may be shipped by now. If payments dies after the order
    has given the cash up, the order has its first deadline, and the repeat cancels the payment.

    Raises:
        OrderShipped: the cash is awaited at the door.
        OutcomeUnknown: the provider does not answer. `reconcile` will ask it again.
        Outage: orders does not answer about cash, which is not canceled.
    """
    by = Change(by=request.actor.user_id, at=now())
    payment = await payments.get(request.payment_id)
    wanted = domain.cancel_as_asked(payment, request, by)
    if wanted is not payment and payment.method is Method.CASH_ON_DELIVERY:
        await bus.request(
            GiveUpCash(
                order_id=payment.order_id,
                payment_id=payment.id,
                canceled_by=request.actor.user_id,
                actor=ACTOR,
            )
        )
    payment = await payments.change(
        request.payment_id, domain.cancel_as_asked, request, by=by, known=payment
    )
    if payment.status not in domain.UNDECIDED:
        return payment.view()
    try:
        outcome = await cards.cancel(payment.id)
    except Outage as outage:
        raise OutcomeUnknown(f"{cards.name} did not answer: {outage}") from outage
    by = Change(by=cards.name, at=now())
    settled = await payments.change(
        payment.id, domain.settle_by_provider, outcome, by=by, known=payment
    )
    return settled.view()


async def report_verdict(
    request: ReportVerdict, *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> None:
    """Record the outcome that a provider's webhook reports: late, repeated or out of order, too.

    A report is only a reason to ask the provider, whose answer counts: a report may be older than
    it, or about another payment. A report that would change nothing is not worth asking.

    Raises:
        Forbidden: the actor is not a service.
        Unavailable: the provider does not answer; nothing was changed.
    """
    require_service(request.actor, "report how a payment ended")
    payment = await payments.get(request.payment_id)
    differing = domain.differing(payment, request)
    if differing:
        log.warning(
            "a webhook does not match its payment",
            payment_id=payment.id,
            order_id=payment.order_id,
            provider=request.provider,
            differing=differing,
        )
        await payments.disbelieved(payment.id)
    elif domain.settle_as_told(payment, request, Change(by=request.provider, at=now())) is payment:
        return
    try:
        outcome = await cards.look_up(payment.id)
    except Outage as outage:
        raise Unavailable(f"{cards.name} did not answer: {outage}") from outage
    if outcome is not None:
        by = Change(by=cards.name, at=now())
        await payments.change(payment.id, domain.settle_by_provider, outcome, by=by, known=payment)
