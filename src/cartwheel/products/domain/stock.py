"""The rules of stock that is reserved for orders. Pure: values in, new values or a refusal out.

    (new) ──► HELD ──paid──► COMMITTED ──canceled──► RETURNED
                └──abandoned, rejected, canceled──► RELEASED ──paid after all──► COMMITTED

Each piece of a product is available, reserved or sold. A step moves pieces; it never creates any.
A piece that is sold but not yet shipped also counts as unshipped: it still lies on the shelf.

A reservation knows which parcels, call-offs and returns of its order it has counted, and its lines
know the pieces. So each counts once, in whatever order the events arrive, and where the pieces are
follows from the reservation alone (`pieces`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from enum import StrEnum
from itertools import count as natural_numbers

import msgspec

from cartwheel.contracts.money import MAX_AMOUNT, Money
from cartwheel.contracts.products import (
    InsufficientStock,
    MixedCurrencies,
    OrderTooLarge,
    PriceChanged,
    ProductStatus,
    ReservedLine,
    ReserveStock,
    Stock,
    StockLow,
    StockShortage,
    TooManyOpenOrders,
    TooManyPieces,
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
    sku: str
    name: str
    price: Money
    status: ProductStatus
    stock: Stock
    low_stock_at: int | None = None


class StoredLine(ReservedLine, frozen=True, kw_only=True, omit_defaults=True):
    """A line, and what has become of its pieces since they were sold.

    `shipped` pieces have left. Those `called_off` never will, and `restocked` ones have come back:
    both are available again.
    """

    shipped: int = 0
    called_off: int = 0
    restocked: int = 0


class StoredReservation(msgspec.Struct, frozen=True, kw_only=True):
    """Stock reserved for one order. Its `id` is the order's id.

    `order_sequence` is the number of the last event of the order that was applied to it. `events`
    are not stored yet. `unshipped` says that its sold pieces are counted in `Stock.unshipped`;
    those sold before that count existed are not.

    While it is HELD, no other reservation of its `owner` has its `slot`: that bounds how many an
    owner has.

    `counted` are the ids of the parcels, call-offs and returns that its lines count. The id of a
    parcel that came back undelivered is there too, followed by `BACK`.
    """

    id: str
    request_id: str
    body_hash: str
    lines: list[StoredLine]
    status: ReservationStatus
    held_at: datetime
    unshipped: bool = False
    order_sequence: int = 0
    sequence: int = 0
    events: tuple[Event, ...] = ()
    owner: str | None = None
    slot: int | None = None
    counted: list[str] = msgspec.field(default_factory=list[str])


BACK = " back"

Slots = Mapping[str, Set[int]]
"""The slots of live reservations, by their owner."""


def allocate(
    products: Mapping[str, Goods],
    requests: Sequence[ReserveStock],
    *,
    at: datetime,
    taken: Slots | None = None,
) -> list[StoredReservation | Refusal]:
    """Decide `requests` in turn against the stock of `products`, each one all or nothing.

    First come, first served: the pieces and the slot that one request takes are gone for the next.
    Items that name the same product are added up into one line.
    """
    free = {product.id: product.stock.available for product in products.values()}
    slots = {owner: {*numbers} for owner, numbers in (taken or {}).items()}
    return [_decide(products, request, free, slots, at=at) for request in requests]


def _decide(
    products: Mapping[str, Goods],
    request: ReserveStock,
    free: dict[str, int],
    slots: dict[str, set[int]],
    *,
    at: datetime,
) -> StoredReservation | Refusal:
    """Return what `request` gets, and take its pieces out of `free`, and its slot."""
    try:
        lines = _lines(products, request, free)
        slot = _slot(request, slots)
    except Refusal as refusal:
        return refusal
    events = _low_after(lines, products, free)
    for line in lines:
        free[line.product_id] -= line.quantity
    if request.owner is not None and slot is not None:
        slots.setdefault(request.owner, set()).add(slot)
    return StoredReservation(
        id=request.order_id,
        request_id=request.request_id,
        body_hash=request.body_hash,
        lines=lines,
        status=ReservationStatus.HELD,
        held_at=at,
        events=events,
        owner=request.owner,
        slot=slot,
    )


def low_stock(product: Goods, before: int, after: int) -> tuple[StockLow, ...]:
    """Return the event if the available pieces fell from above the threshold to it or below.

    Archived products have none: nobody can order them.
    """
    threshold = product.low_stock_at
    if threshold is None or not before > threshold >= after:
        return ()
    if product.status is not ProductStatus.ACTIVE:
        return ()
    return (
        StockLow(
            product_id=product.id,
            sku=product.sku,
            name=product.name,
            available=after,
            low_stock_at=threshold,
        ),
    )


def _low_after(
    lines: Sequence[StoredLine], products: Mapping[str, Goods], free: Mapping[str, int]
) -> tuple[StockLow, ...]:
    """Return the events of taking `lines` from the `free` pieces."""
    return tuple(
        event
        for line in lines
        for event in low_stock(
            products[line.product_id],
            free[line.product_id],
            free[line.product_id] - line.quantity,
        )
    )


def _slot(request: ReserveStock, slots: Slots) -> int | None:
    """Return the owner's lowest free slot, or None if nothing bounds the owner.

    Two processes that would each take the last place choose the same slot, and only one of them can
    store it. Any other choice would let both in after the bound was lowered.

    Raises TooManyOpenOrders.
    """
    if request.owner is None or not request.max_live:
        return None
    taken = slots.get(request.owner, frozenset[int]())
    if len(taken) >= request.max_live:
        raise TooManyOpenOrders(
            f"A customer may have at most {request.max_live:,} unpaid orders. "
            "Pay or cancel one of them."
        )
    return next(number for number in natural_numbers() if number not in taken)


def _lines(
    products: Mapping[str, Goods], request: ReserveStock, free: Mapping[str, int]
) -> list[StoredLine]:
    """Return what `request` asks for, one line per product.

    Raises:
        UnknownProduct, MixedCurrencies, TooManyPieces, OrderTooLarge, PriceChanged,
        InsufficientStock: `errors` name the items.
    """
    _check_products(products, request)
    wanted: dict[str, int] = {}
    first_at: dict[str, int] = {}
    for index, item in enumerate(request.items):
        wanted[item.product_id] = wanted.get(item.product_id, 0) + item.quantity
        first_at.setdefault(item.product_id, index)
    _check_pieces(request, wanted, first_at)
    lines = [
        StoredLine(
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
    _check_total(request, lines)
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
    return lines


def _check_pieces(
    request: ReserveStock, wanted: Mapping[str, int], first_at: Mapping[str, int]
) -> None:
    """Raises TooManyPieces."""
    most = request.max_per_line
    beyond: list[FieldError] = []
    for product_id, quantity in wanted.items():
        if most and quantity > most:
            field = f"items[{first_at[product_id]}].quantity"
            message = f"`{field}` must be at most {most:,}, added up over the items of a product."
            beyond.append(FieldError(field, message))
    if beyond:
        raise TooManyPieces("The order has too many pieces of a product.", errors=beyond)
    if request.max_pieces and sum(wanted.values()) > request.max_pieces:
        detail = f"`items` must have at most {request.max_pieces:,} pieces in all."
        raise TooManyPieces(detail, errors=[FieldError("items", detail)])


def _check_total(request: ReserveStock, lines: Sequence[StoredLine]) -> None:
    """Raises PriceChanged."""
    expected = request.expected_total
    total = Money(
        sum(line.unit_price.amount * line.quantity for line in lines), lines[0].unit_price.currency
    )
    if expected is not None and expected != total:
        raise PriceChanged(
            "The order does not cost what was expected. Its total is now "
            f"{total.amount:,} {total.currency} in minor units.",
            members={"total": total},
        )


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
    products: Mapping[str, Goods],
) -> StoredReservation:
    """Return `reservation` after the order's event number `order_sequence`.

    If the order is paid but its reservation was abandoned, the pieces are taken again, out of the
    available ones of `products`. If there are too few, the reservation stays RELEASED and emits
    `StockShortage`. A closed order never gets stock again. Events are redelivered and arrive in any
    order, so one that is not newer than the last applied one changes nothing.
    """
    if order_sequence <= reservation.order_sequence:
        return reservation
    after = _AFTER.get((reservation.status, ended), reservation.status)
    events = reservation.events
    if ended is Ended.PAID and was_abandoned(reservation):
        free = {product.id: product.stock.available for product in products.values()}
        if all(free[line.product_id] >= line.quantity for line in reservation.lines):
            after = ReservationStatus.COMMITTED
            events = (*events, *_low_after(reservation.lines, products, free))
        else:
            events = (*events, StockShortage(order_id=reservation.id))
    if after is not reservation.status:
        unshipped = after is ReservationStatus.COMMITTED
    else:
        unshipped = reservation.unshipped
    return msgspec.structs.replace(
        reservation,
        status=after,
        unshipped=unshipped,
        order_sequence=order_sequence,
        events=events,
    )


def was_abandoned(reservation: StoredReservation) -> bool:
    """Return whether `reservation` was released as abandoned, and not by an event of its order."""
    return reservation.status is ReservationStatus.RELEASED and reservation.order_sequence == 0


def release_abandoned(reservation: StoredReservation) -> StoredReservation:
    """Return a HELD reservation that nobody will pay for as RELEASED; others stay unchanged."""
    if reservation.status is not ReservationStatus.HELD:
        return reservation
    return msgspec.structs.replace(reservation, status=ReservationStatus.RELEASED)


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel that has left, or (`undone`) one that came back undelivered."""

    id: str
    pieces: Mapping[str, int]
    undone: bool = False


class CalledOff(msgspec.Struct, frozen=True, kw_only=True):
    """Pieces that are never shipped."""

    id: str
    pieces: Mapping[str, int]


class Restocked(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of a return that are on the shelf again. The others of it stay sold."""

    id: str
    pieces: Mapping[str, int]


Moved = Gone | CalledOff | Restocked


def fulfil(
    reservation: StoredReservation,
    moved: Moved,
    *,
    order_sequence: int,
    products: Mapping[str, Goods],
) -> StoredReservation:
    """Return `reservation` with what the order's event number `order_sequence` tells of its goods.

    A parcel that leaves commits the reservation, as a payment does: cash is paid at the door.
    """
    if isinstance(moved, Gone) and not moved.undone:
        reservation = settle(
            reservation, Ended.PAID, order_sequence=order_sequence, products=products
        )
    return count(reservation, moved)


def count(reservation: StoredReservation, moved: Moved) -> StoredReservation:
    """Return `reservation` with `moved` counted in its lines; unchanged if it is counted already.

    That a parcel came back may be heard before that it left. Then neither counts.
    """
    known = moved.id in reservation.counted
    if not isinstance(moved, Gone) or not moved.undone:
        if known:
            return reservation
        lines, counted = [_counted(line, moved) for line in reservation.lines], [moved.id]
    elif moved.id + BACK in reservation.counted:
        return reservation
    elif known:
        lines, counted = [_counted(line, moved) for line in reservation.lines], [moved.id + BACK]
    else:
        lines, counted = reservation.lines, [moved.id, moved.id + BACK]
    return msgspec.structs.replace(
        reservation, lines=lines, counted=[*reservation.counted, *counted]
    )


def _counted(line: StoredLine, moved: Moved) -> StoredLine:
    number = moved.pieces.get(line.product_id, 0)
    match moved:
        case Gone(undone=undone):
            shipped = line.shipped - number if undone else line.shipped + number
            return msgspec.structs.replace(line, shipped=shipped)
        case CalledOff():
            return msgspec.structs.replace(line, called_off=line.called_off + number)
        case Restocked():
            return msgspec.structs.replace(line, restocked=line.restocked + number)


Moves = dict[str, Counter[str]]
"""The changes of the numbers in products' stock, by product id."""


def pieces(reservation: StoredReservation) -> Moves:
    """Return where the pieces of `reservation` are that are not available, by product id."""
    where: Moves = {}
    for line in reservation.lines:
        numbers = where.setdefault(line.product_id, Counter())
        if reservation.status is ReservationStatus.HELD:
            numbers["reserved"] += line.quantity - line.called_off
        elif reservation.status is ReservationStatus.COMMITTED:
            numbers["sold"] += line.quantity - line.called_off - line.restocked
            if reservation.unshipped:
                numbers["unshipped"] += line.quantity - line.called_off - line.shipped
    return where


def stock_moves(before: StoredReservation | None, after: StoredReservation) -> Moves:
    """Return how the stock changes between `before`, None if it was not reserved, and `after`."""
    moves = pieces(after)
    for product_id, numbers in (pieces(before) if before else {}).items():
        moves.setdefault(product_id, Counter()).subtract(numbers)
    for numbers in moves.values():
        numbers["available"] = -(numbers["reserved"] + numbers["sold"])
    return {
        product_id: changed
        for product_id, numbers in moves.items()
        if (changed := Counter({name: number for name, number in numbers.items() if number}))
    }


def added_up(each: Iterable[Moves]) -> Moves:
    """Return the sum of `each`. It has no zeros."""
    total: Moves = {}
    for moves in each:
        for product_id, numbers in moves.items():
            total.setdefault(product_id, Counter()).update(numbers)
    return {
        product_id: Counter({name: number for name, number in numbers.items() if number})
        for product_id, numbers in total.items()
    }


def moved(products: Mapping[str, Goods], moves: Moves) -> Mapping[str, Goods]:
    """Return `products` with the pieces that are available after `moves`."""
    after = dict(products)
    for product_id, numbers in moves.items():
        if numbers["available"] and (product := after.get(product_id)) is not None:
            stock = product.stock
            left = msgspec.structs.replace(stock, available=stock.available + numbers["available"])
            after[product_id] = msgspec.structs.replace(product, stock=left)
    return after
