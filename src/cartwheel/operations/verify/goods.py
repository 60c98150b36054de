"""Promise 13: no more is shipped than was ordered, and no more comes back than was delivered.

Stock counts each piece that leaves or comes back once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from cartwheel.contracts.orders import FulfillmentStatus, OrderStatus
from cartwheel.contracts.parcels import ReturnStatus, ShipmentStatus
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import Line, Order, Reservation
from cartwheel.operations.verify.violation import Violation

Quantities = Counter[str]
"""Numbers of pieces, by product id."""

_OPEN = frozenset({ReturnStatus.REQUESTED, ReturnStatus.ACCEPTED})


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    order = case.order
    if order is None:
        return []
    wrong = [*_of_order(order)]
    if case.reservation is not None:
        wrong += _counted(order, case.reservation)
    return wrong


def shipped(order: Order) -> Quantities:
    """Return the pieces that have left and have not come back undelivered."""
    return _pieces(
        line
        for each in order.shipments
        if each.status != ShipmentStatus.FAILED
        for line in each.lines
    )


def _of_order(order: Order) -> Iterator[Violation]:
    ordered, gone = _pieces(order.lines), shipped(order)
    called_off = _pieces(line for each in order.called_off for line in each.lines)
    delivered = _pieces(
        line
        for each in order.shipments
        if each.status == ShipmentStatus.DELIVERED
        for line in each.lines
    )
    arrived, expected = Quantities(), Quantities()
    for each in order.returns:
        for line in each.lines:
            if each.status == ReturnStatus.RECEIVED:
                arrived[line.product_id] += line.restocked + line.written_off
            elif each.status in _OPEN:
                expected[line.product_id] += line.quantity
    for what, some, most in (
        ("ships or calls off", gone + called_off, ordered),
        ("takes back", arrived + expected, delivered),
    ):
        for product_id, excess in (some - most).items():
            yield _wrong(f"order {order.id} {what} {excess} pieces of {product_id} too many", order)
    if gone and order.status in (OrderStatus.CANCELED, OrderStatus.REJECTED):
        yield _wrong(f"order {order.id} is {order.status}, but a parcel of it has left", order)
    left = ordered - gone - called_off
    if order.fulfillment.status != _how_far(order, gone, left, delivered, arrived):
        sentence = f"order {order.id} is {order.fulfillment.status}, which its parcels are not"
        yield _wrong(sentence, order)


def _how_far(
    order: Order,
    gone: Quantities,
    left: Quantities,
    delivered: Quantities,
    arrived: Quantities,
) -> FulfillmentStatus:
    if not gone:
        refused = order.status == OrderStatus.CANCELED and any(
            each.status == ShipmentStatus.FAILED for each in order.shipments
        )
        # Of an order that was to be paid at the door, only the refused parcel closes it.
        if refused and order.paid_by is None:
            return FulfillmentStatus.RETURNED
        return FulfillmentStatus.UNFULFILLED
    if left:
        return FulfillmentStatus.PARTIAL
    if +arrived == gone:
        return FulfillmentStatus.RETURNED
    return FulfillmentStatus.DELIVERED if delivered == gone else FulfillmentStatus.SHIPPED


def _counted(order: Order, reservation: Reservation) -> Iterator[Violation]:
    """What the reservation counts is what the order says."""
    restocked = Quantities()
    for each in order.returns:
        if each.status == ReturnStatus.RECEIVED:
            restocked.update({line.product_id: line.restocked for line in each.lines})
    called_off = _pieces(line for each in order.called_off for line in each.lines)
    told = (("shipped", shipped(order)), ("called_off", called_off), ("restocked", restocked))
    for name, pieces in told:
        counted = Quantities({line.product_id: getattr(line, name) for line in reservation.lines})
        if counted != pieces:
            yield _wrong(
                f"the reservation of order {order.id} counts {dict(+counted)} as "
                f"{name.replace('_', ' ')}, but the order {dict(+pieces)}",
                order,
                awaits=("products",),
            )


def _pieces(lines: Iterable[Line]) -> Quantities:
    counted = Quantities()
    for line in lines:
        counted[line.product_id] += line.quantity
    return counted


def _wrong(sentence: str, order: Order, awaits: tuple[str, ...] = ()) -> Violation:
    return Violation(promise=13, sentence=sentence, ids=(order.id,), awaits=awaits)
