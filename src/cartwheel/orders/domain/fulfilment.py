"""The rules of an order's goods. Pure: values in, a new order or a refusal out.

    parcel   SHIPPED ──► DELIVERED
                └──refused, or not to be delivered──► FAILED
    return   REQUESTED ──► ACCEPTED ──► RECEIVED
                └──────────────┴──► DECLINED

`Fulfillment.status` is derived from the parcels, the returns and what was called off. The order's
own status says what becomes of the money. Shipping and canceling change the same document, so its
version lets only one of them happen.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from cartwheel.contracts.fulfilment import (
    CallOffPieces,
    CashShipsWhole,
    DecideReturn,
    DeliveryFailed,
    NothingLeftToShip,
    NothingToReturn,
    NotPaid,
    OrderShipped,
    ParcelDelivered,
    ParcelShipped,
    PiecesCalledOff,
    ReceiveReturn,
    ReportDelivered,
    ReportDeliveryFailed,
    RequestReturn,
    ReturnAccepted,
    ReturnDeclined,
    ReturnNotFound,
    ReturnReceived,
    ReturnRequested,
    ReturnWindowClosed,
    ShipmentNotFound,
    ShipOrder,
    TooManyReturns,
    TooManyShipments,
)
from cartwheel.contracts.idempotency import check_repeated
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    CancelOrder,
    Fulfillment,
    FulfillmentStatus,
    InvalidTransition,
    OrderNotFound,
    OrderRefundDue,
    OrderStatus,
)
from cartwheel.contracts.parcels import (
    Pieces,
    ReturnedLine,
    ReturnStatus,
    ShipmentStatus,
)
from cartwheel.contracts.payments import PaymentCanceled
from cartwheel.kernel import Change, Event
from cartwheel.kernel.errors import FieldError
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain import parcels
from cartwheel.orders.domain.order import Order
from cartwheel.orders.domain.parcels import CalledOff, Quantities, Return, Shipment

Made = TypeVar("Made", Shipment, Return, CalledOff)
Keyed = (
    ShipOrder
    | CallOffPieces
    | ReportDelivered
    | ReportDeliveryFailed
    | RequestReturn
    | DecideReturn
    | ReceiveReturn
)

MOST_SHIPMENTS = 100
MOST_RETURNS = 50

RETURN_WINDOW = timedelta(days=30)
"""How long after its delivery a piece can be returned, unless the deployment sets another time."""

_PAID = (OrderStatus.PAID, OrderStatus.REFUNDED)
_UNPAID = (OrderStatus.AWAITING_PAYMENT, OrderStatus.REJECTED, OrderStatus.CANCELED)


def ship(order: Order, request: ShipOrder, shipment_id: str, change: Change) -> Order:
    """Return `order` with the parcel that `request` records; unchanged if it is recorded already.

    An order paid in cash on delivery is shipped whole. From then on it has no deadline, and its
    payment cannot be canceled.

    Raises:
        IdempotencyKeyReused: the key was used for another request.
        NotPaid, TooManyShipments, NothingLeftToShip, CashShipsWhole
    """
    if _repeated(request, order.shipments):
        return order
    in_cash = order.status is OrderStatus.AWAITING_PAYMENT and bool(order.awaited_payments)
    if order.status is not OrderStatus.PAID and not in_cash:
        raise NotPaid(f"The order is {order.status} and cannot be shipped.")
    if len(order.shipments) >= MOST_SHIPMENTS:
        raise TooManyShipments(f"An order has at most {MOST_SHIPMENTS} parcels.")
    left = left_to_ship(order)
    wanted = parcels.quantities(request.lines)
    if not wanted:
        raise NothingLeftToShip("The parcel is empty.")
    if errors := _beyond(request.lines, wanted, left, "are left to ship"):
        raise NothingLeftToShip("The parcel has more than is left to ship.", errors=errors)
    if in_cash and wanted != left:
        raise CashShipsWhole("An order that is paid in cash on delivery is shipped in one parcel.")
    shipment = Shipment(
        id=shipment_id,
        requests={request.request_id: request.body_hash},
        lines=_lines(wanted),
        status=ShipmentStatus.SHIPPED,
        shipped_at=change.at,
        carrier=request.carrier,
        tracking=request.tracking,
    )
    event = ParcelShipped(order=order.snapshot(), shipment=shipment.view())
    shipments = [*order.shipments, shipment]
    return _after(order, event, change=change, shipments=shipments, expires_at=None)


def left_to_ship(order: Order) -> Quantities:
    """Return the pieces that are neither shipped nor called off."""
    gone = parcels.shipped(order.shipments) + parcels.called_off(order.called_off)
    ordered: Quantities = Quantities({line.product_id: line.quantity for line in order.lines})
    return ordered - gone


def deliver(order: Order, request: ReportDelivered, change: Change) -> Order:
    """Return `order` with the parcel delivered; unchanged if it is already.

    Raises:
        ShipmentNotFound: the order has no such parcel.
        InvalidTransition: its delivery has failed.
    """
    shipment = shipment_of(order, request.shipment_id)
    if _repeated(request, order.shipments) or shipment.status is ShipmentStatus.DELIVERED:
        return order
    if shipment.status is ShipmentStatus.FAILED:
        raise InvalidTransition("The delivery of this parcel has failed.")
    arrived = msgspec.structs.replace(
        shipment,
        status=ShipmentStatus.DELIVERED,
        delivered_at=change.at,
        requests=_and(request, shipment),
    )
    event = ParcelDelivered(order=order.snapshot(), shipment=arrived.view())
    return _after(order, event, change=change, shipments=_with(order.shipments, arrived))


def fail_delivery(order: Order, request: ReportDeliveryFailed, change: Change) -> Order:
    """Return `order` with the parcel back at the shop; unchanged if it is already.

    If its cash is still awaited, the customer has refused it: the order is canceled. Otherwise the
    pieces are on the shelf again, to be shipped once more or to be called off.

    Raises:
        ShipmentNotFound: the order has no such parcel.
        InvalidTransition: it was delivered.
    """
    shipment = shipment_of(order, request.shipment_id)
    if _repeated(request, order.shipments) or shipment.status is ShipmentStatus.FAILED:
        return order
    if shipment.status is ShipmentStatus.DELIVERED:
        raise InvalidTransition("The parcel was delivered. What comes back now is a return.")
    failed = msgspec.structs.replace(
        shipment,
        status=ShipmentStatus.FAILED,
        failed_at=change.at,
        requests=_and(request, shipment),
    )
    event = DeliveryFailed(order=order.snapshot(), shipment=failed.view(), reason=request.reason)
    order = _after(order, event, change=change, shipments=_with(order.shipments, failed))
    if order.status is not OrderStatus.AWAITING_PAYMENT:
        return order
    canceled = rules.cancel(order, change, reason=request.reason)
    back = msgspec.structs.replace(order.fulfillment, status=FulfillmentStatus.RETURNED)
    return msgspec.structs.replace(canceled, fulfillment=back)


def cancel_or_call_off(
    order: Order, request: CancelOrder, call_off_id: str, change: Change
) -> Order:
    """Return `order` as CANCELED, or without its unshipped rest if a part of it is shipped.

    Only an admin calls off a rest. Its price is refunded, and the order stays PAID. The rest of a
    REFUNDED order can be called off, too; nothing is left to refund.

    Raises:
        OrderNotFound, ReasonRequired: as `order.cancel_as_asked`.
        InvalidTransition: all of it is shipped, or it can no longer be canceled.
    """
    partly = order.status in _PAID and order.is_shipped
    if not partly or not request.actor.admin:
        return rules.cancel_as_asked(order, request, change)
    reason = rules.reason_of(order, request)
    rest = left_to_ship(order)
    if not rest and order.called_off:
        return order
    if not rest:
        raise InvalidTransition("The order is shipped and cannot be canceled. Use a return.")
    amount = _owed(order, rest)
    gone = CalledOff(
        id=call_off_id,
        lines=_lines(rest),
        reason=reason,
        at=change.at,
        refund_id=_refund_id(call_off_id) if amount else None,
        amount=amount,
    )
    events: list[Event] = [
        PiecesCalledOff(order=order.snapshot(), called_off=gone.view(), reason=reason),
        *_refund_due(order, gone.refund_id, amount, reason),
    ]
    return _after(order, *events, change=change, called_off=[*order.called_off, gone])


def call_off(order: Order, request: CallOffPieces, call_off_id: str, change: Change) -> Order:
    """Return an AUTHORIZED `order` without the pieces that `request` names: they are not captured.

    Raises:
        IdempotencyKeyReused: the key was used for another request.
        InvalidTransition: the money is not reserved any more, or nothing would be left of it.
        NothingLeftToShip
    """
    if _repeated(request, order.called_off):
        return order
    if order.status is not OrderStatus.AUTHORIZED:
        raise InvalidTransition(f"The order is {order.status}: no money is reserved for it.")
    left, wanted = left_to_ship(order), parcels.quantities(request.lines)
    if errors := _beyond(request.lines, wanted, left, "are left to call off"):
        raise NothingLeftToShip("More is called off than is left of the order.", errors=errors)
    amount = rules.price(order, wanted)
    if wanted == left or amount.amount >= order.due.amount:
        raise InvalidTransition("Nothing would be left to pay. Cancel the order.")
    gone = CalledOff(
        id=call_off_id,
        requests={request.request_id: request.body_hash},
        lines=_lines(wanted),
        reason=request.reason,
        at=change.at,
        amount=amount if amount.amount else None,
    )
    event = PiecesCalledOff(order=order.snapshot(), called_off=gone.view(), reason=request.reason)
    return _after(order, event, change=change, called_off=[*order.called_off, gone])


def owe_called_off(order: Order, captured: Money) -> tuple[Order, list[CalledOff]]:
    """Return `order` with refunds for pieces that were called off, and yet are in what is captured.

    They were called off while the capture was under way, or it was an expiring authorization that
    was captured whole. The last ones are refunded first, until the rest is what is due.
    """
    owed: list[CalledOff] = []
    for each in reversed(order.called_off):
        if order.due.amount >= captured.amount:
            break
        if each.amount is not None and each.refund_id is None:
            each = msgspec.structs.replace(each, refund_id=_refund_id(each.id))
            order = msgspec.structs.replace(order, called_off=_with(order.called_off, each))
            owed.append(each)
    return order, owed


def with_refunds_due(order: Order, owed: Sequence[CalledOff], change: Change) -> Order:
    """Return a paid `order` that tells payments to refund the pieces `owed`."""
    events = [
        event
        for each in owed
        for event in _refund_due(order, each.refund_id, each.amount, each.reason)
    ]
    return rules.changed(order, *events, change=change) if events else order


def give_up_cash(order: Order, payment_id: str, change: Change) -> Order:
    """Return `order` without the cash payment that payments is about to cancel.

    The event of that cancellation then changes nothing, and the order cannot be shipped for it.

    Raises:
        OrderShipped: the payment is awaited at the door.
    """
    if order.status is not OrderStatus.AWAITING_PAYMENT or payment_id in order.canceled_payments:
        return order
    if order.is_shipped:
        raise OrderShipped("The order is shipped, and its cash is awaited at the door.")
    given_up = PaymentCanceled(payment_id=payment_id, order_id=order.id)
    return rules.payment_canceled(order, given_up, change)


def request_return(
    order: Order, request: RequestReturn, return_id: str, window: timedelta, change: Change
) -> Order:
    """Return `order` with the return that is asked for; unchanged if it was before.

    Raises:
        OrderNotFound: the actor is neither the order's owner nor an admin.
        IdempotencyKeyReused: the key was used for another request.
        NotPaid, TooManyReturns
        NothingToReturn: it has more than was delivered and is not in another return.
        ReturnWindowClosed: too much of it was delivered longer ago than `window`.
    """
    if not order.may_be_seen_by(request.actor):
        raise OrderNotFound("There is no such order.")
    if _repeated(request, order.returns):
        return order
    if order.status in _UNPAID:
        raise NotPaid(f"The order is {order.status}, so there is nothing to pay back.")
    if len(order.returns) >= MOST_RETURNS:
        raise TooManyReturns(f"An order has at most {MOST_RETURNS} returns.")
    wanted = parcels.quantities(request.lines)
    others = parcels.returned(order.returns) + parcels.on_their_way_back(order.returns)
    left = parcels.delivered(order.shipments) - others
    if errors := _beyond(request.lines, wanted, left, "can be returned"):
        raise NothingToReturn("The return has more than can be returned.", errors=errors)
    recent = parcels.delivered(
        [
            each
            for each in order.shipments
            if each.delivered_at is not None and change.at - each.delivered_at <= window
        ]
    )
    if errors := _beyond(request.lines, wanted, recent, "were delivered recently enough"):
        raise ReturnWindowClosed(
            f"Pieces can be returned within {window.days} days of their delivery.", errors=errors
        )
    asked = Return(
        id=return_id,
        requests={request.request_id: request.body_hash},
        lines=[
            ReturnedLine(product_id=product_id, quantity=quantity)
            for product_id, quantity in wanted.items()
        ],
        reason=request.reason,
        status=ReturnStatus.REQUESTED,
        requested_at=change.at,
    )
    event = ReturnRequested(order=order.snapshot(), returned=asked.view(), reason=request.reason)
    return _after(order, event, change=change, returns=[*order.returns, asked])


def decide_return(order: Order, request: DecideReturn, change: Change) -> Order:
    """Return `order` with the return accepted or declined; unchanged if it is already.

    An accepted return whose pieces never came can still be declined.

    Raises:
        ReturnNotFound: the order has no such return.
        InvalidTransition: it was decided otherwise, or its pieces have arrived.
    """
    asked = return_of(order, request.return_id)
    wanted = ReturnStatus.ACCEPTED if request.accepted else ReturnStatus.DECLINED
    if _repeated(request, order.returns) or asked.status is wanted:
        return order
    if asked.status in (ReturnStatus.RECEIVED, ReturnStatus.DECLINED):
        raise InvalidTransition(f"The return is {asked.status}.")
    decided = msgspec.structs.replace(
        asked,
        status=wanted,
        note=request.note,
        decided_at=change.at,
        requests=_and(request, asked),
    )
    kind = ReturnAccepted if request.accepted else ReturnDeclined
    event = kind(order=order.snapshot(), returned=decided.view())
    return _after(order, event, change=change, returns=_with(order.returns, decided))


def receive_return(order: Order, request: ReceiveReturn, change: Change) -> Order:
    """Return `order` with what has arrived of a return, and the refund of its price due.

    The price of a piece is its unit price. Adjustments are refunded only with a whole order.
    Unchanged if the same request has recorded it already.

    Raises:
        ReturnNotFound: the order has no such return.
        IdempotencyKeyReused: the key was used for another request.
        InvalidTransition: the return is not accepted, or was received before.
        NothingToReturn: more has arrived than the return has.
    """
    accepted = return_of(order, request.return_id)
    if _repeated(request, order.returns):
        return order
    if accepted.status is not ReturnStatus.ACCEPTED:
        raise InvalidTransition(f"The return is {accepted.status} and cannot be received.")
    restocked = Quantities()
    written_off = Quantities()
    for line in request.lines:
        restocked[line.product_id] += line.restocked
        written_off[line.product_id] += line.written_off
    arrived = restocked + written_off
    expected = Quantities({line.product_id: line.quantity for line in accepted.lines})
    if errors := _beyond(request.lines, arrived, expected, "are in the return"):
        raise NothingToReturn("More has arrived than the return has.", errors=errors)
    amount = _owed(order, arrived)
    received = msgspec.structs.replace(
        accepted,
        status=ReturnStatus.RECEIVED,
        lines=[
            msgspec.structs.replace(
                line,
                restocked=restocked[line.product_id],
                written_off=written_off[line.product_id],
            )
            for line in accepted.lines
        ],
        received_at=change.at,
        requests=_and(request, accepted),
        refund_id=_refund_id(accepted.id) if amount else None,
        amount=amount,
    )
    events: list[Event] = [
        ReturnReceived(order=order.snapshot(), returned=received.view()),
        *_refund_due(order, received.refund_id, amount, accepted.reason),
    ]
    return _after(order, *events, change=change, returns=_with(order.returns, received))


def _after(order: Order, *events: Event, change: Change, **fields: Any) -> Order:
    """Return `order` with `fields` and `events`, and with the fulfillment that these make."""
    order = msgspec.structs.replace(
        order,
        **fields,
        version=order.version + 1,
        updated_at=change.at,
        events=(*order.events, *events),
        change=change,
    )
    return msgspec.structs.replace(order, fulfillment=_fulfillment(order))


def _fulfillment(order: Order) -> Fulfillment:
    tracking = [
        each.tracking
        for each in order.shipments
        if each.tracking and each.status is not ShipmentStatus.FAILED
    ]
    return Fulfillment(status=_how_far(order), tracking=tracking[-1] if tracking else None)


def _how_far(order: Order) -> FulfillmentStatus:
    shipped = parcels.shipped(order.shipments)
    if not shipped:
        return FulfillmentStatus.UNFULFILLED
    if left_to_ship(order):
        return FulfillmentStatus.PARTIAL
    if parcels.returned(order.returns) == shipped:
        return FulfillmentStatus.RETURNED
    if parcels.delivered(order.shipments) == shipped:
        return FulfillmentStatus.DELIVERED
    return FulfillmentStatus.SHIPPED


def _refund_due(
    order: Order, refund_id: str | None, amount: Money | None, reason: str
) -> list[Event]:
    if order.paid_by is None or refund_id is None or amount is None:
        return []
    return [
        OrderRefundDue(
            order_id=order.id,
            payment_id=order.paid_by,
            amount=amount,
            reason=reason,
            refund_id=refund_id,
        )
    ]


def _refund_id(source_id: str) -> str:
    """Return the id of the refund that follows from a return or a call-off: one for each."""
    return f"rfd_{source_id.partition('_')[2]}"


def _owed(order: Order, pieces: Quantities) -> Money | None:
    """Return the price of the pieces; None if there is none, or the order is refunded already."""
    cost = rules.price(order, pieces)
    return cost if cost.amount and order.status is OrderStatus.PAID else None


def _beyond(
    lines: Sequence[Any], wanted: Quantities, left: Quantities, what: str
) -> list[FieldError]:
    """Return an error for each product of which `wanted` has more pieces than `left`."""
    errors: list[FieldError] = []
    seen = set[str]()
    for index, line in enumerate(lines):
        product_id = line.product_id
        if product_id not in seen and wanted[product_id] > left[product_id]:
            field = f"lines[{index}]"
            message = f"`{field}`: only {left[product_id]:,} pieces {what}."
            errors.append(FieldError(field, message))
        seen.add(product_id)
    return errors


def _lines(pieces: Quantities) -> list[Pieces]:
    return [
        Pieces(product_id=product_id, quantity=quantity) for product_id, quantity in pieces.items()
    ]


def _repeated(request: Keyed, made: Sequence[Shipment | Return | CalledOff]) -> bool:
    """Return whether `request` has made or changed one of `made` before.

    Raises:
        IdempotencyKeyReused: another request with the same key has.
    """
    for each in made:
        first = each.requests.get(request.request_id)
        if first is not None:
            check_repeated(first, request.body_hash, made="request")
            return True
    return False


def _and(request: Keyed, made: Shipment | Return) -> dict[str, str]:
    return {**made.requests, request.request_id: request.body_hash}


def _with(made: Sequence[Made], changed: Made) -> list[Made]:
    return [changed if each.id == changed.id else each for each in made]


def shipment_of(order: Order, shipment_id: str) -> Shipment:
    """Raises ShipmentNotFound."""
    for shipment in order.shipments:
        if shipment.id == shipment_id:
            return shipment
    raise ShipmentNotFound("The order has no such parcel.")


def return_of(order: Order, return_id: str) -> Return:
    """Raises ReturnNotFound."""
    for each in order.returns:
        if each.id == return_id:
            return each
    raise ReturnNotFound("The order has no such return.")
