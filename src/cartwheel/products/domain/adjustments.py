"""The rules of adjustments: changes of stock that are not sales. Pure: values in, values out.

A product's initial stock and its adjustments always add up to available + reserved + sold.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from cartwheel.contracts.products import (
    MAX_STOCK,
    AdjustmentKind,
    AdjustStock,
    InsufficientStock,
    ProductNotFound,
    RepairStock,
    Stock,
    StockAccount,
    StockAdjusted,
    StockAdjustmentView,
    StockChanged,
)
from cartwheel.kernel import Change, Event
from cartwheel.kernel.errors import FieldError, Invalid, Refusal
from cartwheel.products.domain.stock import Goods, low_stock


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment. `StockAdjustmentView` says what its numbers mean.

    `events` and their `change` are not stored yet.
    """

    id: str
    request_id: str
    body_hash: str
    product_id: str
    kind: AdjustmentKind
    reason: str
    delta: int
    before: int
    after: int
    by: str
    at: datetime
    counted: int | None = None
    sequence: int = 0
    events: tuple[Event, ...] = ()
    change: Change | None = None

    def view(self) -> StockAdjustmentView:
        return msgspec.convert(self, StockAdjustmentView, from_attributes=True)


def adjust(
    products: Mapping[str, Goods],
    requests: Sequence[AdjustStock],
    *,
    at: datetime,
    new_id: Callable[[], str],
) -> tuple[list[Adjustment | Refusal], dict[str, Goods]]:
    """Decide `requests` in order. Return the outcomes, and `products` after them."""
    left = dict(products)
    outcomes: list[Adjustment | Refusal] = []
    for request in requests:
        try:
            made, after = _adjust(left.get(request.product_id), request, at=at, id=new_id())
        except Refusal as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(made)
            left[request.product_id] = after
    return outcomes, left


def _adjust(
    product: Goods | None, request: AdjustStock, *, at: datetime, id: str
) -> tuple[Adjustment, Goods]:
    """Return the adjustment, and the product after it.

    Raises:
        Invalid: not exactly one of delta and counted is given, or the delta is zero, or more than
            `MAX_STOCK` pieces would be on hand.
        ProductNotFound: there is no such product.
        StockChanged: the level on hand is not the expected one.
        InsufficientStock: it would take pieces that are reserved or sold.
    """
    _check_one_number(request)
    if product is None:
        raise ProductNotFound("There is no such product.")
    stock = product.stock
    delta = _delta(stock, request)
    if request.expected not in (None, stock.on_hand):
        raise StockChanged(
            f"{stock.on_hand} pieces are on hand, not the expected {request.expected}.",
            errors=[FieldError("expected", f"{stock.on_hand} pieces are on hand.")],
        )
    field = "delta" if request.counted is None else "counted"
    _check_enough(stock, delta, field)
    if stock.on_hand + delta > MAX_STOCK:
        raise Invalid(
            f"At most {MAX_STOCK} pieces can be on hand.",
            errors=[FieldError(field, f"{stock.on_hand} pieces are on hand already.")],
        )
    after = msgspec.structs.replace(stock, available=stock.available + delta)
    made = Adjustment(
        id=id,
        request_id=request.request_id,
        body_hash=request.body_hash,
        product_id=product.id,
        kind=request.kind,
        reason=request.reason,
        delta=delta,
        before=stock.on_hand,
        after=after.on_hand,
        by=request.actor.user_id,
        at=at,
        counted=request.counted,
    )
    events = (
        StockAdjusted(adjustment=made.view()),
        *low_stock(product, stock.available, after.available),
    )
    change = Change(by=request.actor.user_id, at=at, traceparent=request.traceparent)
    made = msgspec.structs.replace(made, events=events, change=change)
    return made, msgspec.structs.replace(product, stock=after)


def _check_enough(stock: Stock, delta: int, field: str) -> None:
    if stock.available + delta < 0:
        raise InsufficientStock(
            "Reserved and sold pieces cannot be taken away.",
            errors=[FieldError(field, f"Only {stock.available} pieces are available.")],
        )


def _check_one_number(request: AdjustStock) -> None:
    if (request.delta is None) == (request.counted is None):
        raise Invalid(
            "Give either `delta` or `counted`.",
            errors=[FieldError("delta", "Give this or `counted`.")],
        )
    if request.delta == 0:
        raise Invalid(
            "A delta is not zero. To record that nothing has changed, give `counted`.",
            errors=[FieldError("delta", "It is zero.")],
        )


def _delta(stock: Stock, request: AdjustStock) -> int:
    if request.counted is None:
        return request.delta or 0
    return request.counted - stock.on_hand


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """The changes to a product's stock, and the correction that records them."""

    moves: dict[str, int]
    correction: Adjustment


def repair(account: StockAccount, request: RepairStock, *, at: datetime, id: str) -> Repair | None:
    """Return what makes `account` agree, or None if it does already.

    Reserved and sold become what the reservations say. The available pieces stay: pieces that
    nobody has counted must not be sold. The correction is the difference from what the initial
    stock and the adjustments add up to.
    """
    if account.agrees:
        return None
    right = account.by_reservations
    delta = right.total - account.adjusted
    made = Adjustment(
        id=id,
        request_id=f"repair {id}",
        body_hash="",
        product_id=account.product_id,
        kind=AdjustmentKind.CORRECTION,
        reason=request.reason,
        delta=delta,
        before=right.on_hand - delta,
        after=right.on_hand,
        by=request.actor.user_id,
        at=at,
    )
    change = Change(by=request.actor.user_id, at=at, traceparent=request.traceparent)
    events = (StockAdjusted(adjustment=made.view()),)
    return Repair(
        moves={
            where: getattr(right, where) - getattr(account.stock, where)
            for where in ("reserved", "sold", "unshipped")
        },
        correction=msgspec.structs.replace(made, events=events, change=change),
    )
