"""What payments does on each message."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from cartwheel.contracts.orders import (
    GetPayableOrder,
    InvalidTransition,
    OrderCanceled,
    OrderRefundDue,
)
from cartwheel.contracts.payments import (
    CardToken,
    ConfirmPayment,
    CreatePayment,
    GetPayment,
    ListPayments,
    Method,
    PaymentInProgress,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
    Refund,
    RefundStatus,
    ReportVerdict,
)
from cartwheel.kernel.bus import deadline
from cartwheel.kernel.errors import Forbidden, IdempotencyKeyReused, Outage, OutcomeUnknown
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import Cause, Clock, CloudEvent, Created, Page, Request
from cartwheel.kernel.outages import is_outage
from cartwheel.kernel.telemetry import log
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.provider import Captured, CardProvider, Charge, Declined, Verdict, Voided

Answer = TypeVar("Answer")

UNDECIDED_AFTER = timedelta(seconds=30)
"""A card's verdict takes 10 s at most; a payment without one after this was interrupted."""

_LOOK_AGAIN = 0.1
"""Seconds between two looks at a payment that the same request is making at this moment."""


class Payments(Protocol):
    async def add(self, payment: Payment) -> bool:
        """Store a new payment.

        Return False if its request has made one, its order has a live one, or its attempt has been
        used up meanwhile.
        """
        ...

    async def get(self, payment_id: str) -> Payment | None: ...

    async def made_by(self, request_id: str) -> Payment | None: ...

    async def declines(self, order_id: str) -> int:
        """Return how many attempts of the order were declined."""
        ...

    async def save(self, payment: Payment, *, expected: Payment) -> bool:
        """Store a changed payment; return False if it is no longer as `expected`."""
        ...

    async def page(self, request: ListPayments) -> Page[PaymentView]: ...

    async def awaited(self, order_id: str) -> list[Payment]:
        """Return the order's payments that still await their verdict."""
        ...

    def to_refund(self) -> AsyncIterator[Payment]:
        """Yield the payments that have a refund to be carried out."""
        ...

    def undecided(self, provider: str, *, since: datetime) -> AsyncIterator[Payment]:
        """Yield the provider's payments that have awaited their verdict `since` then."""
        ...


class Asks(Protocol):
    async def request(self, request: Request[Answer]) -> Answer: ...


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
            payment = await _charge(payment, request.method.token, payments, cards, now)
        except Outage as outage:
            # Nothing is charged again to find out: `reconcile` asks the provider.
            raise OutcomeUnknown(f"{cards.name} did not answer: {outage}") from outage
    return Created(made=payment.view())


async def _replay(
    payment: Payment, request: CreatePayment, payments: Payments
) -> Created[PaymentView]:
    """Answer what the same request has made, or is making at this moment."""
    if payment.body_hash != request.body_hash:
        raise IdempotencyKeyReused("this Idempotency-Key was used for another payment")
    while _is_running(payment) and deadline.left(10.0) > 1.0:
        await asyncio.sleep(_LOOK_AGAIN)
        payment = await _find(payment.id, payments)
    if _is_running(payment):
        raise PaymentInProgress("this payment is still running")
    return Created(made=payment.view(), replayed=True)


def _is_running(payment: Payment) -> bool:
    return payment.card is not None and payment.status is PaymentStatus.AWAITING_PAYMENT


async def _charge(
    payment: Payment, token: str, payments: Payments, cards: CardProvider, now: Clock
) -> Payment:
    """Announce, note the reference, take the money: a crash at any step can be cleared up."""
    reference = await cards.create(
        Charge(payment_id=payment.id, amount=payment.amount, token=token)
    )
    await _change(
        payment.id, lambda payment: domain.announced(payment, reference, at=now()), payments
    )
    verdict = await cards.confirm(reference)
    return await _settle(payment.id, verdict, cards.name, payments, now)


async def _settle(
    payment_id: str, verdict: Verdict, by: str, payments: Payments, now: Clock
) -> Payment:
    return await _change(
        payment_id,
        lambda payment: domain.settle(payment, verdict, cause=Cause(by=by), at=now()),
        payments,
    )


async def confirm_payment(
    request: ConfirmPayment, *, payments: Payments, now: Clock
) -> PaymentView:
    if not request.actor.admin:
        raise Forbidden("only an admin confirms payments")
    cause = Cause(by=request.actor.user_id)
    payment = await _change(
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
    await _settle(request.payment_id, verdict, request.provider, payments, now)


async def get_payment(request: GetPayment, *, payments: Payments) -> PaymentView:
    payment = await _find(request.payment_id, payments)
    if not request.actor.admin and payment.user_id != request.actor.user_id:
        raise PaymentNotFound("there is no such payment")
    return payment.view()


async def list_payments(request: ListPayments, *, payments: Payments) -> Page[PaymentView]:
    return await payments.page(request)


async def order_canceled(
    event: CloudEvent[OrderCanceled], *, payments: Payments, now: Clock
) -> None:
    """Cash is no longer expected. A card's charge that is under way ends by itself, and is refunded
    if it ends well: orders sees to that."""
    for payment in await payments.awaited(event.data.order.id):
        if payment.method is Method.CASH_ON_DELIVERY:
            await _change(
                payment.id,
                lambda payment: domain.settle(
                    payment,
                    Voided(),
                    cause=event.cause(),
                    at=now(),
                    voided_as=domain.CANCELED_ORDER,
                ),
                payments,
            )


async def order_refund_due(
    event: CloudEvent[OrderRefundDue], *, payments: Payments, now: Clock
) -> None:
    """Note the refund; `carry_out_refunds` makes it, however long the provider is away."""
    await _change(
        event.data.payment_id,
        lambda payment: domain.refund_due(
            payment, event.data.amount, reason=event.data.reason, cause=event.cause(), at=now()
        ),
        payments,
    )


async def carry_out_refunds(*, payments: Payments, cards: CardProvider, now: Clock) -> None:
    """Make the refunds that are due. Cash is given back by hand, which needs no provider."""
    async for payment in payments.to_refund():
        with _past_what_fails("refund not made", payment):
            for refund in payment.refunds:
                if refund.status is RefundStatus.PENDING:
                    await _refund(payment, refund, payments, cards, now)


async def _refund(
    payment: Payment, refund: Refund, payments: Payments, cards: CardProvider, now: Clock
) -> None:
    if payment.method is Method.CARD:
        await cards.refund(payment.id, refund.id, refund.amount)
    await _change(
        payment.id,
        lambda payment: domain.refund_done(
            payment, refund.id, cause=Cause(by=payment.provider), at=now()
        ),
        payments,
    )


async def reconcile(*, payments: Payments, cards: CardProvider, now: Clock) -> None:
    """Clear up payments that were interrupted between the provider and us.

    The provider is told to let nothing more happen, and says what has: taken money is kept, and
    anything else is rejected without counting as an attempt.
    """
    async for payment in payments.undecided(cards.name, since=now() - UNDECIDED_AFTER):
        with _past_what_fails("payment not reconciled", payment):
            verdict = await cards.cancel(payment.id)
            await _settle(payment.id, verdict, cards.name, payments, now)


@contextmanager
def _past_what_fails(message: str, payment: Payment) -> Generator[None]:
    """Go on after a payment that cannot be cleared up: it must not keep the others waiting."""
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise
        log.exception(message, payment_id=payment.id)


async def _change(
    payment_id: str, change: Callable[[Payment], Payment], payments: Payments
) -> Payment:
    """Read, decide and store, again until nobody else has changed the payment in between."""
    while True:
        payment = await _find(payment_id, payments)
        changed = change(payment)
        if changed is payment or await payments.save(changed, expected=payment):
            return changed


async def _find(payment_id: str, payments: Payments) -> Payment:
    payment = await payments.get(payment_id)
    if payment is None:
        raise PaymentNotFound("there is no such payment")
    return payment
