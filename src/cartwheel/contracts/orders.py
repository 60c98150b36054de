"""The requests and events of orders: orders, their timelines, and the amounts to pay."""

from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.money import Money
from cartwheel.contracts.parcels import CallOff, Pieces, ReturnView, ShipmentView
from cartwheel.contracts.products import Item, ReserveStock
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Created, Event, Page, Request, event, request
from cartwheel.kernel.errors import BadCursor, Conflict, Forbidden, Invalid, NotFound


class OrderStatus(StrEnum):
    """AUTHORIZED: the money is reserved, and taken when the first parcel leaves.

    REFUNDED is an order of which all was given back after something was shipped.
    """

    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    AUTHORIZED = "AUTHORIZED"
    PAID = "PAID"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    REFUNDED = "REFUNDED"


class FulfillmentStatus(StrEnum):
    """How far the goods have come, apart from those that were called off.

    PARTIAL: some are shipped. SHIPPED and DELIVERED: all are. RETURNED: all have come back.
    """

    UNFULFILLED = "UNFULFILLED"
    PARTIAL = "PARTIAL"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    RETURNED = "RETURNED"


class ShippingAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the goods are sent. The gateway limits what clients may send as an address."""

    name: str
    street: str
    number: str
    city: str
    zip_code: str
    country: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line as it was when the order was placed. Later price changes do not affect it."""

    product_id: str
    name: str
    quantity: int
    unit_price: Money


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """An amount other than a line that changes the total: shipping, tax or a discount."""

    kind: str
    label: str
    amount: Money


class Fulfillment(msgspec.Struct, frozen=True, kw_only=True):
    status: FulfillmentStatus = FulfillmentStatus.UNFULFILLED
    tracking: str | None = None


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as clients see it. An unpaid order is canceled at `expires_at`.

    `refunded` is what went back of the payment that paid it, in refunds and lost disputes. An older
    version does not tell.

    `shipments`, `called_off` and `returns` say what becomes of its goods, oldest first.
    """

    id: str
    number: str
    user: User
    lines: list[Line]
    adjustments: list[Adjustment]
    total: Money
    status: OrderStatus
    shipping_address: ShippingAddress | None
    fulfillment: Fulfillment
    payment_attempts: int
    expires_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    refunded: Money | None = None
    shipments: list[ShipmentView] = msgspec.field(default_factory=list[ShipmentView])
    called_off: list[CallOff] = msgspec.field(default_factory=list[CallOff])
    returns: list[ReturnView] = msgspec.field(default_factory=list[ReturnView])


class OrderNotFound(NotFound):
    """There is no order with this id, or it belongs to another user.

    Check the id, and who is logged in.
    """

    code = "order_not_found"


class InvalidTransition(Conflict):
    """The order's status does not allow this.

    Read the order: its `status` says whether it can still be paid or canceled.
    """

    code = "invalid_transition"


class AddressRequired(Invalid):
    """The order has no shipping address, and the payment brings none.

    Send `shipping_address` with the payment.
    """

    code = "address_required"


class ReasonRequired(Invalid):
    """An administrator who cancels another user's order, or a paid one, must say why.

    Send a `reason`.
    """

    code = "reason_required"


@request("place_order", service="orders", refusals=(IdempotencyKeyReused, *ReserveStock.refusals))
class PlaceOrder(Request[Created[OrderView]], frozen=True, kw_only=True):
    """Place an order. Repeatable: the same `request_id` and `body_hash` return the first order.

    If it would not cost `expected_total`, it is `PriceChanged` and nothing is reserved.
    """

    request_id: str
    body_hash: str
    user: User
    items: list[Item]
    shipping_address: ShippingAddress | None = None
    expected_total: Money | None = None


@request("get_order", service="orders", read=True, refusals=(OrderNotFound,))
class GetOrder(Request[OrderView], frozen=True, kw_only=True):
    """Get an order. Somebody else's order is `OrderNotFound`, except for an admin."""

    order_id: str
    actor: Actor


@request("list_orders", service="orders", read=True, refusals=(BadCursor,))
class ListOrders(Request[Page[OrderView]], frozen=True, kw_only=True):
    """List orders, newest first. Admins see all, or those of `user_id`; others see their own.

    `number` and `email`, the address that mail about the order goes to, match as they are stored.
    The range from `placed_after` to `placed_before` does not include its end; an order's id tells
    when it was placed.
    """

    limit: int
    cursor: str | None = None
    status: OrderStatus | None = None
    user_id: str | None = None
    number: str | None = None
    email: str | None = None
    placed_after: datetime | None = None
    placed_before: datetime | None = None
    actor: Actor | None = None


@request("get_timeline", service="orders", read=True, refusals=(OrderNotFound,))
class GetTimeline(Request[list[TimelineEntry]], frozen=True, kw_only=True):
    """Get the timeline of an order, oldest entry first."""

    order_id: str
    actor: Actor


class PayableOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The amount to pay for an order, and the number of declined payments that end it.

    `declines` counts those that orders knows of. There may be more, because the events of payments
    arrive a moment later. `action_until` is how long its customer may take to approve a payment
    that begins now; None if the order has no deadline, and from an older version.
    """

    order_id: str
    total: Money
    attempts: int
    declines: int = 0
    action_until: datetime | None = None


@request(
    "get_payable_order",
    service="orders",
    read=True,
    refusals=(OrderNotFound, InvalidTransition, AddressRequired),
)
class GetPayableOrder(Request[PayableOrder], frozen=True, kw_only=True):
    """Get the amount to pay for the actor's own order. `user_id` repeats it for older readers.

    The payment's `shipping_address` is not stored by this request. It comes with the payment's
    events.

    Raises:
        OrderNotFound: there is no such order, or it is somebody else's.
        InvalidTransition: the order is not awaiting payment.
        AddressRequired: neither the order nor the payment has a shipping address.
    """

    order_id: str
    user_id: str
    shipping_address: ShippingAddress | None = None
    actor: Actor | None = None


@request(
    "cancel_order",
    service="orders",
    refusals=(OrderNotFound, InvalidTransition, ReasonRequired),
)
class CancelOrder(Request[OrderView], frozen=True, kw_only=True):
    """Cancel an order. Its owner may cancel it while it awaits payment or is AUTHORIZED; an admin,
    with a reason, also when it is paid.

    If a part of a paid order is shipped, only the rest is called off: the order stays PAID, and
    the price of that rest is refunded.

    Repeatable: a canceled order stays unchanged, and so does one whose rest was called off.
    Captured money is refunded.
    """

    order_id: str
    actor: Actor
    reason: str | None = None


class LineRefused(Invalid):
    """The order has no such line, or fewer pieces in it.

    Read the order: its `lines` say which products and how many pieces it has.
    """

    code = "line_refused"


@request(
    "get_price_of_pieces",
    service="orders",
    read=True,
    refusals=(Forbidden, OrderNotFound, LineRefused),
)
class GetPriceOfPieces(Request[Money], frozen=True, kw_only=True):
    """Get what some of an order's pieces cost, at its own prices and without its adjustments.

    For services: payments refunds pieces, and only orders knows what they cost.
    """

    order_id: str
    pieces: list[Pieces]
    actor: Actor


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    status: OrderStatus


@request("get_order_statuses", service="orders", read=True, refusals=(Forbidden,))
class GetOrderStatuses(Request[list[OrderState]], frozen=True, kw_only=True):
    """Get the status of orders, in no particular order. Unknown ids are left out. For services."""

    order_ids: list[str]
    actor: Actor | None = None


class OrderSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The order at the time of the event, so that consumers need no further request."""

    id: str
    number: str
    user: User
    lines: list[Line]
    total: Money


@event("order.placed.v1")
class OrderPlaced(Event, frozen=True, kw_only=True):
    """An order was stored, and its stock is reserved."""

    order: OrderSnapshot


@event("order.authorized.v1")
class OrderAuthorized(Event, frozen=True, kw_only=True):
    """The money is reserved, and captured when the first parcel leaves."""

    order: OrderSnapshot
    payment_id: str


@event("order.confirmation_due.v1", consumers=("notifications",))
class OrderConfirmationDue(Event, frozen=True, kw_only=True):
    """The customer is to be told by mail that the order was placed.

    Orders publishes it only if its setting PLACED_MAIL is on.
    """

    order: OrderSnapshot


@event("order.paid.v1", consumers=("products", "notifications"))
class OrderPaid(Event, frozen=True, kw_only=True):
    """A captured payment covers what is due.

    `amount` was captured. It is less than the total if pieces were called off before. Events of an
    older version lack it.
    """

    order: OrderSnapshot
    payment_id: str
    amount: Money | None = None


@event("order.payment_failed.v1", consumers=("notifications",))
class OrderPaymentFailed(Event, frozen=True, kw_only=True):
    """A payment was declined, and the customer may try another."""

    order: OrderSnapshot
    payment_id: str
    reason: str
    attempts_left: int


@event("order.rejected.v1", consumers=("products", "notifications"))
class OrderRejected(Event, frozen=True, kw_only=True):
    """The last permitted payment attempt was declined."""

    order: OrderSnapshot
    reason: str


@event("order.canceled.v1", consumers=("products", "payments", "notifications"))
class OrderCanceled(Event, frozen=True, kw_only=True):
    """The order was canceled: by its owner, an admin or the deadline, or for lack of stock."""

    order: OrderSnapshot
    reason: str
    was_paid: bool


@event("order.refund_due.v1", consumers=("payments",))
class OrderRefundDue(Event, frozen=True, kw_only=True):
    """The order owes money back. Payments refunds what is left of the payment, `amount` at most.

    `refund_id` is None for the whole capture of a payment: one that the order was not waiting for,
    or whose order is canceled. This is published once per payment. Otherwise `refund_id` names the
    refund of a part, and is published once per refund.
    """

    order_id: str
    payment_id: str
    amount: Money
    reason: str
    refund_id: str | None = None


@event("order.payment_unwanted.v1", consumers=("payments",))
class OrderPaymentUnwanted(Event, frozen=True, kw_only=True):
    """A pending payment is not needed: the order ended before it learned of the payment.

    Published once per payment.
    """

    order_id: str
    payment_id: str
    reason: str


@event("order.action_required.v1", consumers=("notifications",))
class OrderActionRequired(Event, frozen=True, kw_only=True):
    """A payment waits until its customer approves it at the provider, `expires_at` at the latest.

    Published once per payment.
    """

    order: OrderSnapshot
    payment_id: str
    expires_at: datetime


@event("order.refunded.v1", consumers=("notifications",))
class OrderRefunded(Event, frozen=True, kw_only=True):
    """Money that was paid for the order was refunded: `amount`, in one refund."""

    order: OrderSnapshot
    payment_id: str
    amount: Money


EVENTS: tuple[type[Event], ...] = (
    OrderPlaced,
    OrderAuthorized,
    OrderConfirmationDue,
    OrderPaid,
    OrderPaymentFailed,
    OrderRejected,
    OrderCanceled,
    OrderRefundDue,
    OrderPaymentUnwanted,
    OrderActionRequired,
    OrderRefunded,
)
