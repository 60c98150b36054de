"""How a reservation ends, in whatever order its order's events arrive."""

from collections import Counter
from itertools import permutations
from random import Random
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.contracts.products import StockShortage
from cartwheel.products.domain.stock import (
    Ended,
    Goods,
    ReservationStatus,
    StoredReservation,
    allocate,
    release_abandoned,
    settle,
    stock_moves,
)

from .examples import AT, goods, product, reserve

HELD, COMMITTED, RELEASED, RETURNED = ReservationStatus
PAID, CLOSED = Ended
PIECES = 3

Arrival = tuple[int, Ended] | Literal["abandoned", "bought by others", "returned by others"]
"""An order's event with its number, the sweep, or other customers' changes of the free pieces."""

HISTORIES: list[list[tuple[int, Ended]]] = [
    [(2, PAID)],
    [(2, CLOSED)],
    [(2, PAID), (3, CLOSED)],
    [(4, PAID), (7, CLOSED)],
]
"""All histories that orders can emit: paid at most once, then closed at most once."""


def new_reservation() -> StoredReservation:
    [made] = allocate(goods(product("prd_1")), [reserve(("prd_1", PIECES))], at=AT)
    assert isinstance(made, StoredReservation)
    return made


def abandoned() -> StoredReservation:
    return release_abandoned(new_reservation())


def left(**available: int) -> dict[str, Goods]:
    """Return products of which so many pieces are available, by their ids."""
    return goods(*(product(name, stock=pieces) for name, pieces in available.items()))


class Shop:
    """One product of ten pieces, three of them in the reservation."""

    def __init__(self, reservation: StoredReservation | None = None) -> None:
        self.reservation = reservation or new_reservation()
        self.others = 0
        self.unshipped = 0
        self.pieces = {"available": 7, "reserved": PIECES, "sold": 0}

    def take(self, *arrived: Arrival) -> "Shop":
        for each in arrived:
            before = self.reservation
            if each == "abandoned":
                self.reservation = release_abandoned(before)
            elif isinstance(each, str):
                moved = self.pieces["available"] if each == "bought by others" else -self.others
                self.others += moved
                self.pieces["available"] -= moved
            else:
                sequence, ended = each
                there = left(prd_1=self.pieces["available"])
                self.reservation = settle(before, ended, order_sequence=sequence, products=there)
            moves = stock_moves(before, self.reservation).get("prd_1", Counter[str]())
            for where, number in moves.items():
                if where == "unshipped":
                    self.unshipped += number
                else:
                    self.pieces[where] += number
            assert min(self.pieces.values()) >= 0
            assert sum(self.pieces.values()) + self.others == 10
            assert self.unshipped == self.pieces["sold"]
        return self

    @property
    def shortages(self) -> int:
        return len(self.reservation.events)


arrivals = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 6), st.sampled_from(Ended)),
        st.sampled_from(["abandoned", "bought by others", "returned by others"]),
    ),
    max_size=16,
)


@given(arrivals)
def test_no_piece_appears_or_disappears(arrived: list[Arrival]) -> None:
    """Even with histories that orders never emits."""
    shop = Shop().take(*arrived)

    where = {HELD: "reserved", COMMITTED: "sold", RELEASED: "available", RETURNED: "available"}
    elsewhere = {name: count for name, count in shop.pieces.items() if name != "available"}
    assert elsewhere == {
        name: PIECES * (where[shop.reservation.status] == name) for name in elsewhere
    }


@given(arrivals, arrivals)
def test_a_closed_order_never_gets_stock_again(before: list[Arrival], after: list[Arrival]) -> None:
    closed = Shop().take(*before, (7, CLOSED))
    status = closed.reservation.status

    closed.take(*after, (8, PAID), "abandoned", (9, PAID))

    assert status in (RELEASED, RETURNED)
    assert closed.reservation.status is status


@given(st.sampled_from(HISTORIES), st.randoms())
def test_the_order_of_arrival_and_repeats_do_not_matter(
    history: list[tuple[int, Ended]], random: Random
) -> None:
    arrived: list[Arrival] = [*history * 3]
    random.shuffle(arrived)

    mixed = Shop().take(*arrived)
    straight = Shop().take(*history)

    assert mixed.pieces == straight.pieces
    assert mixed.reservation.order_sequence == straight.reservation.order_sequence


@given(st.sampled_from(HISTORIES), st.randoms())
def test_releasing_at_any_moment_does_not_change_the_end_while_there_is_stock(
    history: list[tuple[int, Ended]], random: Random
) -> None:
    arrived: list[Arrival] = [*history * 2, "abandoned", "abandoned"]
    random.shuffle(arrived)

    assert Shop().take(*arrived).pieces == Shop().take(*history).pieces


def test_any_order_of_arrival_ends_the_same() -> None:
    sent: list[Arrival] = [(2, PAID), (3, CLOSED), (3, CLOSED)]

    ends = {tuple(Shop().take(*arrived).pieces.values()) for arrived in permutations(sent)}

    assert ends == {(10, 0, 0)}


@pytest.mark.parametrize("ended", Ended)
def test_the_same_event_again_changes_nothing(ended: Ended) -> None:
    once = settle(new_reservation(), ended, order_sequence=2, products={})

    assert settle(once, ended, order_sequence=2, products={}) is once


def test_an_older_event_changes_nothing() -> None:
    free = settle(new_reservation(), CLOSED, order_sequence=3, products={})

    assert settle(free, PAID, order_sequence=2, products=left(prd_1=10)) is free


def test_an_abandoned_reservation_is_taken_again_when_its_order_is_paid() -> None:
    sold = settle(abandoned(), PAID, order_sequence=2, products=left(prd_1=PIECES))

    assert (sold.status, sold.events) == (COMMITTED, ())


def test_if_a_piece_is_missing_one_shortage_is_emitted_and_nothing_is_taken() -> None:
    short = settle(abandoned(), PAID, order_sequence=2, products=left(prd_1=PIECES - 1))

    assert short.status is RELEASED
    assert short.events == (StockShortage(order_id=short.id),)
    assert settle(short, PAID, order_sequence=2, products=left(prd_1=10)) is short


def test_one_missing_product_is_a_shortage_of_the_whole_order() -> None:
    shop = goods(product("prd_1"), product("prd_2"))
    [made] = allocate(shop, [reserve(("prd_1", 1), ("prd_2", 1))], at=AT)
    assert isinstance(made, StoredReservation)

    short = settle(release_abandoned(made), PAID, order_sequence=2, products=left(prd_1=9, prd_2=0))

    assert (short.status, len(short.events)) == (RELEASED, 1)


def test_an_order_canceled_for_a_shortage_returns_no_stock() -> None:
    shop = Shop().take(
        "abandoned", "bought by others", (2, PAID), "returned by others", (3, CLOSED)
    )

    assert (shop.reservation.status, shop.shortages) == (RELEASED, 1)
    assert shop.pieces == {"available": 10, "reserved": 0, "sold": 0}


@pytest.mark.parametrize("status", [COMMITTED, RELEASED, RETURNED])
def test_only_a_held_reservation_is_released(status: ReservationStatus) -> None:
    settled = msgspec.structs.replace(new_reservation(), status=status)

    assert release_abandoned(settled) is settled


@pytest.mark.parametrize("status", ReservationStatus)
def test_an_unchanged_status_moves_no_piece(status: ReservationStatus) -> None:
    held = msgspec.structs.replace(new_reservation(), status=status)

    assert stock_moves(held, held) == {}
