"""Giving up what is not wanted any more, and giving money back."""

from cartwheel.contracts.orders import OrderCanceled, OrderPaymentUnwanted, OrderRefundDue
from cartwheel.contracts.payments import Method, Refund, RefundStatus
from cartwheel.kernel import jobs
from cartwheel.kernel.messages import Cause, Clock, CloudEvent
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.handlers.changing import change, find
from cartwheel.payments.handlers.ports import Payments
from cartwheel.payments.provider import CardProvider, Outcome, Voided


async def order_canceled(
    event: CloudEvent[OrderCanceled], *, payments: Payments, now: Clock
) -> None:
    """Cash is no longer expected. A card's charge that is under way ends by itself, and is refunded
    if it ends well: orders sees to that."""
    for payment in await payments.awaited(event.data.order.id):
        await _expect_no_cash(payment.id, event.cause(), payments, now)


async def order_payment_unwanted(
    event: CloudEvent[OrderPaymentUnwanted], *, payments: Payments, now: Clock
) -> None:
    """The payment was begun just as its order ended, too late for `order_canceled` to find it."""
    await _expect_no_cash(event.data.payment_id, event.cause(), payments, now)


async def _expect_no_cash(payment_id: str, cause: Cause, payments: Payments, now: Clock) -> None:
    def void(payment: Payment) -> Payment:
        if payment.method is not Method.CASH_ON_DELIVERY:
            return payment
        return domain.settle(
            payment, Outcome(Voided()), cause=cause, at=now(), voided_as=domain.CANCELED_ORDER
        )

    await change(payment_id, void, payments)


async def order_refund_due(
    event: CloudEvent[OrderRefundDue], *, payments: Payments, now: Clock
) -> None:
    """Note the refund; `carry_out_refunds` makes it, however long the provider is away."""
    await change(
        event.data.payment_id,
        lambda payment: domain.refund_due(
            payment, event.data.amount, reason=event.data.reason, cause=event.cause(), at=now()
        ),
        payments,
    )


async def carry_out_refunds(*, payments: Payments, cards: CardProvider, now: Clock) -> None:
    """Make the refunds that are due. Cash is given back by hand, which needs no provider.

    What a provider has captured for a payment in cash goes back through that provider.
    """

    async def refund_all(payment_id: str) -> None:
        payment = await find(payment_id, payments)
        failures: list[Exception] = []
        for refund in payment.refunds:
            if refund.status is RefundStatus.PENDING:
                try:
                    await _refund(payment, refund, payments, cards, now)
                except Exception as error:
                    failures.append(error)  # one that is refused keeps no other waiting
        if failures:
            raise failures[0]

    await jobs.for_each("carry out refunds", payments.to_refund(), refund_all, now=now)


async def _refund(
    payment: Payment, refund: Refund, payments: Payments, cards: CardProvider, now: Clock
) -> None:
    if payment.method is Method.CARD or refund.provider:
        await cards.refund(payment.id, refund.id, refund.amount)
    await change(
        payment.id,
        lambda payment: domain.refund_done(
            payment, refund.id, cause=Cause(by=refund.provider or payment.provider), at=now()
        ),
        payments,
    )
