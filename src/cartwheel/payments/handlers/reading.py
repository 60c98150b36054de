"""Reading payments and their history."""

import msgspec

from cartwheel.contracts.identity import whose
from cartwheel.contracts.payments import GetPayment, ListPayments, PaymentNotFound, PaymentView
from cartwheel.kernel import Page
from cartwheel.payments.ports import Payments


async def get_payment(request: GetPayment, *, payments: Payments) -> PaymentView:
    payment = await payments.get(request.payment_id)
    if not request.actor.admin and payment.user_id != request.actor.user_id:
        raise PaymentNotFound("There is no such payment.")
    return payment.view()


async def list_payments(request: ListPayments, *, payments: Payments) -> Page[PaymentView]:
    user_id = whose(request.actor, request.user_id)
    return await payments.page(msgspec.structs.replace(request, user_id=user_id))
