"""Showing payments: the history."""

from cartwheel.contracts.payments import GetPayment, ListPayments, PaymentNotFound, PaymentView
from cartwheel.kernel import Page
from cartwheel.payments.ports import Payments


async def get_payment(request: GetPayment, *, payments: Payments) -> PaymentView:
    payment = await payments.get(request.payment_id)
    if not request.actor.admin and payment.user_id != request.actor.user_id:
        raise PaymentNotFound("there is no such payment")
    return payment.view()


async def list_payments(request: ListPayments, *, payments: Payments) -> Page[PaymentView]:
    return await payments.page(request)
