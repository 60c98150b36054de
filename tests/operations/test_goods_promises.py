"""Promise 13 of `cartwheel verify`, on a correct order with one thing changed."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.records import (
    CallOff,
    Fulfillment,
    Line,
    Order,
    Reservation,
    Return,
    ReturnedLine,
    Shipment,
)

from .papers import order, paid, reservation, told, wrong

BROKEN = [(13, ("ord_1",))]


def line(quantity: int, **counted: int) -> Line:
    return Line(product_id="prd_1", quantity=quantity, **counted)


def parcel(quantity: int, status: str = "DELIVERED") -> Shipment:
    return Shipment(id="shp_1", status=status, lines=(line(quantity),))


def returned(quantity: int, restocked: int, written_off: int, status: str = "RECEIVED") -> Return:
    lines = ReturnedLine(
        product_id="prd_1", quantity=quantity, restocked=restocked, written_off=written_off
    )
    return Return(id="ret_1", status=status, lines=(lines,))


def called_off(quantity: int) -> CallOff:
    return CallOff(id="cof_1", lines=(line(quantity),))


def case(status: str, counted: Line, **changes: Any) -> Case:
    """Return an order of two pieces, whose reservation counts as its `counted` line says."""
    return paid(
        order=order("PAID", fulfillment=Fulfillment(status=status), **changes),
        reservation=reservation("COMMITTED", lines=(counted,)),
    )


CORRECT: dict[str, Case] = {
    "one of two is shipped": case("PARTIAL", line(2, shipped=1), shipments=(parcel(1, "SHIPPED"),)),
    "both are shipped": case("SHIPPED", line(2, shipped=2), shipments=(parcel(2, "SHIPPED"),)),
    "both are delivered": case("DELIVERED", line(2, shipped=2), shipments=(parcel(2),)),
    "the parcel came back": case("UNFULFILLED", line(2), shipments=(parcel(2, "FAILED"),)),
    "one is shipped, one called off": case(
        "DELIVERED",
        line(2, shipped=1, called_off=1),
        shipments=(parcel(1),),
        called_off=(called_off(1),),
    ),
    "one is to come back": case(
        "DELIVERED",
        line(2, shipped=2),
        shipments=(parcel(2),),
        returns=(returned(1, 0, 0, "ACCEPTED"),),
    ),
    "both came back": case(
        "RETURNED",
        line(2, shipped=2, restocked=1),
        shipments=(parcel(2),),
        returns=(returned(2, 1, 1),),
    ),
}


@pytest.mark.parametrize("correct", CORRECT.values(), ids=CORRECT)
def test_a_correct_order_has_no_violation(correct: Case) -> None:
    assert wrong(correct) == []


def broken(what: str, order: dict[str, Any], lines: Sequence[Line] = ()) -> Case:
    """Return the correct case `what` with these changes of its order and its reservation."""
    correct = CORRECT[what]
    assert isinstance(correct.order, Order)
    assert isinstance(correct.reservation, Reservation)
    held = correct.reservation
    if lines:
        held = msgspec.structs.replace(held, lines=tuple(lines))
    return msgspec.structs.replace(
        correct, order=msgspec.structs.replace(correct.order, **order), reservation=held
    )


BROKEN_CASES: dict[str, Case] = {
    "three of two are shipped": broken(
        "both are delivered", {"shipments": (parcel(3),)}, [line(2, shipped=3)]
    ),
    "what is called off is shipped": broken(
        "one is shipped, one called off",
        {"shipments": (parcel(2),)},
        [line(2, shipped=2, called_off=1)],
    ),
    "more is to come back than was delivered": broken(
        "one is to come back", {"returns": (returned(3, 0, 0, "ACCEPTED"),)}
    ),
    "more came back than was delivered": broken(
        "both are delivered", {"returns": (returned(3, 0, 3),)}
    ),
    "the status is not that of the parcels": broken(
        "both are delivered", {"fulfillment": Fulfillment(status="SHIPPED")}
    ),
    "a parcel left the shelf twice": broken("one of two is shipped", {}, [line(2, shipped=2)]),
    "a return was restocked twice": broken("both came back", {}, [line(2, shipped=2, restocked=2)]),
    "a call-off was not heard of": broken(
        "one is shipped, one called off", {}, [line(2, shipped=1)]
    ),
}


@pytest.mark.parametrize("case", BROKEN_CASES.values(), ids=BROKEN_CASES)
def test_a_broken_order_is_reported(case: Case) -> None:
    assert told(wrong(case)) == BROKEN


def test_an_order_that_is_shipped_is_not_canceled() -> None:
    shipped = broken("both are shipped", {"status": "CANCELED"})

    assert (13, ("ord_1",)) in told(wrong(shipped))


def test_a_shipped_cash_order_has_a_committed_reservation() -> None:
    correct = paid(
        order=order(
            "AWAITING_PAYMENT",
            expires_at=None,
            begun_payments=("pay_1",),
            fulfillment=Fulfillment(status="SHIPPED"),
            shipments=(parcel(2, "SHIPPED"),),
        ),
        reservation=reservation("COMMITTED", lines=(line(2, shipped=2),), order_sequence=1),
        payments=(
            msgspec.structs.replace(paid().payments[0], provider="cash", status="AWAITING_PAYMENT"),
        ),
        ledger=(),
        mails=(),
    )

    assert wrong(correct) == []
    held = msgspec.structs.replace(correct, reservation=reservation("HELD", order_sequence=1))
    assert {each.promise for each in wrong(held)} == {5, 13}
