"""The rules of an order. Pure: values in, a new order or a refusal out.

    (new) ──► AWAITING_PAYMENT ──captured──► PAID ──admin, out of stock, or all refunded──► CANCELED
                    ├──authorized──► AUTHORIZED (see `authorized`) ──captured──► PAID
                    ├──third decline──► REJECTED └──all refunded after shipping──► REFUNDED
                    └──owner, admin, deadline──► CANCELED

A transition that has already happened changes nothing, because events may be redelivered. Money
captured for an order that is not waiting for it is refunded, once per payment. Refunds are counted
by their ids. If the refund of a REFUNDED order comes back, the order is PAID again.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    AddressRequired,
    Adjustment,
    CancelOrder,
    Fulfillment,
    FulfillmentStatus,
    InvalidTransition,
    Line,
    LineRefused,
    OrderCanceled,
    OrderConfirmationDue,
    OrderNotFound,
    OrderPaid,
    OrderPaymentFailed,
    OrderPaymentUnwanted,
    OrderPlaced,
    OrderRefundDue,
    OrderRefunded,
    OrderRejected,
    OrderSnapshot,
    OrderStatus,
    OrderView,
    PayableOrder,
    PlaceOrder,
    ReasonRequired,
    ShippingAddress,
)
from cartwheel.contracts.parcels import Pieces
from cartwheel.contracts.payments import (
    Method,
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentDisputeClosed,
    PaymentPending,
    PaymentRefunded,
    PaymentRefundFailed,
    RefundStatus,
)
from cartwheel.contracts.products import Reservation
from cartwheel.kernel import Change, Event
from cartwheel.kernel.errors import FieldError
from cartwheel.orders.domain.parcels import CalledOff, Return, Shipment

PAYMENT_DEADLINE = timedelta(minutes=15)
"""How long an order waits for its payment, unless the deployment sets another time."""

CASH_DEADLINE = timedelta(days=7)
"""How long an order waits for its cash, from when cash was first chosen, unless the deployment sets
another time."""

TIME_TO_PAY = timedelta(minutes=2)
"""What is left at least to pay in another way after cash was canceled."""

MAX_ATTEMPTS = 3
"""The order is rejected when this many payments have been declined."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one customer may have reserved. 0 open orders is no bound.

    `pieces_per_line` counts the pieces of one product, `pieces_per_order` those of all.
    """

    open_orders: int = 10
    pieces_per_line: int = 1_000
    pieces_per_order: int = 2_000


class GivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """A refund of one of the order's payments, or a dispute that the shop has lost."""

    id: str
    payment_id: str
    amount: Money
    status: RefundStatus


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order. Its `events`, and the `change` that made them, are not stored yet.

    Each of `declined_payments` used up an attempt. `failed_payments` never reached an issuer.
    `begun_payments` were left waiting, as a payment in cash is; `canceled_payments` were given up
    while they waited. `acting_payments` have waited for their customer's approval.

    `refunds` are counted by id. `refunded_payments` has the same payments by their own id: older
    versions count by that, and made one refund of each, with an id from the payment's.

    `authorized_by` is the payment that reserves the money of an AUTHORIZED order.

    `expires_at` is one of two deadlines: `pay_by`, which the order was placed with, or `cash_until`
    while cash is waited for. Orders of an older version have neither. An order that is shipped has
    no deadline. `action_until` is the `pay_by` of an order of which a payment had to be approved.

    `fulfillment` is derived from `shipments`, `called_off` and `returns`, oldest first.
    """

    id: str
    number: str
    request_id: str
    body_hash: str
    user: User
    lines: list[Line]
    adjustments: list[Adjustment]
    total: Money
    status: OrderStatus
    shipping_address: ShippingAddress | None
    fulfillment: Fulfillment
    declined_payments: list[str]
    paid_by: str | None
    authorized_by: str | None = None
    refunds_due: list[str] = msgspec.field(default_factory=list[str])
    refunded_payments: list[str] = msgspec.field(default_factory=list[str])
    refunds: list[GivenBack] = msgspec.field(default_factory=list[GivenBack])
    expires_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    failed_payments: list[str] = msgspec.field(default_factory=list[str])
    begun_payments: list[str] = msgspec.field(default_factory=list[str])
    canceled_payments: list[str] = msgspec.field(default_factory=list[str])
    acting_payments: list[str] = msgspec.field(default_factory=list[str])
    pay_by: datetime | None = None
    action_until: datetime | None = None
    cash_until: datetime | None = None
    shipments: list[Shipment] = msgspec.field(default_factory=list[Shipment])
    called_off: list[CalledOff] = msgspec.field(default_factory=list[CalledOff])
    returns: list[Return] = msgspec.field(default_factory=list[Return])
    sequence: int = 0
    events: tuple[Event, ...] = ()
    change: Change | None = None

    def view(self) -> OrderView:
        return OrderView(
            id=self.id,
            number=self.number,
            user=self.user,
            lines=self.lines,
            adjustments=self.adjustments,
            total=self.total,
            status=self.status,
            shipping_address=self.shipping_address,
            fulfillment=self.fulfillment,
            payment_attempts=len(self.declined_payments),
            expires_at=self.expires_at,
            version=self.version,
            created_at=self.created_at,
            updated_at=self.updated_at,
            refunded=self.given_back,
            shipments=[each.view() for each in self.shipments],
            called_off=[each.view() for each in self.called_off],
            returns=[each.view() for each in self.returns],
        )

    def may_be_seen_by(self, actor: Actor) -> bool:
        return actor.admin or actor.user_id == self.user.id

    @property
    def is_shipped(self) -> bool:
        """Return whether goods of the order have left, and have not come back undelivered."""
        return self.fulfillment.status is not FulfillmentStatus.UNFULFILLED

    @property
    def due(self) -> Money:
        """What is to be captured: the total, without what was called off before."""
        spared = sum(
            each.amount.amount
            for each in self.called_off
            if each.amount is not None and each.refund_id is None
        )
        return Money(self.total.amount - spared, self.total.currency)

    @property
    def given_back(self) -> Money:
        """What went back of the payment that paid the order: refunds, and lost disputes."""
        back = Money(0, self.total.currency)
        for each in self.refunds:
            if each.payment_id == self.paid_by and each.status is RefundStatus.SUCCEEDED:
                back += each.amount
        return back

    @property
    def awaited_payments(self) -> set[str]:
        """Payments in cash of which nothing more has been heard."""
        ended = (
            *self.canceled_payments,
            *self.declined_payments,
            *self.failed_payments,
            *self.refunds_due,
        )
        return {*self.begun_payments} - {*ended, self.paid_by}

    def snapshot(self) -> OrderSnapshot:
        return OrderSnapshot(
            id=self.id, number=self.number, user=self.user, lines=self.lines, total=self.total
        )


def place(
    request: PlaceOrder,
    reservation: Reservation,
    *,
    number: str,
    at: datetime,
    pay_within: timedelta = PAYMENT_DEADLINE,
    mailed: bool = False,
) -> Order:
    """Return the order that `request` asks for, with the reserved lines and their prices.

    If `mailed`, it calls for a mail to the customer.
    """
    lines = [
        Line(
            product_id=line.product_id,
            name=line.name,
            quantity=line.quantity,
            unit_price=line.unit_price,
        )
        for line in reservation.lines
    ]
    order = Order(
        id=reservation.order_id,
        number=number,
        request_id=request.request_id,
        body_hash=request.body_hash,
        user=request.user,
        lines=lines,
        adjustments=[],
        total=total_of(lines),
        status=OrderStatus.AWAITING_PAYMENT,
        shipping_address=request.shipping_address,
        fulfillment=Fulfillment(),
        declined_payments=[],
        paid_by=None,
        expires_at=at + pay_within,
        pay_by=at + pay_within,
        version=0,
        created_at=at,
        updated_at=at,
    )
    change = Change(by=request.user.id, at=at, traceparent=request.traceparent)
    placed = OrderPlaced(order=order.snapshot())
    due = (OrderConfirmationDue(order=order.snapshot()),) if mailed else ()
    return changed(order, placed, *due, change=change)


def total_of(lines: Sequence[Line]) -> Money:
    total = Money(0, lines[0].unit_price.currency)
    for line in lines:
        total += line.unit_price * line.quantity
    return total


def payable(order: Order, address: ShippingAddress | None) -> PayableOrder:
    """Return what has to be paid, and where the goods go: to `address` if the payment brings one.

    Raises:
        InvalidTransition: the order is not awaiting payment.
        AddressRequired: neither the order nor the payment has a shipping address.
    """
    if order.status is not OrderStatus.AWAITING_PAYMENT:
        raise InvalidTransition(f"The order is {order.status} and cannot be paid.")
    if address is None and order.shipping_address is None:
        detail = "`shipping_address` is required: the order has none."
        raise AddressRequired(detail, errors=[FieldError("shipping_address", detail)])
    return PayableOrder(
        order_id=order.id,
        total=order.total,
        attempts=MAX_ATTEMPTS,
        declines=len(order.declined_payments),
    )


def payment_begun(
    order: Order, begun: PaymentPending, cash_within: timedelta, change: Change
) -> Order:
    """Return `order` with the deadline of its payment method: cash may take `cash_within`.

    That time begins when cash is first chosen. Otherwise, whoever cancels and chooses it again
    would hold the stock forever.

    If the order has ended in the meantime, it emits `OrderPaymentUnwanted`. Without that event the
    payment would stay open forever.
    """
    known = (
        *order.begun_payments,
        *order.canceled_payments,
        *order.declined_payments,
        *order.failed_payments,
        *order.refunds_due,
        order.paid_by,
    )
    if begun.method is not Method.CASH_ON_DELIVERY or begun.payment_id in known:
        return order
    order = msgspec.structs.replace(order, begun_payments=[*order.begun_payments, begun.payment_id])
    if order.status is OrderStatus.AWAITING_PAYMENT:
        cash_until = order.cash_until or change.at + cash_within
        waiting = msgspec.structs.replace(
            sent_to(begun.shipping_address, order),
            expires_at=None if order.is_shipped else cash_until,
            cash_until=cash_until,
            pay_by=order.pay_by or order.expires_at,
        )
        return changed(waiting, change=change)
    event = OrderPaymentUnwanted(
        order_id=order.id, payment_id=begun.payment_id, reason=f"The order is {order.status}."
    )
    return changed(order, event, change=change)


def payment_canceled(order: Order, canceled: PaymentCanceled, change: Change) -> Order:
    """Return `order` as it was before the payment that its customer has given up.

    If no cash is waited for any more, its first deadline holds again, with `TIME_TO_PAY` left at
    least. It is no attempt, and the customer is not told: they did it themselves.
    """
    payment_id = canceled.payment_id
    if order.status is not OrderStatus.AWAITING_PAYMENT or payment_id in order.canceled_payments:
        return order
    waited = bool(order.awaited_payments)
    order = msgspec.structs.replace(order, canceled_payments=[*order.canceled_payments, payment_id])
    if waited and not order.awaited_payments and not order.is_shipped:
        soon = change.at + TIME_TO_PAY
        order = msgspec.structs.replace(order, expires_at=max(order.pay_by or soon, soon))
    return changed(order, change=change)


def with_deadline(order: Order, cash_within: timedelta, change: Change) -> Order:
    """Return an `order` that an older version has wait for cash forever, with a deadline."""
    waits = order.status is OrderStatus.AWAITING_PAYMENT and not order.is_shipped
    if not waits or order.expires_at is not None:
        return order
    until = change.at + cash_within
    dated = msgspec.structs.replace(order, expires_at=until, cash_until=until)
    return changed(dated, change=change)


def pay(order: Order, captured: PaymentCaptured, change: Change) -> Order:
    """Return `order` as PAID, or with a refund due if it is not waiting for this payment."""
    payment_id, amount = captured.payment_id, captured.amount
    if payment_id in (order.paid_by, *order.refunds_due):
        return order
    authorized = order.status is OrderStatus.AUTHORIZED and order.authorized_by == payment_id
    if order.status is not OrderStatus.AWAITING_PAYMENT and not authorized:
        return _with_refund_due(
            order, payment_id, amount, "The payment came after the order had ended.", change=change
        )
    if amount != order.due:
        return _with_refund_due(
            order, payment_id, amount, "The payment differs from the order's total.", change=change
        )
    paid = msgspec.structs.replace(
        sent_to(captured.shipping_address, order),
        status=OrderStatus.PAID,
        paid_by=payment_id,
        authorized_by=None,
        expires_at=None,
    )
    event = OrderPaid(order=order.snapshot(), payment_id=payment_id, amount=amount)
    # Its refunds may be known before it is.
    return _all_given_back(changed(paid, event, change=change), change)


def payment_declined(order: Order, declined: PaymentDeclined, change: Change) -> Order:
    """Return `order` with one more declined payment; the last permitted one makes it REJECTED.

    A failure that never reached the issuer does not count as an attempt. The customer is told.
    """
    payment_id, reason = declined.payment_id, declined.failure.message
    known = (*order.declined_payments, *order.failed_payments)
    if order.status is not OrderStatus.AWAITING_PAYMENT or payment_id in known:
        return order
    if not order.awaited_payments:  # pending cash was begun after the decline
        order = sent_to(declined.shipping_address, order)
    if declined.counts:
        counted = [*order.declined_payments, payment_id]
        order = msgspec.structs.replace(order, declined_payments=counted)
    else:
        failed = [*order.failed_payments, payment_id]
        order = msgspec.structs.replace(order, failed_payments=failed)
    left = MAX_ATTEMPTS - len(order.declined_payments)
    if left > 0:
        event = OrderPaymentFailed(
            order=order.snapshot(), payment_id=payment_id, reason=reason, attempts_left=left
        )
        return changed(order, event, change=change)
    rejected = msgspec.structs.replace(order, status=OrderStatus.REJECTED, expires_at=None)
    event = OrderRejected(order=order.snapshot(), reason=reason)
    return changed(rejected, event, change=change)


def cancel_as_asked(order: Order, request: CancelOrder, change: Change) -> Order:
    """Return `order` as CANCELED by its owner or an admin.

    Raises:
        OrderNotFound: the actor is neither.
        ReasonRequired: an admin gives no reason.
        InvalidTransition: the order can no longer be canceled.
    """
    reason = reason_of(order, request)
    return cancel(order, change, reason=reason, by_admin=request.actor.admin)


def reason_of(order: Order, request: CancelOrder) -> str:
    """Return why `order` is to be canceled.

    Raises:
        OrderNotFound: the actor is neither its owner nor an admin.
        ReasonRequired: an admin gives no reason.
    """
    actor = request.actor
    owner = order.user.id == actor.user_id
    if not owner and not actor.admin:
        raise OrderNotFound("There is no such order.")
    # An admin must give a reason for another user's order, and for one that only admins may cancel.
    paid = order.status in (OrderStatus.PAID, OrderStatus.REFUNDED)
    as_admin = not owner or (actor.admin and paid)
    if as_admin and not request.reason:
        detail = "`reason` is required: say why the order is canceled."
        raise ReasonRequired(detail, errors=[FieldError("reason", detail)])
    return request.reason or "Canceled by the customer."


def cancel(order: Order, change: Change, *, reason: str, by_admin: bool = False) -> Order:
    """Return `order` as CANCELED. Only an admin may cancel a paid one; a refund is then due.

    Raises:
        InvalidTransition: the order can no longer be canceled.
    """
    if order.status is OrderStatus.CANCELED:
        return order
    paid = order.status is OrderStatus.PAID
    ended = order.status in (OrderStatus.REJECTED, OrderStatus.REFUNDED)
    if ended or order.is_shipped or (paid and not by_admin):
        state = "shipped" if order.is_shipped and not ended else order.status
        raise InvalidTransition(f"The order is {state} and cannot be canceled.")
    canceled = end_as_canceled(order, reason, change)
    if order.paid_by is None:
        return canceled
    return _with_refund_due(canceled, order.paid_by, order.due, reason, change=change)


def expire(order: Order, change: Change) -> Order:
    """Return `order` as CANCELED if its payment deadline has passed."""
    if order.status is not OrderStatus.AWAITING_PAYMENT:
        return order
    if order.expires_at is None or order.expires_at > change.at:
        return order
    return cancel(order, change, reason="It was not paid in time.")


def out_of_stock(order: Order, change: Change) -> Order:
    """Return a paid `order` as CANCELED; an order in any other status needs no stock.

    What is shipped was there after all.
    """
    if order.status is not OrderStatus.PAID or order.is_shipped:
        return order
    return cancel(order, change, reason="The goods are sold out.", by_admin=True)


def refunded(order: Order, refund: PaymentRefunded, change: Change) -> Order:
    """Return `order` with a refund counted, once, and its customer told.

    If that was all of the money, a shipped order is REFUNDED, and another one CANCELED.
    """
    payment_id, refund_id = refund.payment_id, refund.refund_id
    by_older_version = payment_id in order.refunded_payments and not any(
        each.payment_id == payment_id for each in order.refunds
    )
    if by_older_version and refund_id == payment_id.replace("pay_", "rfd_", 1):
        return order
    if any(each.id == refund_id for each in order.refunds):
        return order
    order = _with_given_back(order, payment_id, refund_id, refund.amount, RefundStatus.SUCCEEDED)
    if payment_id not in order.refunded_payments:
        noted = [*order.refunded_payments, payment_id]
        order = msgspec.structs.replace(order, refunded_payments=noted)
    event = OrderRefunded(order=order.snapshot(), payment_id=payment_id, amount=refund.amount)
    return _all_given_back(changed(order, event, change=change), change)


def refund_failed(order: Order, refund: PaymentRefundFailed, change: Change) -> Order:
    """Return `order` without a refund that failed; it may have been counted, or may be later.

    An order that was REFUNDED is PAID again. A CANCELED one stays so: its money is due, and
    `cartwheel verify` says that it needs a person.
    """
    known = next((each for each in order.refunds if each.id == refund.refund_id), None)
    if known is not None and known.status is RefundStatus.FAILED:
        return order
    order = _with_given_back(
        order, refund.payment_id, refund.refund_id, refund.amount, RefundStatus.FAILED
    )
    if order.status is OrderStatus.REFUNDED and order.given_back.amount < order.due.amount:
        order = msgspec.structs.replace(order, status=OrderStatus.PAID)
    return changed(order, change=change)


def dispute_closed(order: Order, dispute: PaymentDisputeClosed, change: Change) -> Order:
    """Return `order` with the money of a lost dispute counted as given back."""
    if dispute.won or any(each.id == dispute.dispute_id for each in order.refunds):
        return order
    order = _with_given_back(
        order, dispute.payment_id, dispute.dispute_id, dispute.amount, RefundStatus.SUCCEEDED
    )
    return _all_given_back(changed(order, change=change), change)


def price_of(order: Order, pieces: Sequence[Pieces]) -> Money:
    """Return what `pieces` of the order's lines cost, without its adjustments.

    Raises:
        LineRefused: the order has no such line, or fewer pieces.
    """
    lines = {line.product_id: line for line in order.lines}
    asked: Counter[str] = Counter()
    for place, each in enumerate(pieces):
        asked[each.product_id] += each.quantity
        line = lines.get(each.product_id)
        if line is None or asked[each.product_id] > line.quantity:
            field = f"lines[{place}]"
            detail = f"`{field}` must be one of the order's lines, with no more pieces than it has."
            raise LineRefused(detail, errors=[FieldError(field, detail)])
    return price(order, asked)


def price(order: Order, pieces: Counter[str]) -> Money:
    """Return what `pieces` of each product cost, all of which are the order's."""
    total = Money(0, order.total.currency)
    for line in order.lines:
        total += line.unit_price * pieces[line.product_id]
    return total


def _with_given_back(
    order: Order, payment_id: str, back_id: str, amount: Money, status: RefundStatus
) -> Order:
    back = GivenBack(id=back_id, payment_id=payment_id, amount=amount, status=status)
    others = [each for each in order.refunds if each.id != back_id]
    return msgspec.structs.replace(order, refunds=[*others, back])


def _all_given_back(order: Order, change: Change) -> Order:
    """Return a PAID `order` as REFUNDED or CANCELED if all of its money went back."""
    if order.status is not OrderStatus.PAID or order.given_back.amount < order.due.amount:
        return order
    if order.is_shipped:
        return msgspec.structs.replace(order, status=OrderStatus.REFUNDED)
    return end_as_canceled(order, "All of its money was refunded.", change)


def end_as_canceled(order: Order, reason: str, change: Change) -> Order:
    canceled = msgspec.structs.replace(
        order, status=OrderStatus.CANCELED, authorized_by=None, expires_at=None
    )
    was_paid = order.status is OrderStatus.PAID
    event = OrderCanceled(order=order.snapshot(), reason=reason, was_paid=was_paid)
    return changed(canceled, event, change=change)


def sent_to(address: ShippingAddress | None, order: Order) -> Order:
    """Return `order` with the payment's shipping address, if the payment has one."""
    return msgspec.structs.replace(order, shipping_address=address) if address else order


def _with_refund_due(
    order: Order, payment_id: str, amount: Money, reason: str, *, change: Change
) -> Order:
    event = OrderRefundDue(order_id=order.id, payment_id=payment_id, amount=amount, reason=reason)
    order = msgspec.structs.replace(order, refunds_due=[*order.refunds_due, payment_id])
    return changed(order, event, change=change)


def changed(order: Order, *events: Event, change: Change) -> Order:
    return msgspec.structs.replace(
        order,
        version=order.version + 1,
        updated_at=change.at,
        events=(*order.events, *events),
        change=change,
    )
