"""Who gets the last pieces: `allocate` decides, and never oversells."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.contracts.money import MAX_AMOUNT, Money
from cartwheel.contracts.products import (
    InsufficientStock,
    MixedCurrencies,
    OrderTooLarge,
    PriceChanged,
    ProductStatus,
    ReserveStock,
    TooManyOpenOrders,
    TooManyPieces,
    UnknownProduct,
)
from cartwheel.kernel.errors import FieldError, Refusal
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.domain.stock import (
    ReservationStatus,
    StoredLine,
    StoredReservation,
    allocate,
)

from ..garbage import fewer_cycles_than
from .examples import AT, DOLLARS, goods, product, reserve


def decide(products: list[Product], *requests: ReserveStock) -> list[StoredReservation | Refusal]:
    return allocate(goods(*products), requests, at=AT)


def refused(outcome: StoredReservation | Refusal) -> Refusal:
    assert isinstance(outcome, Refusal)
    return outcome


def held(outcome: StoredReservation | Refusal) -> StoredReservation:
    assert isinstance(outcome, StoredReservation), outcome
    return outcome


IDS = ("prd_1", "prd_2", "prd_3")


def test_refusals_create_no_reference_cycles() -> None:
    """In a flash sale nearly every request is refused, and a garbage collection stops all."""
    requests = [reserve(("prd_1", 11)) for _ in range(50)]
    with fewer_cycles_than(len(requests)):
        assert all(isinstance(each, Refusal) for each in decide([product(stock=10)], *requests))


stocks = st.fixed_dictionaries({name: st.integers(0, 12) for name in IDS})
items = st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 8)), min_size=1, max_size=4)
batches = st.lists(items.map(lambda wanted: reserve(*wanted)), max_size=12)


def taken(outcomes: list[StoredReservation | Refusal]) -> Counter[str]:
    pieces: Counter[str] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, StoredReservation):
            pieces.update({line.product_id: line.quantity for line in outcome.lines})
    return pieces


def wanted_by(request: ReserveStock) -> Counter[str]:
    pieces: Counter[str] = Counter()
    for item in request.items:
        pieces[item.product_id] += item.quantity
    return pieces


@given(stocks, batches)
def test_stock_is_never_oversold(stock: dict[str, int], requests: list[ReserveStock]) -> None:
    outcomes = decide([product(name, stock=n) for name, n in stock.items()], *requests)

    assert all(count <= stock[name] for name, count in taken(outcomes).items())


@given(stocks, batches)
def test_each_request_gets_all_it_asked_for_or_nothing(
    stock: dict[str, int], requests: list[ReserveStock]
) -> None:
    outcomes = decide([product(name, stock=n) for name, n in stock.items()], *requests)

    assert len(outcomes) == len(requests)
    for request, outcome in zip(requests, outcomes, strict=True):
        if isinstance(outcome, StoredReservation):
            assert outcome.id == request.order_id
            assert taken([outcome]) == wanted_by(request)


@given(stocks, batches)
def test_requests_are_served_in_order(stock: dict[str, int], requests: list[ReserveStock]) -> None:
    """A request is refused exactly if the earlier ones have left too little."""
    outcomes = decide([product(name, stock=n) for name, n in stock.items()], *requests)

    left = Counter(stock)
    for request, outcome in zip(requests, outcomes, strict=True):
        enough = all(left[name] >= count for name, count in wanted_by(request).items())
        assert isinstance(outcome, StoredReservation) == enough
        left.subtract(taken([outcome]))


@given(stocks, batches)
def test_one_batch_decides_like_many_small_ones(
    stock: dict[str, int], requests: list[ReserveStock]
) -> None:
    together = decide([product(name, stock=n) for name, n in stock.items()], *requests)

    left = Counter(stock)
    for request, outcome in zip(requests, together, strict=True):
        [alone] = decide([product(name, stock=left[name]) for name in IDS], request)
        assert type(alone) is type(outcome)
        left.subtract(taken([alone]))


def test_items_of_one_product_become_one_line() -> None:
    [outcome] = decide([product("prd_1", stock=5)], reserve(("prd_1", 2), ("prd_1", 3)))

    reservation = held(outcome)
    assert reservation.status is ReservationStatus.HELD
    assert [(line.product_id, line.quantity) for line in reservation.lines] == [("prd_1", 5)]


def test_items_of_one_product_count_together_against_the_stock() -> None:
    [outcome] = decide([product("prd_1", stock=4)], reserve(("prd_1", 2), ("prd_1", 3)))

    assert isinstance(refused(outcome), InsufficientStock)


def test_a_line_keeps_the_current_name_and_price() -> None:
    mug = product("prd_1")

    [outcome] = decide([mug], reserve(("prd_1", 2)))

    assert held(outcome).lines == [
        StoredLine(product_id="prd_1", name=mug.name, quantity=2, unit_price=DOLLARS)
    ]


def test_a_refusal_names_every_item_out_of_stock_and_the_stock_left() -> None:
    shop = [product("prd_1", stock=1), product("prd_2", stock=9), product("prd_3", stock=0)]

    [outcome] = decide(shop, reserve(("prd_1", 2), ("prd_2", 9), ("prd_3", 1)))

    assert refused(outcome).errors == (
        FieldError("items[0].quantity", "`items[0].quantity` is more than the 1 available."),
        FieldError("items[2].quantity", "`items[2].quantity` is more than the 0 available."),
    )


def test_unknown_and_archived_products_are_refused_with_their_index() -> None:
    archived = msgspec.structs.replace(product("prd_2"), status=ProductStatus.ARCHIVED)

    [outcome] = decide(
        [product("prd_1"), archived], reserve(("prd_1", 1), ("prd_2", 1), ("prd_none", 1))
    )

    assert isinstance(outcome, UnknownProduct)
    assert [error.field for error in outcome.errors] == [
        "items[1].product_id",
        "items[2].product_id",
    ]


def test_a_refused_request_takes_nothing_from_the_next() -> None:
    shop = [product("prd_1", stock=5), product("prd_2", stock=0)]

    first, second = decide(shop, reserve(("prd_1", 5), ("prd_2", 1)), reserve(("prd_1", 5)))

    assert isinstance(refused(first), InsufficientStock)
    assert taken([second]) == {"prd_1": 5}


def test_one_order_has_one_currency() -> None:
    shop = [product("prd_1"), product("prd_2", price=Money(100, "EUR"))]

    [outcome] = decide(shop, reserve(("prd_1", 1), ("prd_2", 1)))

    assert isinstance(outcome, MixedCurrencies)


@pytest.mark.parametrize(("quantity", "fits"), [(1000, True), (1001, False)])
def test_an_orders_total_is_limited(quantity: int, fits: bool) -> None:
    gold = product("prd_1", stock=10_000, price=Money(MAX_AMOUNT // 1000, "USD"))

    [outcome] = decide([gold], reserve(("prd_1", quantity)))

    assert isinstance(outcome, StoredReservation if fits else OrderTooLarge)


def slot(outcome: StoredReservation | Refusal) -> tuple[str | None, int | None]:
    return held(outcome).owner, held(outcome).slot


def test_each_owner_takes_the_lowest_slots_that_are_free() -> None:
    mugs = goods(product(stock=10))
    requests = [reserve(("prd_1", 1), owner=owner, max_live=3) for owner in "aabab"]

    outcomes = allocate(mugs, requests, at=AT, taken={"a": {1}})

    assert [slot(each) for each in outcomes[:3]] == [("a", 0), ("a", 2), ("b", 0)]
    assert isinstance(outcomes[3], TooManyOpenOrders)
    assert slot(outcomes[4]) == ("b", 1)


def test_slots_beyond_a_bound_that_was_lowered_count() -> None:
    """Otherwise the customer would have more than the new bound."""
    mugs = goods(product(stock=10))
    request = reserve(("prd_1", 1), owner="a", max_live=3)

    [full] = allocate(mugs, [request], at=AT, taken={"a": {4, 7, 9}})
    [room] = allocate(mugs, [request], at=AT, taken={"a": {4, 7}})

    assert isinstance(full, TooManyOpenOrders)
    assert slot(room) == ("a", 0)


def test_a_refused_request_takes_no_slot() -> None:
    mugs = product(stock=1)
    requests = [reserve(("prd_1", n), owner="a", max_live=1) for n in (2, 1)]

    assert slot(decide([mugs], *requests)[1]) == ("a", 0)


def test_without_a_bound_or_an_owner_there_are_no_slots() -> None:
    unbounded = reserve(("prd_1", 1), owner="a", max_live=0)
    older = reserve(("prd_1", 1))

    outcomes = decide([product(stock=10)], unbounded, older)

    assert [slot(each) for each in outcomes] == [("a", None), (None, None)]


@pytest.mark.parametrize(
    ("items", "fields"),
    [
        ([("prd_1", 6)], ["items[0].quantity"]),
        ([("prd_2", 1), ("prd_1", 3), ("prd_1", 3)], ["items[1].quantity"]),
        ([("prd_1", 5), ("prd_2", 4)], ["items"]),
    ],
)
def test_too_many_pieces_are_refused_before_the_stock_is_looked_at(
    items: list[tuple[str, int]], fields: list[str]
) -> None:
    request = reserve(*items, max_per_line=5, max_pieces=8)

    refusal = refused(decide([product("prd_1", stock=0), product("prd_2", stock=0)], request)[0])

    assert isinstance(refusal, TooManyPieces)
    assert [error.field for error in refusal.errors] == fields


def test_as_many_pieces_as_are_allowed_are_held() -> None:
    request = reserve(("prd_1", 5), ("prd_2", 3), max_per_line=5, max_pieces=8)

    [outcome] = decide([product("prd_1"), product("prd_2")], request)

    assert sum(line.quantity for line in held(outcome).lines) == 8


@pytest.mark.parametrize("expected", [Money(1998, "USD"), Money(1999, "EUR"), Money(3998, "USD")])
def test_another_price_than_expected_is_told_and_nothing_is_held(expected: Money) -> None:
    twice = [reserve(("prd_1", 1), expected_total=total) for total in (expected, DOLLARS)]

    first, second = decide([product(stock=1)], *twice)

    assert isinstance(first, PriceChanged)
    assert first.members == {"total": DOLLARS}
    assert held(second).lines[0].quantity == 1
