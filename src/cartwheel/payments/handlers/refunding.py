"""Ending payments that their order does not want, and refunding money."""

import msgspec

from cartwheel.contracts import payments as contract
from cartwheel.contracts.identity import Actor, require_admin, require_service
from cartwheel.contracts.orders import (
    GetPriceOfPieces,
    OrderCanceled,
    OrderPaymentUnwanted,
    OrderRefundDue,
)
from cartwheel.contracts.payments import (
    CreateRefund,
    Method,
    RefundInvalid,
    RefundStatus,
    ReportDispute,
    ReportRefund,
)
from cartwheel.kernel import Bus, Change, Clock, CloudEvent, Created, for_each, log, utc_now
from cartwheel.kernel.errors import FieldError, Outage, Unavailable
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment, Refund
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import REFUNDED, CardProvider

ACTOR = Actor.service("payments")


async def order_canceled(
    event: CloudEvent[OrderCanceled], *, payments: Payments, now: Clock = utc_now
) -> None:
    """Give up cash that is awaited, what waits for its customer, and authorizations.

    A card charge that is under way ends by itself. If it succeeds, orders asks for a refund.
    """
    by = Change.caused_by(event, at=now())
    for payment in await payments.awaited(event.data.order.id):
        await payments.change(payment.id, domain.give_up, by=by)


async def order_payment_unwanted(
    event: CloudEvent[OrderPaymentUnwanted], *, payments: Payments, now: Clock = utc_now
) -> None:
    """Give up a payment that began to wait, or was authorized, as its order ended: too late for
    `order_canceled`."""
    by = Change.caused_by(event, at=now())
    await payments.change(event.data.payment_id, domain.give_up, by=by)


async def order_refund_due(
    event: CloudEvent[OrderRefundDue], *, payments: Payments, now: Clock = utc_now
) -> None:
    """Store that a refund is due. `carry_out_refunds` makes it, even after a long outage."""
    due, by = event.data, Change.caused_by(event, at=now())
    await payments.change(
        due.payment_id, domain.refund_owed, due.refund_id, due.amount, due.reason, by=by
    )


async def create_refund(
    request: CreateRefund, *, payments: Payments, bus: Bus, now: Clock = utc_now
) -> Created[contract.Refund]:
    """Store a refund, which `carry_out_refunds` makes.

    Orders knows what its lines cost, so it is asked. That price never changes, so a repeat of the
    request refunds the same.
    """
    require_admin(request.actor, "refund payments")
    price = None
    if request.lines:
        if request.amount is not None:
            detail = "`lines` must not be sent together with `amount`."
            raise RefundInvalid(detail, errors=[FieldError("lines", detail)])
        payment = await payments.get(request.payment_id)
        price = await bus.request(
            GetPriceOfPieces(order_id=payment.order_id, pieces=request.lines, actor=ACTOR)
        )
    by = Change(by=request.actor.user_id, at=now())
    payment = await payments.change(
        request.payment_id, domain.refund_as_asked, request, price, by=by
    )
    refund_id = domain.id_of(request)
    made = next(each for each in payment.refunds if each.id == refund_id)
    return Created(made=made.view(), replayed=payment.change is None)


async def report_refund(
    request: ReportRefund, *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> None:
    """Record that a refund failed, perhaps days after it was made.

    The provider's answer counts, since the money can be refunded again after that. A report that
    does not match the payment changes nothing.

    Raises:
        Unavailable: the provider does not answer; nothing was changed.
    """
    require_service(request.actor, "report how a refund ended")
    payment = await payments.get(request.payment_id)
    if request.amount is None or not domain.tells_of_a_refund(payment, request):
        await _disbelieve(payment, request.provider, payments)
        return
    by = Change(by=request.provider, at=now())
    if domain.refund_failed_as_told(payment, request, by) is payment:
        return
    try:
        # Its id is the key: a refund that was made is not made again, but answered as it is now.
        outcome = await cards.refund(payment.id, request.refund_id, request.amount)
    except Outage as outage:
        raise Unavailable(f"{cards.name} did not answer: {outage}") from outage
    await payments.change(
        payment.id, domain.refund_ended, request.refund_id, outcome, by=by, known=payment
    )


async def report_dispute(
    request: ReportDispute, *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> None:
    """Record a dispute as the provider answers it. A report that does not match changes nothing.

    It may come before payments knows of the capture. Then the provider is asked about that first.

    Raises:
        Unavailable: the provider does not answer; nothing was changed.
    """
    require_service(request.actor, "report a dispute")
    by = Change(by=request.provider, at=now())
    payment = await payments.get(request.payment_id)
    try:
        if not domain.tells_of(payment, request):
            payment = await _look_up(payment, payments, cards, now)
        if not domain.tells_of(payment, request):
            await _disbelieve(payment, request.provider, payments)
            return
        if domain.dispute_reported(payment, request, by) is payment:
            return
        dispute = await cards.look_up_dispute(request.dispute_id)
    except Outage as outage:
        raise Unavailable(f"{cards.name} did not answer: {outage}") from outage
    if dispute is None or dispute.payment_id != payment.id:
        await _disbelieve(payment, request.provider, payments)
        return
    real = msgspec.structs.replace(
        request, status=dispute.status, amount=dispute.amount, reason=dispute.reason
    )
    await payments.change(payment.id, domain.dispute_reported, real, by=by, known=payment)


async def _look_up(
    payment: Payment, payments: Payments, cards: CardProvider, now: Clock
) -> Payment:
    """Return `payment` as its provider has it: the answer to its charge may have been lost."""
    outcome = await cards.look_up(payment.id)
    if outcome is None:
        return payment
    by = Change(by=cards.name, at=now())
    return await payments.change(payment.id, domain.settle_by_provider, outcome, by=by)


async def _disbelieve(payment: Payment, provider: str, payments: Payments) -> None:
    log.warning(
        "a webhook does not match its payment",
        payment_id=payment.id,
        order_id=payment.order_id,
        provider=provider,
    )
    await payments.disbelieved(payment.id)


async def carry_out_refunds(
    *, payments: Payments, cards: CardProvider, now: Clock = utc_now
) -> None:
    """Make the refunds that are due. Cash is handed back in person and needs no provider.

    Money that a provider captured for a cash payment is refunded through that provider.
    """

    async def refund_all(payment_id: str) -> None:
        payment = await payments.get(payment_id)
        failures: list[Exception] = []
        for refund in payment.refunds:
            if refund.status is RefundStatus.PENDING:
                try:
                    await _refund(payment, refund, payments, cards, now)
                except Exception as error:
                    failures.append(error)  # go on: one failing refund must not block the others
        if failures:
            raise failures[0]

    await for_each("carry out refunds", payments.to_refund(), refund_all, now=now)


async def _refund(
    payment: Payment, refund: Refund, payments: Payments, cards: CardProvider, now: Clock
) -> None:
    outcome = REFUNDED
    if payment.method is not Method.CASH_ON_DELIVERY or refund.provider:
        outcome = await cards.refund(payment.id, refund.id, refund.amount)
    if outcome.status is RefundStatus.PENDING:
        raise NotMadeYet(f"{cards.name} has not made {refund.id} yet")
    by = Change(by=refund.provider or payment.provider, at=now())
    await payments.change(payment.id, domain.refund_ended, refund.id, outcome, by=by)


class NotMadeYet(Exception):
    """The provider has taken a refund, and will make it later. The job asks again."""
