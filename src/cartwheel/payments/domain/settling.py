"""How a payment begins, and the verdicts that end it.

    (new) ──► AWAITING_PAYMENT ──captured, or an admin has the cash──► PAID ──► REFUNDED
                    ├──the customer has to approve it (`actions`)──► REQUIRES_ACTION
                    ├──authorized──► AUTHORIZED (see `authorizing`) ──captured──► PAID
                    ├──declined, voided, or another amount captured──► REJECTED
                    └──given up by its payer, an admin, or its order──► CANCELED

A payment becomes PAID only when its own provider captures exactly its amount. Any other captured
money, and money captured for a REJECTED or CANCELED payment, is stored together with its refund.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from cartwheel.contracts import text
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import InvalidTransition, PayableOrder
from cartwheel.contracts.payments import (
    CancelPayment,
    CardSummary,
    CardToken,
    CardTokenInvalid,
    CashOnDelivery,
    CreatePayment,
    Failure,
    Method,
    NotCancelable,
    NotConfirmable,
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentInProgress,
    PaymentNotFound,
    PaymentPending,
    PaymentStatus,
    ReportVerdict,
    Wallet,
)
from cartwheel.kernel import Change, Event
from cartwheel.payments.domain.actions import (
    ACTION_EXPIRED,
    UNDECIDED,
    expire,
    require_action,
    requires_action,
)
from cartwheel.payments.domain.authorizing import (
    authorization_ended,
    authorized,
    void_owed,
    wanted_amount,
)
from cartwheel.payments.domain.payment import Payment, changed
from cartwheel.payments.domain.refunds import money_of_another_provider, refund_all
from cartwheel.providers.port import (
    ActionRequired,
    Authorized,
    Captured,
    Declined,
    Outcome,
    Verdict,
    Voided,
)

LONGEST_CODE, LONGEST_MESSAGE = 64, 300
"""How many characters of a provider's reason are stored."""

LONGEST_BRAND, LAST_DIGITS = 30, 4
"""How many characters of each card detail from a provider are stored."""

PROCESSING_ERROR = Failure(
    code="processing_error",
    message="The payment could not be processed. Nothing was charged. Please try again.",
)
AMOUNT_MISMATCH = Failure(
    code="amount_mismatch",
    message="The amount charged is not the order's total. It will be refunded. Please try again.",
)
TOKEN_REFUSED = Failure(
    code=CardTokenInvalid.code,
    message="The card token is unknown or was used before. Nothing was charged. Send a new token.",
)


def begin(
    request: CreatePayment,
    payable: PayableOrder,
    *,
    payment_id: str,
    provider: str,
    at: datetime,
) -> Payment:
    """Return a new payment of the order's total.

    Its attempt number follows the declines that `payable` counts.
    """
    in_cash = isinstance(request.method, CashOnDelivery)
    payment = Payment(
        id=payment_id,
        request_id=request.request_id,
        body_hash=request.body_hash,
        order_id=payable.order_id,
        user_id=request.actor.user_id,
        amount=payable.total,
        method=_METHODS[type(request.method)],
        provider=provider,
        provider_reference=None,
        card=None,
        status=PaymentStatus.AWAITING_PAYMENT,
        live=True,
        attempt=payable.declines + 1,
        failure=None,
        timeline=[],
        shipping_address=request.shipping_address,
        action_until=None if in_cash else payable.action_until,
        version=0,
        created_at=at,
        updated_at=at,
    )
    # A provider's answer follows at once. The order needs to know only of payments left waiting.
    pending = PaymentPending(
        payment_id=payment_id,
        order_id=payable.order_id,
        method=payment.method,
        shipping_address=request.shipping_address,
    )
    events = (pending,) if in_cash else ()
    return changed(payment, "begun", *events, change=Change(by=request.actor.user_id, at=at))


def after_declines(
    declined: Sequence[Payment], request: CreatePayment, payable: PayableOrder
) -> tuple[CreatePayment, PayableOrder]:
    """Return what to begin after declines unknown to orders kept a payment from being stored.

    Orders does not know the address of those payments either. If the request has no address, the
    last declined payment's is used.

    Raises:
        InvalidTransition: the order has used all its attempts.
        PaymentInProgress: orders knew all declines, so it was a live payment that was in the way.
    """
    if len(declined) >= payable.attempts:
        raise InvalidTransition(
            "Too many payments for this order were declined. Place a new order."
        )
    if len(declined) <= payable.declines:
        raise PaymentInProgress("The order already has a payment that is in progress or done.")
    address = request.shipping_address or declined[-1].shipping_address
    return (
        msgspec.structs.replace(request, shipping_address=address),
        msgspec.structs.replace(payable, declines=len(declined)),
    )


_METHODS = {
    CardToken: Method.CARD,
    Wallet: Method.WALLET,
    CashOnDelivery: Method.CASH_ON_DELIVERY,
}

CANCELED_ORDER = Failure(code="order_canceled", message="The order was canceled.")


def settle(payment: Payment, outcome: Outcome, change: Change) -> Payment:
    """Return `payment` with its own provider's verdict, or with what its customer has to do.

    It is unchanged if it has ended already. Money that differs from the payment's amount, or that
    was captured after the payment was rejected or canceled, becomes a refund.
    """
    told = msgspec.structs.replace(
        payment,
        provider_reference=outcome.reference or payment.provider_reference,
        card=_shown(outcome.card) if outcome.card else payment.card,
    )
    verdict = outcome.verdict
    if payment.status is PaymentStatus.AUTHORIZED:
        return authorization_ended(payment, verdict, change)
    if payment.status not in UNDECIDED:
        return _captured_too_late(payment, told, verdict, change)
    if isinstance(verdict, ActionRequired):
        waiting = require_action(told, verdict, change)
        return payment if waiting is told else waiting
    told = msgspec.structs.replace(told, next_action=None)
    if isinstance(verdict, Authorized):
        reserved = authorized(told, verdict, change)
        return payment if reserved is told else reserved
    payment = told
    match verdict:
        case Captured(amount=money) if money == payment.amount:
            paid = msgspec.structs.replace(payment, status=PaymentStatus.PAID, captured=money)
            event = PaymentCaptured(
                payment_id=payment.id,
                order_id=payment.order_id,
                amount=money,
                shipping_address=payment.shipping_address,
            )
            return changed(paid, "captured", event, change=change)
        case Captured(amount=money):
            payment = msgspec.structs.replace(payment, captured=money)
            rejected = _rejected(payment, AMOUNT_MISMATCH, counts=False, change=change)
            return refund_all(rejected, "The captured amount differs from the payment's.", change)
        case Declined(code=code, message=message, counts=counts):
            # A provider's text is shown in mail and logs, so control characters are removed.
            why = Failure(
                code=text.one_line(code, longest=LONGEST_CODE),
                message=text.one_line(message, longest=LONGEST_MESSAGE),
            )
            return _rejected(payment, why, counts=counts, change=change)
        case Voided():
            return _voided(payment, change)


def _voided(payment: Payment, change: Change) -> Payment:
    """Return a `payment` of which nothing was charged, and nothing ever will be."""
    if payment.cancel_request:
        return _canceled(payment, change)
    if payment.unwanted:
        return _canceled(payment, change, why=CANCELED_ORDER)
    why = ACTION_EXPIRED if requires_action(payment) else PROCESSING_ERROR
    return _rejected(payment, why, counts=False, change=change)


def _captured_too_late(
    payment: Payment, told: Payment, verdict: Verdict, change: Change
) -> Payment:
    """Return a payment that has ended with the refund of what was captured after that."""
    given_up = payment.status in (PaymentStatus.REJECTED, PaymentStatus.CANCELED)
    if not given_up or not isinstance(verdict, Captured) or payment.captured is not None:
        return payment
    taken = msgspec.structs.replace(told, captured=verdict.amount)
    ended = payment.status.lower()
    due = refund_all(taken, f"It was captured after the payment was {ended}.", change)
    return payment if due is taken else due


def refuse_token(payment: Payment, change: Change) -> Payment:
    """Return `payment` as REJECTED because its provider refuses the token.

    It counts as never begun: it uses no attempt, and neither the order nor a mail mentions it. It
    stays stored so that money which the provider captures despite the refusal is refunded.
    """
    if payment.status is not PaymentStatus.AWAITING_PAYMENT:
        return payment
    return _without_money(payment, TOKEN_REFUSED, counts=False, change=change)


def was_token_refused(payment: Payment) -> bool:
    """Return whether the provider refused the token, which, unlike a decline, is no attempt."""
    refused = payment.failure is not None and payment.failure.code == TOKEN_REFUSED.code
    return refused and payment.attempt is None


def settle_by_provider(payment: Payment, outcome: Outcome, change: Change) -> Payment:
    """Return `payment` with the verdict of the provider that `change.by` names.

    Money captured by a provider other than the payment's own never pays it, and is refunded.
    """
    if change.by == payment.provider:
        return settle(payment, outcome, change)
    if not isinstance(outcome.verdict, Captured):
        return payment
    reason = f"It was captured by {change.by}, not by {payment.provider}."
    return money_of_another_provider(payment, outcome.verdict.amount, reason, change)


def settle_as_told(payment: Payment, report: ReportVerdict, change: Change) -> Payment:
    """Return `payment` with the verdict that its provider reports.

    A report that does not match the payment is not trusted, and changes nothing.
    """
    if differing(payment, report):
        return payment
    verdict: Verdict = Voided()
    if report.captured:
        verdict = Captured(wanted_amount(payment))  # which the report has named, too
    elif report.failure is not None:
        verdict = Declined(code=report.failure.code, message=report.failure.message)
    outcome = Outcome(verdict, report.reference, report.card)
    return settle_by_provider(payment, outcome, change)


def give_up(payment: Payment, change: Change) -> Payment:
    """Return a payment whose order has ended: cash as CANCELED, an authorization to be voided.

    One that waits for its customer expires now. A charge that is under way ends by itself.
    """
    if payment.status is PaymentStatus.AUTHORIZED:
        return void_owed(payment, CANCELED_ORDER, change)
    if requires_action(payment):
        return _expired(payment, change)
    awaited = payment.status is PaymentStatus.AWAITING_PAYMENT
    if payment.method is not Method.CASH_ON_DELIVERY or not awaited:
        return payment
    return _canceled(payment, change, why=CANCELED_ORDER)


def _expired(payment: Payment, change: Change) -> Payment:
    if payment.unwanted:
        return payment
    unwanted = msgspec.structs.replace(expire(payment, change), unwanted=True)
    return changed(unwanted, "order ended", change=change)


def cancel_as_asked(payment: Payment, request: CancelPayment, change: Change) -> Payment:
    """Return an open `payment` as CANCELED if it is in cash, or else noting who asked for it.

    The note comes before the provider is asked. So whoever hears from it first (the request, its
    webhook, or the job after a crash) knows that the payment was given up, and no mail tells of a
    failure.

    Raises:
        PaymentNotFound: the actor is neither its payer nor an admin.
        NotCancelable: it has ended otherwise, and not by this request.
    """
    if not request.actor.admin and payment.user_id != request.actor.user_id:
        raise PaymentNotFound("There is no such payment.")
    if payment.status is PaymentStatus.CANCELED or payment.cancel_request == request.request_id:
        return payment
    if payment.status not in UNDECIDED:
        raise NotCancelable(f"The payment is {payment.status} and cannot be canceled.")
    if payment.cancel_request:
        return payment
    asked = msgspec.structs.replace(payment, cancel_request=request.request_id)
    if payment.method is Method.CASH_ON_DELIVERY:
        return _canceled(asked, change)
    return changed(expire(asked, change), "cancel asked for", change=change)


def differing(payment: Payment, report: ReportVerdict) -> list[str]:
    """Return the names of the fields in which `report` differs from `payment`.

    The reference is compared only if the payment has one: a report may arrive before the answer
    to the charge.
    """
    told = report.amount
    same = {
        "provider": report.provider == payment.provider,
        "method": report.method == payment.method,
        "amount": told is not None and told.amount == _expected(payment, report).amount,
        "currency": told is not None and told.currency == payment.amount.currency,
        "reference": payment.provider_reference in (None, report.reference),
    }
    return [name for name, agrees in same.items() if not agrees]


def _expected(payment: Payment, report: ReportVerdict) -> Money:
    """Return the amount that `report` should name: of a capture, what is wanted or was captured."""
    if not report.captured or payment.authorized is None:
        return payment.amount
    return payment.captured or wanted_amount(payment)


def confirm_cash(payment: Payment, change: Change) -> Payment:
    """Return a cash payment as PAID; unchanged if it is PAID already.

    Raises:
        NotConfirmable: the payment is not in cash, or is no longer awaited.
    """
    if payment.method is not Method.CASH_ON_DELIVERY:
        raise NotConfirmable(f"A payment by {payment.method} is confirmed by its provider.")
    if payment.status not in (PaymentStatus.AWAITING_PAYMENT, PaymentStatus.PAID):
        raise NotConfirmable(f"The payment is {payment.status} and cannot be confirmed.")
    return settle(payment, Outcome(Captured(payment.amount)), change)


def _rejected(payment: Payment, failure: Failure, *, counts: bool, change: Change) -> Payment:
    event = PaymentDeclined(
        payment_id=payment.id,
        order_id=payment.order_id,
        failure=failure,
        counts=counts,
        shipping_address=payment.shipping_address,
    )
    return _without_money(payment, failure, event, counts=counts, change=change)


def _canceled(payment: Payment, change: Change, *, why: Failure | None = None) -> Payment:
    canceled = msgspec.structs.replace(
        payment, status=PaymentStatus.CANCELED, live=False, attempt=None, failure=why
    )
    event = PaymentCanceled(payment_id=payment.id, order_id=payment.order_id)
    return changed(canceled, "canceled", event, change=change)


def _without_money(
    payment: Payment, failure: Failure, *events: Event, counts: bool, change: Change
) -> Payment:
    rejected = msgspec.structs.replace(
        payment,
        status=PaymentStatus.REJECTED,
        live=False,
        attempt=payment.attempt if counts else None,
        failure=failure,
    )
    return changed(rejected, "declined", *events, change=change)


def _shown(card: CardSummary) -> CardSummary:
    return CardSummary(
        brand=text.one_line(card.brand, longest=LONGEST_BRAND),
        last4=text.one_line(card.last4, longest=LAST_DIGITS),
    )
