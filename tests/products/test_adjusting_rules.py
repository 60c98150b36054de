"""What adjustments may do to stock, and that the sum of them is always the stock."""

from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.contracts.products import (
    MAX_STOCK,
    AdjustmentKind,
    AdjustmentSum,
    AdjustStock,
    InsufficientStock,
    ProductNotFound,
    ProductStatus,
    RepairStock,
    Stock,
    StockAccount,
    StockAdjusted,
    StockChanged,
    StockLow,
)
from cartwheel.kernel.errors import Invalid, Refusal
from cartwheel.products.domain import adjustments as rules
from cartwheel.products.domain.adjustments import Adjustment
from cartwheel.products.domain.stock import Goods, StoredReservation, allocate

from .examples import ADMIN, AT, adjust, goods, product, reserve

STOCK = Stock(available=7, reserved=2, sold=5, unshipped=3)


def shop(stock: Stock = STOCK, low_stock_at: int | None = None) -> dict[str, Goods]:
    [mug] = goods(product(low_stock_at=low_stock_at)).values()
    return {mug.id: msgspec.structs.replace(mug, stock=stock)}


def decide(
    products: dict[str, Goods], *requests: AdjustStock
) -> tuple[list[Adjustment | Refusal], dict[str, Goods]]:
    numbers = count(1)
    return rules.adjust(products, requests, at=AT, new_id=lambda: f"adj_{next(numbers)}")


def made(request: AdjustStock, stock: Stock = STOCK) -> tuple[Adjustment, Stock]:
    [outcome], left = decide(shop(stock), request)
    assert isinstance(outcome, Adjustment), outcome
    return outcome, left["prd_1"].stock


def refused(request: AdjustStock, stock: Stock = STOCK) -> Refusal:
    products = shop(stock)
    [outcome], left = decide(products, request)
    assert isinstance(outcome, Refusal), outcome
    assert left == products
    return outcome


levels = st.integers(0, 30)


def _stock(available: int, reserved: int, shipped: int, unshipped: int) -> Stock:
    return Stock(
        available=available, reserved=reserved, sold=shipped + unshipped, unshipped=unshipped
    )


stocks = st.builds(_stock, levels, levels, levels, levels)
adjusting = st.one_of(
    st.integers(-40, 40).map(lambda delta: adjust(delta=delta)),
    levels.map(lambda counted: adjust(counted=counted)),
)


@given(stocks, st.lists(adjusting, max_size=12))
def test_the_sum_of_the_deltas_is_what_the_stock_has_changed_by(
    stock: Stock, requests: list[AdjustStock]
) -> None:
    outcomes, left = decide(shop(stock), *requests)

    after = left["prd_1"].stock
    done = [outcome for outcome in outcomes if isinstance(outcome, Adjustment)]
    assert stock.total + sum(each.delta for each in done) == after.total
    assert (after.reserved, after.sold, after.unshipped) == (
        stock.reserved,
        stock.sold,
        stock.unshipped,
    )
    assert after.available >= 0


@given(stocks, st.lists(adjusting, max_size=12))
def test_each_level_is_the_one_before_and_the_delta(
    stock: Stock, requests: list[AdjustStock]
) -> None:
    outcomes, left = decide(shop(stock), *requests)

    level = stock.on_hand
    for each in outcomes:
        if isinstance(each, Adjustment):
            assert (each.before, each.after) == (level, level + each.delta)
            level = each.after
    assert level == left["prd_1"].stock.on_hand


def test_a_count_is_compared_with_all_that_lies_on_the_shelf() -> None:
    """Paid pieces that are not shipped yet lie there too."""
    adjustment, left = made(adjust(counted=10))

    assert (adjustment.before, adjustment.delta, adjustment.after) == (12, -2, 10)
    assert adjustment.counted == 10
    assert left == Stock(available=5, reserved=2, sold=5, unshipped=3)


def test_a_count_that_agrees_is_recorded_too() -> None:
    adjustment, left = made(adjust(counted=12))

    assert (adjustment.delta, left) == (0, STOCK)
    assert len(adjustment.events) == 1


def test_all_that_is_available_may_go_and_not_one_piece_more() -> None:
    assert made(adjust(delta=-7))[1].available == 0

    refusal = refused(adjust(delta=-8))
    assert isinstance(refusal, InsufficientStock)
    assert [(each.field, each.message) for each in refusal.errors] == [
        ("delta", "Only 7 pieces are available.")
    ]


def test_a_count_below_what_is_reserved_and_unshipped_is_refused() -> None:
    refusal = refused(adjust(counted=4))

    assert isinstance(refusal, InsufficientStock)
    assert [each.field for each in refusal.errors] == ["counted"]


def test_another_level_than_the_expected_one_is_refused() -> None:
    assert made(adjust(delta=1, expected=12))[0].after == 13

    refusal = refused(adjust(delta=1, expected=7))
    assert isinstance(refusal, StockChanged)
    assert [(each.field, each.message) for each in refusal.errors] == [
        ("expected", "12 pieces are on hand.")
    ]


@pytest.mark.parametrize(
    "request_",
    [adjust(), adjust(delta=1, counted=1), adjust(delta=0), adjust(delta=MAX_STOCK)],
    ids=["nothing", "both", "zero", "too much"],
)
def test_what_says_nothing_or_too_much_is_invalid(request_: AdjustStock) -> None:
    assert type(refused(request_)) is Invalid


def test_an_unknown_product_is_not_found_and_harms_no_neighbour() -> None:
    outcomes, left = decide(shop(), adjust("prd_none", 1), adjust(delta=1))

    assert isinstance(outcomes[0], ProductNotFound)
    assert left["prd_1"].stock.available == 8
    assert "prd_none" not in left


def test_an_adjustment_is_told_with_who_and_why() -> None:
    adjustment, _ = made(adjust(delta=-2, kind=AdjustmentKind.DAMAGED))

    assert adjustment.events == (StockAdjusted(adjustment=adjustment.view()),)
    view = adjustment.view()
    assert (view.by, view.reason, view.kind, view.at) == ("boss", "A test.", "damaged", AT)


def lows(outcome: Adjustment | StoredReservation | Refusal) -> list[tuple[int, int]]:
    assert not isinstance(outcome, Refusal), outcome
    return [
        (event.available, event.low_stock_at)
        for event in outcome.events
        if isinstance(event, StockLow)
    ]


def test_low_stock_is_told_once_when_adjustments_cross_the_threshold() -> None:
    steps = (-1, -1, -1, +3, -2)  # from 7: 6, 5, 4, 7, 5
    outcomes, _ = decide(shop(low_stock_at=5), *(adjust(delta=step) for step in steps))

    assert [lows(outcome) for outcome in outcomes] == [[], [(5, 5)], [], [], [(5, 5)]]


def test_low_stock_is_told_once_when_orders_cross_the_threshold() -> None:
    requests = [reserve(("prd_1", pieces)) for pieces in (1, 3, 1)]  # from 7: 6, 3, 2

    outcomes = allocate(shop(low_stock_at=5), requests, at=AT)

    assert [lows(outcome) for outcome in outcomes] == [[], [(3, 5)], []]


@given(levels, st.one_of(st.none(), levels), st.lists(st.integers(1, 9), max_size=12))
def test_however_orders_come_a_fall_is_told_once_at_most(
    available: int, threshold: int | None, wanted: list[int]
) -> None:
    products = shop(Stock(available=available), threshold)

    outcomes = allocate(products, [reserve(("prd_1", pieces)) for pieces in wanted], at=AT)

    held = [outcome for outcome in outcomes if isinstance(outcome, StoredReservation)]
    left = available - sum(line.quantity for each in held for line in each.lines)
    told = [low for outcome in held for low in lows(outcome)]
    assert len(told) == (threshold is not None and available > threshold >= left)


def test_nothing_is_told_of_a_product_that_is_out_of_the_catalogue() -> None:
    [mug] = shop(low_stock_at=5).values()
    archived = {mug.id: msgspec.structs.replace(mug, status=ProductStatus.ARCHIVED)}

    [outcome], _ = decide(archived, adjust(delta=-7))

    assert lows(outcome) == []


def account(stock: Stock, by_reservations: Stock, initial: int, adjusted: int) -> StockAccount:
    return StockAccount(
        product_id="prd_1",
        sku="MUG",
        name="Mug",
        initial=initial,
        adjustments=[AdjustmentSum(kind=AdjustmentKind.RECEIVED, count=1, pieces=adjusted)],
        stock=stock,
        by_reservations=by_reservations,
    )


REPAIR = RepairStock(product_id="prd_1", reason="Drifted.", actor=ADMIN)


@given(stocks, stocks, levels, st.integers(-20, 20))
def test_a_repair_makes_everything_agree_and_leaves_what_is_available(
    stock: Stock, other: Stock, initial: int, adjusted: int
) -> None:
    right = msgspec.structs.replace(other, available=stock.available)
    before = account(stock, right, initial, adjusted)

    repair = rules.repair(before, REPAIR, at=AT, id="adj_9")

    if before.agrees:
        assert repair is None
        return
    assert repair is not None
    moved = {where: getattr(stock, where) + by for where, by in repair.moves.items()}
    assert msgspec.structs.replace(stock, **moved) == right
    correction = repair.correction
    assert correction.kind is AdjustmentKind.CORRECTION
    assert initial + adjusted + correction.delta == right.total
    assert correction.after == correction.before + correction.delta == right.on_hand
    assert len(correction.events) == 1


def test_what_agrees_is_not_repaired() -> None:
    assert rules.repair(account(STOCK, STOCK, 10, 4), REPAIR, at=AT, id="adj_9") is None
