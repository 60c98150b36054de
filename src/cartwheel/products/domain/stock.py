"""The rules of stock that is reserved for orders. Pure: values in, new values or a refusal out.

    (new) ──► HELD ──paid──► COMMITTED ──canceled──► RETURNED
                └──abandoned, rejected, canceled──► RELEASED ──paid after all──► COMMITTED

Each piece of a product is available, reserved or sold. A step moves pieces; it never creates any.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts.money import MAX_AMOUNT, Money
from cartwheel.contracts.products import (
    InsufficientStock,
    MixedCurrencies,
    OrderTooLarge,
    ProductStatus,
    ReservedLine,
    ReserveStock,
    Stock,
    StockShortage,
    UnknownProduct,
)
from cartwheel.kernel import Event
from cartwheel.kernel.errors import FieldError, Refusal


class ReservationStatus(StrEnum):
    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    RETURNED = "RETURNED"


class Goods(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a product that matter when somebody buys it."""

    id: str
    name: str
    price: Money
    status: ProductStatus
    stock: Stock


class StoredReservation(msgspec.Struct, frozen=True, kw_only=True):
    """Stock reserved for one order. Its `id` is the order's id.

    `order_sequence` is the number of the last event of the order that was applied to it. `events`
    are not stored yet.
    """

    id: str
    request_id: str
    body_hash: str
    lines: list[ReservedLine]
    status: ReservationStatus
    held_at: datetime
    order_sequence: int = 0
    sequence: int = 0
    events: tuple[Event, ...] = ()


def allocate(
    products: Mapping[str, Goods], requests: Sequence[ReserveStock], *, at: datetime
) -> list[StoredReservation | Refusal]:
    """Decide `requests` in turn against the stock of `products`, each one all or nothing.

    First come, first served: the pieces that one request takes are gone for the next. Items that
    name the same product are added up into one line.
    """
    free = {product.id: product.stock.available for product in products.values()}
    return [_decide(products, request, free, at=at) for request in requests]


def _decide(
    products: Mapping[str, Goods], request: ReserveStock, free: dict[str, int], *, at: datetime
) -> StoredReservation | Refusal:
    """Return what `request` gets, and take its pieces out of `free`."""
    try:
        lines = _lines(products, request, free)
    except Refusal as refusal:
        return refusal
    for line in lines:
        free[line.product_id] -= line.quantity
    return StoredReservation(
        id=request.order_id,
        request_id=request.request_id,
        body_hash=request.body_hash,
        lines=lines,
        status=ReservationStatus.HELD,
        held_at=at,
    )


def _lines(
    products: Mapping[str, Goods], request: ReserveStock, free: Mapping[str, int]
) -> list[ReservedLine]:
    """Return what `request` asks for, one line per product.

    Raises:
        UnknownProduct, MixedCurrencies, InsufficientStock, OrderTooLarge: `errors` name the items.
    """
    _check_products(products, request)
    wanted: dict[str, int] = {}
    first_at: dict[str, int] = {}
    for index, item in enumerate(request.items):
        wanted[item.product_id] = wanted.get(item.product_id, 0) + item.quantity
        first_at.setdefault(item.product_id, index)
    lacking: list[FieldError] = []
    for product_id, quantity in wanted.items():
        if quantity > free[product_id]:
            field = f"items[{first_at[product_id]}].quantity"
            message = f"`{field}` is more than the {free[product_id]:,} available."
            lacking.append(FieldError(field, message))
    if lacking:
        raise InsufficientStock(
            "There is not enough stock for some items. Order fewer of them.", errors=lacking
        )
    lines = [
        ReservedLine(
            product_id=product_id,
            name=products[product_id].name,
            quantity=quantity,
            unit_price=products[product_id].price,
        )
        for product_id, quantity in wanted.items()
    ]
    if sum(line.unit_price.amount * line.quantity for line in lines) > MAX_AMOUNT:
        detail = f"`items` must cost at most {MAX_AMOUNT:,} minor units in all."
        raise OrderTooLarge(detail, errors=[FieldError("items", detail)])
    return lines


def _check_products(products: Mapping[str, Goods], request: ReserveStock) -> None:
    unknown: list[FieldError] = []
    foreign: list[FieldError] = []
    currency: str | None = None
    for index, item in enumerate(request.items):
        field = f"items[{index}].product_id"
        product = products.get(item.product_id)
        if product is None or product.status is not ProductStatus.ACTIVE:
            unknown.append(FieldError(field, f"`{field}` is not a product that can be ordered."))
            continue
        currency = currency or product.price.currency
        if product.price.currency != currency:
            foreign.append(FieldError(field, f"`{field}` is not priced in {currency}."))
    if unknown:
        raise UnknownProduct(
            "The order has products that do not exist or are archived.", errors=unknown
        )
    if foreign:
        raise MixedCurrencies(
            "All products of an order must be priced in the same currency.", errors=foreign
        )


class Ended(StrEnum):
    """How an order ended, as far as its stock is concerned."""

    PAID = "PAID"
    CLOSED = "CLOSED"


_AFTER = {
    (ReservationStatus.HELD, Ended.PAID): ReservationStatus.COMMITTED,
    (ReservationStatus.HELD, Ended.CLOSED): ReservationStatus.RELEASED,
    (ReservationStatus.COMMITTED, Ended.CLOSED): ReservationStatus.RETURNED,
}


def settle(
    reservation: StoredReservation,
    ended: Ended,
    *,
    order_sequence: int,
    free: Mapping[str, int],
) -> StoredReservation:
    """Return `reservation` after the order's event number `order_sequence`.

    If the order is paid but its reservation was abandoned, the pieces are taken again, out of the
    `free` ones of each product. If there are too few, the reservation stays RELEASED and emits
    `StockShortage`. A closed order never gets stock again. Events are redelivered and arrive in any
    order, so one that is not newer than the last applied one changes nothing.
    """
    if order_sequence <= reservation.order_sequence:
        return reservation
    after = _AFTER.get((reservation.status, ended), reservation.status)
    events = reservation.events
    if ended is Ended.PAID and was_abandoned(reservation):
        if all(free[line.product_id] >= line.quantity for line in reservation.lines):
            after = ReservationStatus.COMMITTED
        else:
            events = (*events, StockShortage(order_id=reservation.id))
    return msgspec.structs.replace(
        reservation, status=after, order_sequence=order_sequence, events=events
    )


def was_abandoned(reservation: StoredReservation) -> bool:
    """Return whether `reservation` was released as abandoned, and not by an event of its order."""
    return reservation.status is ReservationStatus.RELEASED and reservation.order_sequence == 0


def release_abandoned(reservation: StoredReservation) -> StoredReservation:
    """Return a HELD reservation that nobody will pay for as RELEASED; others stay unchanged."""
    if reservation.status is not ReservationStatus.HELD:
        return reservation
    return msgspec.structs.replace(reservation, status=ReservationStatus.RELEASED)


def stock_moves(before: ReservationStatus, after: ReservationStatus) -> dict[str, int]:
    """Return how the product's stock numbers change for each piece of the reservation."""
    where = {
        ReservationStatus.HELD: "reserved",
        ReservationStatus.COMMITTED: "sold",
        ReservationStatus.RELEASED: "available",
        ReservationStatus.RETURNED: "available",
    }
    if where[before] == where[after]:
        return {}
    return {where[before]: -1, where[after]: +1}
