"""What orders answers and publishes: orders, their timeline, and what is to be paid."""

from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.money import Money
from cartwheel.contracts.products import Item
from cartwheel.kernel import Created, Event, Page, Request, event, request
from cartwheel.kernel.errors import Conflict, Invalid, NotFound


class OrderStatus(StrEnum):
    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    PAID = "PAID"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"


class FulfillmentStatus(StrEnum):
    UNFULFILLED = "UNFULFILLED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"


class ShippingAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the goods go. What clients may send as one is for the gateway to say."""

    name: str
    street: str
    number: str
    city: str
    zip_code: str
    country: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line as it was when the order was placed; later price changes do not touch it."""

    product_id: str
    name: str
    quantity: int
    unit_price: Money


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """What changes the total beside the lines: shipping, tax, discount."""

    kind: str
    label: str
    amount: Money


class Fulfillment(msgspec.Struct, frozen=True, kw_only=True):
    status: FulfillmentStatus = FulfillmentStatus.UNFULFILLED
    tracking: str | None = None


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as clients see it; `expires_at` is when an unpaid one is given up."""

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


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an order: `by` is a user id or the service that did it."""

    type: str
    at: datetime
    by: str
    note: str | None = None


class OrderNotFound(NotFound):
    code = "order_not_found"


class InvalidTransition(Conflict):
    """The order's status does not allow what was asked."""

    code = "invalid_transition"


class AddressRequired(Invalid):
    """The order has no shipping address yet, and the payment brings none."""

    code = "address_required"


class ReasonRequired(Invalid):
    """Whoever cancels somebody else's order says why."""

    code = "reason_required"


@request("place_order", service="orders")
class PlaceOrder(Request[Created[OrderView]], frozen=True, kw_only=True):
    """Repeatable: `request_id` with the same `body_hash` answers the order placed first."""

    request_id: str
    body_hash: str
    user: User
    items: list[Item]
    shipping_address: ShippingAddress | None = None


@request("get_order", service="orders", read=True)
class GetOrder(Request[OrderView], frozen=True, kw_only=True):
    """Somebody else's order is `OrderNotFound`, except for an admin."""

    order_id: str
    actor: Actor


@request("list_orders", service="orders", read=True)
class ListOrders(Request[Page[OrderView]], frozen=True, kw_only=True):
    """Newest first; an admin's of `user_id`, or everybody's, and for others their own."""

    limit: int
    cursor: str | None = None
    status: OrderStatus | None = None
    user_id: str | None = None
    actor: Actor | None = None


@request("get_timeline", service="orders", read=True)
class GetTimeline(Request[list[TimelineEntry]], frozen=True, kw_only=True):
    """What happened to an order, oldest first."""

    order_id: str
    actor: Actor


class PayableOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What an order costs, and how many declined payments end it.

    `declines` are those that orders has heard of. There may be more: payments tells a moment later.
    """

    order_id: str
    total: Money
    attempts: int
    declines: int = 0


@request("get_payable_order", service="orders", read=True)
class GetPayableOrder(Request[PayableOrder], frozen=True, kw_only=True):
    """What is to be paid for the actor's own order (`user_id` is the same, for older readers).

    Refuses with `OrderNotFound`, `InvalidTransition` unless it awaits payment, or `AddressRequired`
    if it has no address and the payment brings no `shipping_address`. That one is not stored here:
    it comes with the payment's events.
    """

    order_id: str
    user_id: str
    shipping_address: ShippingAddress | None = None
    actor: Actor | None = None


@request("cancel_order", service="orders")
class CancelOrder(Request[OrderView], frozen=True, kw_only=True):
    """Gives an order up: the owner one that awaits payment, an admin a paid one too, saying why.

    Repeatable: a canceled order stays as it is. Money that was taken is given back.
    """

    order_id: str
    actor: Actor
    reason: str | None = None


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    status: OrderStatus


@request("get_order_statuses", service="orders", read=True)
class GetOrderStatuses(Request[list[OrderState]], frozen=True, kw_only=True):
    """How far orders have come, in any order; those that do not exist are left out. For
    services."""

    order_ids: list[str]
    actor: Actor | None = None


class OrderSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The order as it was at the event, so that consumers need ask nobody."""

    id: str
    number: str
    user: User
    lines: list[Line]
    total: Money


@event("order.placed.v1")
class OrderPlaced(Event, frozen=True, kw_only=True):
    """An order is stored and its stock is held."""

    order: OrderSnapshot


@event("order.paid.v1", consumers=("products", "notifications"))
class OrderPaid(Event, frozen=True, kw_only=True):
    """A captured payment covers the total."""

    order: OrderSnapshot
    payment_id: str


@event("order.payment_failed.v1", consumers=("notifications",))
class OrderPaymentFailed(Event, frozen=True, kw_only=True):
    """A payment was declined and another may be tried."""

    order: OrderSnapshot
    payment_id: str
    reason: str
    attempts_left: int


@event("order.rejected.v1", consumers=("products", "notifications"))
class OrderRejected(Event, frozen=True, kw_only=True):
    """The last payment that may be tried was declined."""

    order: OrderSnapshot
    reason: str


@event("order.canceled.v1", consumers=("products", "payments", "notifications"))
class OrderCanceled(Event, frozen=True, kw_only=True):
    """The order was given up: by its owner, an admin, the deadline, or for want of goods."""

    order: OrderSnapshot
    reason: str
    was_paid: bool


@event("order.refund_due.v1", consumers=("payments",))
class OrderRefundDue(Event, frozen=True, kw_only=True):
    """Money was captured that the order does not want. Once per payment."""

    order_id: str
    payment_id: str
    amount: Money
    reason: str


@event("order.payment_unwanted.v1", consumers=("payments",))
class OrderPaymentUnwanted(Event, frozen=True, kw_only=True):
    """A payment is awaited that the order had ended before it learned of. Once per payment."""

    order_id: str
    payment_id: str
    reason: str


@event("order.refunded.v1", consumers=("notifications",))
class OrderRefunded(Event, frozen=True, kw_only=True):
    """The money of one of the order's payments was given back."""

    order: OrderSnapshot
    payment_id: str
    amount: Money


EVENTS: tuple[type[Event], ...] = (
    OrderPlaced,
    OrderPaid,
    OrderPaymentFailed,
    OrderRejected,
    OrderCanceled,
    OrderRefundDue,
    OrderPaymentUnwanted,
    OrderRefunded,
)
