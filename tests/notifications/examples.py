"""Examples of the events that customers get mail about."""

import secrets
from datetime import UTC, datetime
from typing import TypeVar

from cartwheel.contracts.fulfilment import ParcelDelivered, ParcelShipped, ReturnAccepted
from cartwheel.contracts.identity import User
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    Line,
    OrderActionRequired,
    OrderCanceled,
    OrderConfirmationDue,
    OrderPaid,
    OrderPaymentFailed,
    OrderRefunded,
    OrderRejected,
    OrderSnapshot,
)
from cartwheel.contracts.parcels import (
    Pieces,
    ReturnedLine,
    ReturnStatus,
    ReturnView,
    ShipmentStatus,
    ShipmentView,
)
from cartwheel.kernel import CloudEvent, Event, new_id
from cartwheel.notifications.domain import Shop

Data = TypeVar("Data", bound=Event)

SHOP = Shop()

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def now() -> datetime:
    return AT


def snapshot(
    name: str = "Zoë Müller", email: str | None = None, currency: str = "USD"
) -> OrderSnapshot:
    """Two mugs and a spoon, for a customer with a unique address."""
    return OrderSnapshot(
        id=new_id("ord"),
        number="K7QM3-XWD9A",
        user=User(id="8d3f", name=name, email=email or f"{secrets.token_hex(8)}@example.com"),
        lines=[
            Line(product_id="prd_1", name="Mug", quantity=2, unit_price=Money(1999, currency)),
            Line(product_id="prd_2", name="Spoon", quantity=1, unit_price=Money(250, currency)),
        ],
        total=Money(4248, currency),
    )


def placed(order: OrderSnapshot) -> OrderConfirmationDue:
    return OrderConfirmationDue(order=order)


def to_approve(order: OrderSnapshot) -> OrderActionRequired:
    return OrderActionRequired(order=order, payment_id="pay_1", expires_at=AT)


def paid(order: OrderSnapshot, amount: Money | None = None) -> OrderPaid:
    return OrderPaid(order=order, payment_id="pay_1", amount=amount or order.total)


def failed(order: OrderSnapshot, *, attempts_left: int = 2) -> OrderPaymentFailed:
    return OrderPaymentFailed(
        order=order,
        payment_id="pay_1",
        reason="Your card was declined.",
        attempts_left=attempts_left,
    )


def rejected(order: OrderSnapshot) -> OrderRejected:
    return OrderRejected(order=order, reason="Your card was declined.")


def canceled(
    order: OrderSnapshot, *, reason: str = "It was not paid in time.", was_paid: bool = False
) -> OrderCanceled:
    return OrderCanceled(order=order, reason=reason, was_paid=was_paid)


def refunded(order: OrderSnapshot) -> OrderRefunded:
    return OrderRefunded(order=order, payment_id="pay_1", amount=Money(1050, order.total.currency))


def parcel(carrier: str | None = "DHL", tracking: str | None = "00340434") -> ShipmentView:
    """One of the mugs."""
    return ShipmentView(
        id="shp_1",
        lines=[Pieces(product_id="prd_1", quantity=1)],
        status=ShipmentStatus.SHIPPED,
        shipped_at=AT,
        carrier=carrier,
        tracking=tracking,
    )


def shipped(order: OrderSnapshot, shipment: ShipmentView | None = None) -> ParcelShipped:
    return ParcelShipped(order=order, shipment=shipment or parcel())


def delivered(order: OrderSnapshot) -> ParcelDelivered:
    return ParcelDelivered(order=order, shipment=parcel())


def return_accepted(order: OrderSnapshot, note: str | None = "To Wharf Road 3.") -> ReturnAccepted:
    returned = ReturnView(
        id="ret_1",
        lines=[ReturnedLine(product_id="prd_2", quantity=1)],
        reason="It wobbles.",
        status=ReturnStatus.ACCEPTED,
        requested_at=AT,
        note=note,
    )
    return ReturnAccepted(order=order, returned=returned)


def happened(data: Data, order_id: str = "ord_1", sequence: int = 2) -> CloudEvent[Data]:
    return CloudEvent(
        id=new_id("evt"),
        type=data.type,
        source="orders",
        subject=order_id,
        sequence=sequence,
        time=AT,
        data=data,
    )
