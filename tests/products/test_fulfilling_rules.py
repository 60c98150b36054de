"""Where pieces are after parcels, call-offs and returns, in whatever order these arrive."""

from collections import Counter
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from cartwheel.products.domain.stock import (
    CalledOff,
    Ended,
    Gone,
    Moved,
    ReservationStatus,
    Restocked,
    StoredReservation,
    allocate,
    fulfil,
    pieces,
    release_abandoned,
    settle,
    stock_moves,
)

from .examples import AT, goods, product, reserve

PIECES = 5
SHOP = goods(product("prd_1", stock=10))


def gone(id: str, quantity: int) -> Gone:
    return Gone(id=id, pieces={"prd_1": quantity})


def back(id: str, quantity: int) -> Gone:
    return Gone(id=id, pieces={"prd_1": quantity}, undone=True)


def called_off(quantity: int) -> CalledOff:
    return CalledOff(id="cof_1", pieces={"prd_1": quantity})


def restocked(quantity: int, id: str = "ret_1") -> Restocked:
    return Restocked(id=id, pieces={"prd_1": quantity})


def held() -> StoredReservation:
    [made] = allocate(SHOP, [reserve(("prd_1", PIECES))], at=AT)
    assert isinstance(made, StoredReservation)
    return made


def sold() -> StoredReservation:
    return settle(held(), Ended.PAID, order_sequence=2, products={})


def after(reservation: StoredReservation, *moved: Moved, sequence: int = 3) -> StoredReservation:
    for number, each in enumerate(moved, start=sequence):
        reservation = fulfil(reservation, each, order_sequence=number, products=SHOP)
    return reservation


def numbers(reservation: StoredReservation) -> dict[str, int]:
    """Return where its pieces are; those that are nowhere are available again."""
    return {name: number for name, number in pieces(reservation)["prd_1"].items() if number}


def test_a_parcel_leaves_the_shelf_and_its_pieces_stay_sold() -> None:
    assert numbers(after(sold(), gone("shp_1", 2))) == {"sold": 5, "unshipped": 3}


def test_a_parcel_that_comes_back_lies_on_the_shelf_again() -> None:
    again = after(sold(), gone("shp_1", 2), back("shp_1", 2), gone("shp_2", 5))

    assert numbers(again) == {"sold": 5}


def test_a_parcel_whose_return_is_heard_first_never_left() -> None:
    heard_first = after(sold(), back("shp_1", 2))

    assert numbers(heard_first) == {"sold": 5, "unshipped": 5}
    assert numbers(after(heard_first, gone("shp_1", 2))) == {"sold": 5, "unshipped": 5}


def test_pieces_that_are_called_off_are_available_again() -> None:
    rest = after(sold(), gone("shp_1", 2), called_off(3))

    assert numbers(rest) == {"sold": 2}
    assert stock_moves(sold(), rest) == {"prd_1": {"available": 3, "sold": -3, "unshipped": -5}}


def test_reserved_pieces_that_are_called_off_are_available_again_and_never_sold() -> None:
    less = after(held(), called_off(2), sequence=2)
    assert (less.status, numbers(less)) == (ReservationStatus.HELD, {"reserved": 3})
    assert stock_moves(held(), less) == {"prd_1": {"available": 2, "reserved": -2}}

    paid = settle(less, Ended.PAID, order_sequence=3, products={})
    canceled = settle(less, Ended.CLOSED, order_sequence=3, products={})

    assert numbers(paid) == {"sold": 3, "unshipped": 3}
    assert stock_moves(less, canceled) == {"prd_1": {"available": 3, "reserved": -3}}


def test_only_restocked_pieces_of_a_return_are_available_again() -> None:
    two_written_off = after(sold(), gone("shp_1", 5), restocked(3))

    assert numbers(two_written_off) == {"sold": 2}


def test_a_parcel_to_be_paid_at_the_door_commits_the_reservation() -> None:
    cash = after(held(), gone("shp_1", 5), sequence=2)

    assert cash.status is ReservationStatus.COMMITTED
    assert numbers(cash) == {"sold": 5}


def test_a_parcel_refused_at_the_door_returns_everything() -> None:
    refused = after(held(), gone("shp_1", 5), back("shp_1", 5), sequence=2)
    canceled = settle(refused, Ended.CLOSED, order_sequence=4, products={})

    assert canceled.status is ReservationStatus.RETURNED
    assert stock_moves(held(), canceled) == {"prd_1": {"available": 5, "reserved": -5}}


def test_a_parcel_of_an_abandoned_reservation_takes_its_pieces_again() -> None:
    cash = after(release_abandoned(held()), gone("shp_1", 5), sequence=2)

    assert stock_moves(release_abandoned(held()), cash) == {"prd_1": {"available": -5, "sold": 5}}


EVENTS: tuple[Moved, ...] = (
    gone("shp_1", 2),
    gone("shp_2", 3),
    back("shp_2", 3),
    called_off(3),
    restocked(1),
)


def test_each_counts_once_in_whatever_order_they_arrive() -> None:
    for arrived in permutations(EVENTS):
        assert numbers(after(sold(), *arrived, *arrived)) == {"sold": 1}


@given(st.lists(st.sampled_from(EVENTS), max_size=12))
def test_no_piece_appears_or_disappears(arrived: list[Moved]) -> None:
    before = sold()
    for each in arrived:
        now = after(before, each)
        moves = stock_moves(before, now).get("prd_1", Counter[str]())
        moved = [moves[where] for where in ("available", "reserved", "sold")]
        assert sum(moved) == 0
        before = now


def test_the_same_again_changes_nothing() -> None:
    once = after(sold(), gone("shp_1", 2), restocked(1))

    assert fulfil(once, restocked(1), order_sequence=9, products=SHOP) is once
