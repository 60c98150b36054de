"""The violations of the promises about money that is only reserved (3 and 4)."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from cartwheel.contracts.money import Money
from cartwheel.operations.verify.case import Case

from .papers import LONG_AGO, NOW, TOTAL, charge, order, paid, payment, reservation, wrong


def line(kind: str = "authorization", payment_id: str = "pay_1", **changes: Any) -> Any:
    return charge(payment_id, kind=kind, **changes)


RESERVED = payment(
    "AUTHORIZED",
    authorized=TOTAL,
    capture_before=NOW + timedelta(days=3),
    act_at=NOW + timedelta(days=2),
)


def authorized(**changes: Any) -> Case:
    """Return an order whose money is reserved, with all its documents."""
    case = paid(
        order=order("AUTHORIZED", authorized_by="pay_1"),
        reservation=reservation("HELD"),
        payments=(RESERVED,),
        ledger=(line(),),
        mails=(),
    )
    return msgspec.structs.replace(case, **changes)


def told(case: Case) -> list[tuple[int, str]]:
    return [(each.promise, each.sentence) for each in wrong(case)]


def test_an_authorized_order_is_no_violation() -> None:
    assert told(authorized()) == []


def test_a_captured_authorization_is_no_violation() -> None:
    captured = payment(authorized=TOTAL, captured=TOTAL)
    assert told(paid(payments=(captured,), ledger=(line(), line("capture", id=2)))) == []


@pytest.mark.parametrize("kind", ["void", "lapse"])
def test_a_released_authorization_is_no_violation(kind: str) -> None:
    case = paid(
        order=order("CANCELED", canceled_payments=("pay_1",)),
        reservation=reservation("RELEASED"),
        payments=(payment("CANCELED", authorized=TOTAL),),
        ledger=(line(), line(kind, id=2)),
        mails=paid().mails[:0],
    )
    assert [each for each in told(case) if each[0] in (3, 4)] == []


@pytest.mark.parametrize("kind", ["capture", "void", "lapse"])
def test_an_authorization_that_has_ended_at_the_provider_is_found(kind: str) -> None:
    found = told(authorized(ledger=(line(), line(kind, id=2))))
    assert (3, "payment pay_1 is AUTHORIZED, but in the ledger it is not") in found


def test_an_authorization_that_the_ledger_does_not_know_is_found() -> None:
    assert told(authorized(ledger=())) == [
        (3, "payment pay_1 is AUTHORIZED, but in the ledger it is not")
    ]


@pytest.mark.parametrize("status", ["CANCELED", "REJECTED", "AWAITING_PAYMENT"])
def test_an_authorization_that_is_left_at_the_provider_is_found(status: str) -> None:
    found = told(authorized(payments=(payment(status),)))
    assert (3, f"payment pay_1 is {status}, but in the ledger its authorization is live") in found


def test_two_live_authorizations_are_found() -> None:
    other = payment("REJECTED", "pay_2")
    case = authorized(payments=(RESERVED, other), ledger=(line(), line(payment_id="pay_2", id=2)))
    assert (4, "order ord_1 has 2 live authorizations in the ledger") in told(case)


def test_an_authorized_order_without_its_authorization_is_found() -> None:
    found = told(authorized(payments=(), ledger=()))
    assert (3, "order ord_1 is AUTHORIZED by pay_1, which is not") in found


@pytest.mark.parametrize("status", ["AWAITING_PAYMENT", "PAID", "CANCELED"])
def test_an_authorization_of_an_order_that_is_not_authorized_is_found(status: str) -> None:
    found = told(authorized(order=order(status)))
    assert (3, f"order ord_1 is {status}, but payment pay_1 is AUTHORIZED") in found


def test_money_that_was_taken_for_an_authorized_order_is_found() -> None:
    found = told(authorized(ledger=(line(), line("capture", id=2))))
    assert (3, "payment pay_1 was captured, but is AUTHORIZED") in found


def test_another_amount_is_found() -> None:
    assert told(authorized(ledger=(line(amount=1),))) == [
        (3, "payment pay_1 is for 1999 USD, but 1 USD is authorized")
    ]


def test_an_authorization_past_its_time_is_found() -> None:
    late = msgspec.structs.replace(RESERVED, capture_before=LONG_AGO)
    [(promise, sentence)] = told(authorized(payments=(late,)))
    assert promise == 4
    assert "is still AUTHORIZED, which it was until" in sentence


def test_an_authorization_that_nobody_looks_after_is_found() -> None:
    stuck = msgspec.structs.replace(RESERVED, act_at=NOW - timedelta(days=2))
    [(_, sentence)] = told(authorized(payments=(stuck,)))
    assert "should have been captured or voided since" in sentence


def test_a_part_is_captured_of_what_was_reserved_only_if_the_rest_was_called_off() -> None:
    part = payment(authorized=TOTAL, captured=Money(999, "USD"))
    found = told(paid(payments=(part,), ledger=(line(), line("capture", amount=999, id=2))))
    assert (3, "payment pay_1 is for 1999 USD, but 999 USD was charged") in found
