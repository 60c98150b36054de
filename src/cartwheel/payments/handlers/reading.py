"""Reading payments and their history."""

import msgspec

from cartwheel.contracts.identity import require_admin, whose
from cartwheel.contracts.payments import (
    GetPayment,
    GetPaymentTimeline,
    GetRefund,
    ListDisputed,
    ListPayments,
    PaymentNotFound,
    PaymentView,
    Refund,
    RefundNotFound,
)
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Page
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.ports import Payments


async def get_payment(request: GetPayment, *, payments: Payments) -> PaymentView:
    return _told(request.actor.user_id, (await _visible(request, payments)).view())


async def get_timeline(request: GetPaymentTimeline, *, payments: Payments) -> list[TimelineEntry]:
    payment = await _visible(request, payments)
    told = await payments.timeline(payment.id)
    return domain.timeline(payment, told)


async def get_refund(request: GetRefund, *, payments: Payments) -> Refund:
    payment = await _visible(request, payments)
    for refund in payment.refunds:
        if refund.id == request.refund_id:
            return refund.view()
    raise RefundNotFound("The payment has no such refund.")


async def list_disputed(request: ListDisputed, *, payments: Payments) -> Page[PaymentView]:
    require_admin(request.actor, "list disputes")
    return await payments.disputed(request)


async def _visible(
    request: GetPayment | GetPaymentTimeline | GetRefund, payments: Payments
) -> Payment:
    payment = await payments.get(request.payment_id)
    if not request.actor.admin and payment.user_id != request.actor.user_id:
        raise PaymentNotFound("There is no such payment.")
    return payment


async def list_payments(request: ListPayments, *, payments: Payments) -> Page[PaymentView]:
    user_id = whose(request.actor, request.user_id)
    page = await payments.page(msgspec.structs.replace(request, user_id=user_id))
    reader = request.actor.user_id if request.actor else user_id
    told = [_told(reader, payment) for payment in page.data]
    return msgspec.structs.replace(page, data=told)


def _told(reader: str | None, payment: PaymentView) -> PaymentView:
    """Return `payment` with the provider's page only if it is the reader's own.

    Whoever knows the page may approve the payment in its customer's place.
    """
    if payment.user_id == reader:
        return payment
    return msgspec.structs.replace(payment, next_action=None)
