"""Ending payments that their order does not want, and refunding money."""

from cartwheel.contracts.orders import OrderCanceled, OrderPaymentUnwanted, OrderRefundDue
from cartwheel.contracts.payments import Method, Refund, RefundStatus
from cartwheel.kernel import Change, Clock, CloudEvent, for_each, utc_now
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.ports import Payments
from cartwheel.providers.port import CardProvider


async def order_canceled(
    event: CloudEvent[OrderCanceled], *, payments: Payments, now: Clock = utc_now
) -> None:
    """Reject pending cash payments.

    A card charge that is under way ends by itself. If it succeeds, orders asks for a refund.
    """
    by = Change.caused_by(event, at=now())
    for payment in await payments.awaited(event.data.order.id):
        await payments.change(payment.id, domain.expect_no_cash, by=by)


async def order_payment_unwanted(
    event: CloudEvent[OrderPaymentUnwanted], *, payments: Payments, now: Clock = utc_now
) -> None:
    """Reject a cash payment that began as its order ended, too late for `order_canceled`."""
    by = Change.caused_by(event, at=now())
    await payments.change(event.data.payment_id, domain.expect_no_cash, by=by)


async def order_refund_due(
    event: CloudEvent[OrderRefundDue], *, payments: Payments, now: Clock = utc_now
) -> None:
    """Store that a refund is due. `carry_out_refunds` makes it, even after a long outage."""
    due, by = event.data, Change.caused_by(event, at=now())
    await payments.change(due.payment_id, domain.refund_due, due.amount, due.reason, by=by)


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
    if payment.method is Method.CARD or refund.provider:
        await cards.refund(payment.id, refund.id, refund.amount)
    by = Change(by=refund.provider or payment.provider, at=now())
    await payments.change(payment.id, domain.refund_done, refund.id, by=by)
