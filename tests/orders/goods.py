"""Requests and orders for the tests of fulfilment."""

from uuid import uuid4

import msgspec

from cartwheel.contracts.fulfilment import (
    DecideReturn,
    Received,
    ReceiveReturn,
    ReportDelivered,
    ReportDeliveryFailed,
    RequestReturn,
    ShipOrder,
)
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import CancelOrder
from cartwheel.contracts.parcels import Pieces
from cartwheel.kernel import Change
from cartwheel.orders.domain import fulfilment
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import CASH_DEADLINE, Order

from .examples import CHANGE, ZOE, money_captured, order, payment_awaited

OWNER = Actor(user_id=ZOE.id)
ADMIN = Actor(user_id="user-ada", admin=True)
WHY = "It wobbles."
MUGS, SPOON = ("prd_1", 2), ("prd_2", 1)
"""The lines of an example order."""

Line = tuple[str, int]


def stored(changed: Order) -> Order:
    """Return `changed` as it is read from the database."""
    return msgspec.structs.replace(changed, events=(), change=None)


def paid() -> Order:
    return stored(rules.pay(order(), money_captured("pay_1"), CHANGE))


def in_cash() -> Order:
    return stored(rules.payment_begun(order(), payment_awaited(), CASH_DEADLINE, CHANGE))


def pieces(lines: tuple[Line, ...]) -> list[Pieces]:
    return [Pieces(product_id=product_id, quantity=quantity) for product_id, quantity in lines]


def to_ship(
    *lines: Line,
    order_id: str = "ord_1",
    key: str | None = None,
    body_hash: str = "hash",
    tracking: str | None = None,
) -> ShipOrder:
    return ShipOrder(
        request_id=key or str(uuid4()),
        body_hash=body_hash,
        order_id=order_id,
        lines=pieces(lines),
        tracking=tracking,
        actor=ADMIN,
    )


def to_return(
    *lines: Line,
    order_id: str = "ord_1",
    key: str | None = None,
    body_hash: str = "hash",
    actor: Actor = OWNER,
) -> RequestReturn:
    return RequestReturn(
        request_id=key or str(uuid4()),
        body_hash=body_hash,
        order_id=order_id,
        lines=pieces(lines),
        reason=WHY,
        actor=actor,
    )


def to_deliver(shipment_id: str = "shp_1", order_id: str = "ord_1") -> ReportDelivered:
    return ReportDelivered(
        request_id=str(uuid4()),
        body_hash="delivered",
        order_id=order_id,
        shipment_id=shipment_id,
        actor=ADMIN,
    )


def to_fail(shipment_id: str = "shp_1", order_id: str = "ord_1") -> ReportDeliveryFailed:
    return ReportDeliveryFailed(
        request_id=str(uuid4()),
        body_hash="failed",
        order_id=order_id,
        shipment_id=shipment_id,
        reason="Nobody was there.",
        actor=ADMIN,
    )


def to_decide(*, accepted: bool, return_id: str = "ret_1", order_id: str = "ord_1") -> DecideReturn:
    return DecideReturn(
        request_id=str(uuid4()),
        body_hash="decided",
        order_id=order_id,
        return_id=return_id,
        accepted=accepted,
        note="Send it back.",
        actor=ADMIN,
    )


def to_receive(
    *lines: tuple[str, int, int],
    return_id: str = "ret_1",
    order_id: str = "ord_1",
    key: str | None = None,
    body_hash: str = "received",
) -> ReceiveReturn:
    """Each line is a product, and the pieces of it that are restocked and written off."""
    return ReceiveReturn(
        request_id=key or str(uuid4()),
        body_hash=body_hash,
        order_id=order_id,
        return_id=return_id,
        lines=[
            Received(product_id=product_id, restocked=restocked, written_off=written_off)
            for product_id, restocked, written_off in lines
        ],
        actor=ADMIN,
    )


def to_cancel(actor: Actor = ADMIN, reason: str | None = WHY) -> CancelOrder:
    return CancelOrder(order_id="ord_1", actor=actor, reason=reason)


def ship(order: Order, *lines: Line, id: str = "shp_1", by: Change = CHANGE) -> Order:
    return stored(fulfilment.ship(order, to_ship(*lines), id, by))


def deliver(order: Order, id: str = "shp_1", by: Change = CHANGE) -> Order:
    return stored(fulfilment.deliver(order, to_deliver(id), by))


def delivered() -> Order:
    return deliver(ship(paid(), MUGS, SPOON))
