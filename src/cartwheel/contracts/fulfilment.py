"""The requests and events of an order's fulfilment: shipping, calling off, and returns."""

from typing import Annotated

import msgspec
from msgspec import Meta

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import (
    InvalidTransition,
    OrderNotFound,
    OrderSnapshot,
    OrderView,
)
from cartwheel.contracts.parcels import (
    CallOff,
    Carrier,
    Pieces,
    Reason,
    ReturnView,
    ShipmentView,
    Tracking,
)
from cartwheel.kernel import Created, Event, Request, event, request
from cartwheel.kernel.errors import Conflict, Forbidden, NotFound

Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class NotPaid(Conflict):
    """The order is not paid, no money is reserved, and no cash on delivery is awaited for it.

    Ship the order once its `status` is `PAID` or `AUTHORIZED`. Return only what was paid for.
    """

    code = "not_paid"


class NothingLeftToShip(Conflict):
    """Fewer pieces of the order are left to ship than the parcel contains. Nothing changes.

    Ship no more than `errors` says.
    """

    code = "nothing_left_to_ship"


class CaptureFailed(Conflict):
    """The money that was reserved for the order could not be captured. Nothing is shipped.

    Read the order's payments. Try again while the payment is `AUTHORIZED`; otherwise the order is
    canceled.
    """

    code = "capture_failed"


class CashShipsWhole(Conflict):
    """The order is paid in cash on delivery, so it is shipped in one parcel.

    Ship all its pieces together.
    """

    code = "cash_ships_whole"


class TooManyShipments(Conflict):
    """The order has as many parcels as an order may have.

    Call off what is not shipped.
    """

    code = "too_many_shipments"


class ShipmentNotFound(NotFound):
    """The order has no such parcel.

    Read the order: `shipments` lists its parcels.
    """

    code = "shipment_not_found"


class NothingToReturn(Conflict):
    """Fewer pieces were delivered than the return contains, or they are in another return.

    Return no more than `errors` says.
    """

    code = "nothing_to_return"


class ReturnWindowClosed(Conflict):
    """The pieces were delivered longer ago than the shop takes returns.

    Ask the shop.
    """

    code = "return_window_closed"


class TooManyReturns(Conflict):
    """The order has as many returns as an order may have.

    Ask the shop.
    """

    code = "too_many_returns"


class ReturnNotFound(NotFound):
    """The order has no such return.

    Read the order: `returns` lists its returns.
    """

    code = "return_not_found"


class OrderShipped(Conflict):
    """The order of this cash payment is shipped, so the payment is awaited at the door.

    If the customer refuses the parcel, report its delivery as failed.
    """

    code = "order_shipped"


@request(
    "ship_order",
    service="orders",
    refusals=(
        Forbidden,
        OrderNotFound,
        IdempotencyKeyReused,
        NotPaid,
        NothingLeftToShip,
        CashShipsWhole,
        CaptureFailed,
        TooManyShipments,
    ),
)
class ShipOrder(Request[Created[ShipmentView]], frozen=True, kw_only=True):
    """Record that a parcel with these pieces has left. For admins.

    The first parcel of an AUTHORIZED order leaves only when all of the money is captured.

    Repeatable: the same `request_id` and `body_hash` return the parcel recorded first.
    """

    request_id: str
    body_hash: str
    order_id: str
    lines: list[Pieces]
    carrier: Carrier | None = None
    tracking: Tracking | None = None
    actor: Actor


@request(
    "call_off_pieces",
    service="orders",
    refusals=(
        Forbidden,
        OrderNotFound,
        IdempotencyKeyReused,
        InvalidTransition,
        NothingLeftToShip,
    ),
)
class CallOffPieces(Request[OrderView], frozen=True, kw_only=True):
    """Call off some pieces of an AUTHORIZED order, which are then not captured. For admins.

    Repeatable: the same `request_id` and `body_hash` call them off once.
    """

    request_id: str
    body_hash: str
    order_id: str
    lines: list[Pieces]
    reason: Reason
    actor: Actor


@request("get_shipment", service="orders", read=True, refusals=(OrderNotFound, ShipmentNotFound))
class GetShipment(Request[ShipmentView], frozen=True, kw_only=True):
    """Get a parcel. Somebody else's order is `OrderNotFound`, except for an admin."""

    order_id: str
    shipment_id: str
    actor: Actor


@request(
    "report_delivered",
    service="orders",
    refusals=(
        Forbidden,
        OrderNotFound,
        ShipmentNotFound,
        IdempotencyKeyReused,
        InvalidTransition,
    ),
)
class ReportDelivered(Request[ShipmentView], frozen=True, kw_only=True):
    """Record that a parcel has arrived. For admins.

    Repeatable: a delivered parcel stays unchanged.
    """

    request_id: str
    body_hash: str
    order_id: str
    shipment_id: str
    actor: Actor


@request(
    "report_delivery_failed",
    service="orders",
    refusals=(
        Forbidden,
        OrderNotFound,
        ShipmentNotFound,
        IdempotencyKeyReused,
        InvalidTransition,
    ),
)
class ReportDeliveryFailed(Request[ShipmentView], frozen=True, kw_only=True):
    """Record that a parcel was refused or could not be delivered, and is back. For admins.

    An order whose cash was awaited is canceled. The pieces of a paid order can be shipped again or
    called off.

    Repeatable: a parcel whose delivery failed stays unchanged.
    """

    request_id: str
    body_hash: str
    order_id: str
    shipment_id: str
    reason: Reason
    actor: Actor


@request(
    "request_return",
    service="orders",
    refusals=(
        OrderNotFound,
        IdempotencyKeyReused,
        NotPaid,
        NothingToReturn,
        ReturnWindowClosed,
        TooManyReturns,
    ),
)
class RequestReturn(Request[Created[ReturnView]], frozen=True, kw_only=True):
    """Ask to return delivered pieces. For the order's owner, and for admins.

    Repeatable: the same `request_id` and `body_hash` return the return that was made first.
    """

    request_id: str
    body_hash: str
    order_id: str
    lines: list[Pieces]
    reason: Reason
    actor: Actor


@request("get_return", service="orders", read=True, refusals=(OrderNotFound, ReturnNotFound))
class GetReturn(Request[ReturnView], frozen=True, kw_only=True):
    """Get a return. Somebody else's order is `OrderNotFound`, except for an admin."""

    order_id: str
    return_id: str
    actor: Actor


@request(
    "decide_return",
    service="orders",
    refusals=(
        Forbidden,
        OrderNotFound,
        ReturnNotFound,
        IdempotencyKeyReused,
        InvalidTransition,
    ),
)
class DecideReturn(Request[ReturnView], frozen=True, kw_only=True):
    """Accept a return, or decline it. For admins.

    Repeatable: the same decision again changes nothing.
    """

    request_id: str
    body_hash: str
    order_id: str
    return_id: str
    accepted: bool
    note: Reason | None = None
    actor: Actor


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of a line that arrived: those to sell again, and those to write off."""

    product_id: str
    restocked: Count = 0
    written_off: Count = 0


@request(
    "receive_return",
    service="orders",
    refusals=(
        Forbidden,
        OrderNotFound,
        ReturnNotFound,
        IdempotencyKeyReused,
        InvalidTransition,
        NothingToReturn,
    ),
)
class ReceiveReturn(Request[ReturnView], frozen=True, kw_only=True):
    """Record what has arrived of an accepted return. Its price is refunded. For admins.

    Lines that are left out have not arrived.

    Repeatable: the same `request_id` and `body_hash` change nothing.
    """

    request_id: str
    body_hash: str
    order_id: str
    return_id: str
    lines: list[Received]
    actor: Actor


@request("give_up_cash", service="orders", refusals=(Forbidden, OrderNotFound, OrderShipped))
class GiveUpCash(Request[None], frozen=True, kw_only=True):
    """Stop expecting a payment in cash, unless the order is shipped. For services.

    Payments asks before it cancels the payment. The order then cannot be shipped for this payment,
    however late the payment's event arrives.

    Repeatable: a payment that was given up stays so.
    """

    order_id: str
    payment_id: str
    canceled_by: str
    actor: Actor


@event("order.shipped.v1", consumers=("products", "notifications"))
class ParcelShipped(Event, frozen=True, kw_only=True):
    """A parcel with pieces of the order has left."""

    order: OrderSnapshot
    shipment: ShipmentView


@event("order.delivered.v1", consumers=("notifications",))
class ParcelDelivered(Event, frozen=True, kw_only=True):
    """A parcel of the order has arrived."""

    order: OrderSnapshot
    shipment: ShipmentView


@event("order.delivery_failed.v1", consumers=("products",))
class DeliveryFailed(Event, frozen=True, kw_only=True):
    """A parcel of the order could not be delivered, and is back."""

    order: OrderSnapshot
    shipment: ShipmentView
    reason: str


@event("order.called_off.v1", consumers=("products",))
class PiecesCalledOff(Event, frozen=True, kw_only=True):
    """Pieces of an order were called off. They are never shipped."""

    order: OrderSnapshot
    called_off: CallOff
    reason: str


@event("order.return_requested.v1")
class ReturnRequested(Event, frozen=True, kw_only=True):
    """The customer asks to return pieces of the order."""

    order: OrderSnapshot
    returned: ReturnView
    reason: str


@event("order.return_accepted.v1", consumers=("notifications",))
class ReturnAccepted(Event, frozen=True, kw_only=True):
    """The shop accepts a return, and the customer may send the pieces."""

    order: OrderSnapshot
    returned: ReturnView


@event("order.return_declined.v1")
class ReturnDeclined(Event, frozen=True, kw_only=True):
    """The shop declines a return."""

    order: OrderSnapshot
    returned: ReturnView


@event("order.return_received.v1", consumers=("products",))
class ReturnReceived(Event, frozen=True, kw_only=True):
    """The pieces of a return have arrived."""

    order: OrderSnapshot
    returned: ReturnView


EVENTS: tuple[type[Event], ...] = (
    ParcelShipped,
    ParcelDelivered,
    DeliveryFailed,
    PiecesCalledOff,
    ReturnRequested,
    ReturnAccepted,
    ReturnDeclined,
    ReturnReceived,
)
