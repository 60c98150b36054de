"""What becomes of held pieces, in whatever order an order's events arrive."""

from itertools import permutations
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cartwheel.products.domain import (
    ReservationStatus,
    StoredReservation,
    allocate,
    settle,
    stock_moves,
)

from .examples import AT, product, reserve

HELD, COMMITTED, RELEASED = ReservationStatus
ENDS = (COMMITTED, RELEASED)
events = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(ENDS)), max_size=12)


def new_reservation() -> StoredReservation:
    [made] = allocate({"prd_1": product("prd_1")}, [reserve(("prd_1", 3))], at=AT)
    assert isinstance(made, StoredReservation)
    return made


def apply(
    reservation: StoredReservation, *arrived: tuple[int, ReservationStatus]
) -> tuple[StoredReservation, dict[str, int]]:
    """Return the reservation after the events, and where its three pieces are then."""
    pieces = {"available": 7, "reserved": 3, "sold": 0}
    for sequence, status in arrived:
        after = settle(reservation, status, order_sequence=sequence)
        if after is None:
            continue
        for where, sign in stock_moves(reservation.status, after.status).items():
            pieces[where] += sign * 3
        reservation = after
    return reservation, pieces


@given(events)
def test_no_piece_appears_or_disappears(arrived: list[tuple[int, ReservationStatus]]) -> None:
    reservation, pieces = apply(new_reservation(), *arrived)

    assert sum(pieces.values()) == 10
    assert min(pieces.values()) >= 0
    assert (
        pieces
        == {
            HELD: {"available": 7, "reserved": 3, "sold": 0},
            COMMITTED: {"available": 7, "reserved": 0, "sold": 3},
            RELEASED: {"available": 10, "reserved": 0, "sold": 0},
        }[reservation.status]
    )


@given(st.lists(st.sampled_from(ENDS), min_size=1, max_size=6), st.randoms())
def test_the_order_of_arrival_and_repeats_do_not_matter(
    history: list[ReservationStatus], random: Random
) -> None:
    sent = list(enumerate(history, start=1))
    arrived = sent * 3
    random.shuffle(arrived)
    held = new_reservation()

    assert apply(held, *arrived) == apply(held, *sent)


def test_any_order_of_arrival_ends_the_same() -> None:
    sent = [(2, COMMITTED), (3, RELEASED), (3, RELEASED)]

    ends = {apply(new_reservation(), *arrived)[0].status for arrived in permutations(sent)}

    assert ends == {RELEASED}


def test_the_same_event_again_changes_nothing() -> None:
    sold = settle(new_reservation(), COMMITTED, order_sequence=2)

    assert sold is not None
    assert settle(sold, COMMITTED, order_sequence=2) is None


def test_an_older_event_changes_nothing() -> None:
    free = settle(new_reservation(), RELEASED, order_sequence=3)

    assert free is not None
    assert settle(free, COMMITTED, order_sequence=2) is None


def test_a_newer_event_to_the_same_end_moves_no_piece() -> None:
    assert stock_moves(COMMITTED, COMMITTED) == {}
