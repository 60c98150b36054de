"""The rules of an order whose money is reserved. Pure: values in, a new order or a refusal out.

    AWAITING_PAYMENT ──authorized──► AUTHORIZED ──captured──► PAID
                                         └──owner, admin, or the authorization lapses──► CANCELED

An AUTHORIZED order has no deadline, and its pieces stay reserved. Its first parcel captures all
that is due, and leaves only when that is captured. What was called off before is not due. If the
order is canceled, its authorization is voided.
"""

import msgspec

from cartwheel.contracts.fulfilment import ShipOrder
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    OrderAuthorized,
    OrderPaymentUnwanted,
    OrderStatus,
)
from cartwheel.contracts.payments import PaymentAuthorized, PaymentCanceled, PaymentCaptured
from cartwheel.kernel import Change
from cartwheel.orders.domain import fulfilment, order
from cartwheel.orders.domain.order import Order

LAPSED = "It was not shipped before the reservation of its money ended."


def authorize(given: Order, told: PaymentAuthorized, change: Change) -> Order:
    """Return an order that awaits payment as AUTHORIZED.

    If it is not waiting for this payment, it emits `OrderPaymentUnwanted`, once: the authorization
    is voided. What came of the payment may be known before it is.
    """
    payment_id = told.payment_id
    known = (given.authorized_by, given.paid_by, *given.canceled_payments, *given.refunds_due)
    if payment_id in known:
        return given
    if given.status is OrderStatus.AWAITING_PAYMENT and told.amount == given.total:
        reserved = msgspec.structs.replace(
            order.sent_to(told.shipping_address, given),
            status=OrderStatus.AUTHORIZED,
            authorized_by=payment_id,
            expires_at=None,
        )
        event = OrderAuthorized(order=given.snapshot(), payment_id=payment_id)
        return order.changed(reserved, event, change=change)
    # Noted as canceled, which it will be, so that a repeated event asks for nothing.
    noted = _noted(given, payment_id)
    unwanted = OrderPaymentUnwanted(
        order_id=given.id, payment_id=payment_id, reason=f"The order is {given.status}."
    )
    return order.changed(noted, unwanted, change=change)


def payment_canceled(given: Order, told: PaymentCanceled, change: Change) -> Order:
    """Return an AUTHORIZED order as CANCELED if its authorization is gone: it has lapsed.

    Any other order is as `order.payment_canceled` leaves it.
    """
    if given.status is not OrderStatus.AUTHORIZED or given.authorized_by != told.payment_id:
        return order.payment_canceled(given, told, change)
    return order.end_as_canceled(_noted(given, told.payment_id), LAPSED, change)


def to_capture(given: Order, request: ShipOrder, shipment_id: str, change: Change) -> str | None:
    """Return the payment that is captured before this parcel leaves; None if none is.

    Raises:
        What `fulfilment.ship` raises of the order once it is paid: nothing is captured for a
        parcel that cannot leave.
    """
    if given.status is not OrderStatus.AUTHORIZED or given.authorized_by is None:
        return None
    ship_captured(given, request, shipment_id, given.authorized_by, given.due, change)
    return given.authorized_by


def ship_captured(
    given: Order,
    request: ShipOrder,
    shipment_id: str,
    payment_id: str,
    captured: Money,
    change: Change,
) -> Order:
    """Return the order as PAID, with its first parcel: both in one write.

    The event that tells of the capture may have come first, and changes nothing if it comes later.

    Raises:
        What `fulfilment.ship` raises. If the order was canceled meanwhile, the event of the capture
        has it refunded.
    """
    if given.status is OrderStatus.AUTHORIZED and given.authorized_by == payment_id:
        told = PaymentCaptured(payment_id=payment_id, order_id=given.id, amount=captured)
        given = pay(given, told, change)
    return fulfilment.ship(given, request, shipment_id, change)


def pay(given: Order, told: PaymentCaptured, change: Change) -> Order:
    """Return the order as `order.pay` does.

    If more was captured of an authorization than is due by now, what was called off is refunded.
    """
    authorized = given.status is OrderStatus.AUTHORIZED and given.authorized_by == told.payment_id
    if not authorized or told.amount.amount <= given.due.amount:
        return order.pay(given, told, change)
    with_ids, owed = fulfilment.owe_called_off(given, told.amount)
    paid = order.pay(with_ids, told, change)
    return fulfilment.with_refunds_due(paid, owed, change)


def _noted(given: Order, payment_id: str) -> Order:
    return msgspec.structs.replace(given, canceled_payments=[*given.canceled_payments, payment_id])
