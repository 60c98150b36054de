"""Showing payments: the history."""

from cartwheel.contracts.payments import GetPayment, ListPayments, PaymentNotFound, PaymentView
from cartwheel.kernel.messages import Page
from cartwheel.payments.handlers.changing import find
from cartwheel.payments.handlers.ports import Payments


async def get_payment(request: GetPayment, *, payments: Payments) -> PaymentView:
    payment = await find(request.payment_id, payments)
    if not request.actor.admin and payment.user_id != request.actor.user_id:
        raise PaymentNotFound("there is no such payment")
    return payment.view()


async def list_payments(request: ListPayments, *, payments: Payments) -> Page[PaymentView]:
    return await payments.page(request)
