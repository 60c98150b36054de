"""The rules of stock that is held for orders. Pure: values in, new values or a refusal out.

    (new) ──► HELD ──paid──► COMMITTED ──canceled──► RETURNED
                └──given up, rejected, canceled──► RELEASED ──paid after all──► COMMITTED

Each piece of a product is available, reserved or sold; every step moves pieces, and makes none.
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
    """Of a product, what matters to who buys it."""

    id: str
    name: str
    price: Money
    status: ProductStatus
    stock: Stock


class StoredReservation(msgspec.Struct, frozen=True, kw_only=True):
    """Stock set aside for one order, whose id it bears.

    `order_sequence` is the number of the order's last event that was applied to it; `events` are
    those that it has not been stored with yet.
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
    """Decide `requests` in their order, each all or nothing, against the stock of `products`.

    First come, first served: what one request takes is gone for the next. Several items of one
    product count together, and become one line.
    """
    free = {product.id: product.stock.available for product in products.values()}
    return [_decide(products, request, free, at=at) for request in requests]


def _decide(
    products: Mapping[str, Goods], request: ReserveStock, free: dict[str, int], *, at: datetime
) -> StoredReservation | Refusal:
    """Return what `request` gets, which is then no longer `free`."""
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
    """Return what `request` asks for, a line per product.

    Raises UnknownProduct, MixedCurrencies, InsufficientStock or OrderTooLarge; they name items.
    """
    _check_products(products, request)
    wanted: dict[str, int] = {}
    first_at: dict[str, int] = {}
    for index, item in enumerate(request.items):
        wanted[item.product_id] = wanted.get(item.product_id, 0) + item.quantity
        first_at.setdefault(item.product_id, index)
    lacking = [
        FieldError(f"items[{first_at[product_id]}].quantity", f"{free[product_id]} available")
        for product_id, quantity in wanted.items()
        if quantity > free[product_id]
    ]
    if lacking:
        raise InsufficientStock("there is not enough stock", errors=lacking)
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
        raise OrderTooLarge(
            f"an order's total may be at most {MAX_AMOUNT} minor units",
            errors=[FieldError("items", "too much")],
        )
    return lines


def _check_products(products: Mapping[str, Goods], request: ReserveStock) -> None:
    unknown: list[FieldError] = []
    foreign: list[FieldError] = []
    currency: str | None = None
    for index, item in enumerate(request.items):
        field = f"items[{index}].product_id"
        product = products.get(item.product_id)
        if product is None or product.status is not ProductStatus.ACTIVE:
            unknown.append(FieldError(field, "no such product"))
            continue
        currency = currency or product.price.currency
        if product.price.currency != currency:
            foreign.append(FieldError(field, f"not priced in {currency}"))
    if unknown:
        raise UnknownProduct("the order names products that cannot be ordered", errors=unknown)
    if foreign:
        raise MixedCurrencies(
            "all products of an order must be priced in one currency", errors=foreign
        )


class Ended(StrEnum):
    """What has become of an order, as far as its stock is concerned."""

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
    """Return `reservation` as the order's event number `order_sequence` makes it.

    A paid order whose hold was given up takes its pieces anew, out of the `free` ones of each
    product. If they do not suffice, it stays released, with `StockShortage` to tell. A closed order
    is never served again. An event that was applied before, or is older than one that was, changes
    nothing: events are repeated and come in any order.
    """
    if order_sequence <= reservation.order_sequence:
        return reservation
    after = _AFTER.get((reservation.status, ended), reservation.status)
    events = reservation.events
    if ended is Ended.PAID and was_given_up(reservation):
        if all(free[line.product_id] >= line.quantity for line in reservation.lines):
            after = ReservationStatus.COMMITTED
        else:
            events = (*events, StockShortage(order_id=reservation.id))
    return msgspec.structs.replace(
        reservation, status=after, order_sequence=order_sequence, events=events
    )


def was_given_up(reservation: StoredReservation) -> bool:
    """Whether the hold was released because nobody wanted it, and not by an event of its order."""
    return reservation.status is ReservationStatus.RELEASED and reservation.order_sequence == 0


def give_up(reservation: StoredReservation) -> StoredReservation:
    """Return a hold that nobody will pay for as released; others stay as they are."""
    if reservation.status is not ReservationStatus.HELD:
        return reservation
    return msgspec.structs.replace(reservation, status=ReservationStatus.RELEASED)


def stock_moves(before: ReservationStatus, after: ReservationStatus) -> dict[str, int]:
    """Return how each number of a product's stock changes per reserved piece."""
    where = {
        ReservationStatus.HELD: "reserved",
        ReservationStatus.COMMITTED: "sold",
        ReservationStatus.RELEASED: "available",
        ReservationStatus.RETURNED: "available",
    }
    if where[before] == where[after]:
        return {}
    return {where[before]: -1, where[after]: +1}
