"""The violations about payments that wait for their customer (promises 3 and 4)."""

from datetime import timedelta

import pytest

from cartwheel.operations.verify import actions
from cartwheel.operations.verify.records import LedgerLine, NextAction, Payment, Retry

from .papers import LONG_AGO, NOW, PATIENCE, charge, order, paid, payment, reservation, told, wrong

ASKED: LedgerLine = charge(id=1, kind="challenge")
SOON, BEFORE = NextAction(expires_at=NOW + timedelta(minutes=5)), NextAction(expires_at=LONG_AGO)
WAITING: Payment = payment("REQUIRES_ACTION", live=True, next_action=SOON)


def waits(status: str = "AWAITING_PAYMENT", payment: Payment = WAITING) -> list[str]:
    case = paid(
        order=order(status),
        reservation=reservation("HELD", order_sequence=1),
        payments=(payment,),
        ledger=(ASKED,),
        mails=(),
    )
    return [violation.sentence for violation in actions.check(case, PATIENCE, NOW)]


def test_a_payment_may_wait_for_its_customer() -> None:
    assert waits() == []
    case = paid(
        order=order("AWAITING_PAYMENT"),
        reservation=reservation("HELD", order_sequence=1),
        payments=(WAITING,),
        ledger=(ASKED,),
        mails=(),
    )
    assert wrong(case) == []


@pytest.mark.parametrize("status", ["PAID", "CANCELED", "REJECTED"])
def test_one_that_waits_although_its_order_has_ended_is_found(status: str) -> None:
    [sentence] = waits(status)
    assert f"order ord_1 is {status}" in sentence


def test_one_that_waits_for_too_long_is_found() -> None:
    [sentence] = waits(payment=payment("REQUIRES_ACTION", live=True, next_action=BEFORE))
    assert "had until" in sentence


def test_one_whose_provider_does_not_answer_is_found_after_a_day() -> None:
    for hours, found in ((1, 0), (25, 1)):
        retry = Retry(since=NOW - timedelta(hours=hours), failures=9)
        late = payment("REQUIRES_ACTION", live=True, next_action=BEFORE, retry=retry)
        assert len(waits(payment=late)) == found


@pytest.mark.parametrize("status", ["REJECTED", "CANCELED"])
def test_one_that_has_ended_here_and_can_still_be_approved_is_found(status: str) -> None:
    case = paid(payments=(payment(status, live=False),), ledger=(ASKED,))
    assert told(actions.check(case, PATIENCE, NOW)) == [(4, ("ord_1", "pay_1"))]
    for kind in ("charge", "decline", "cancellation", "authorization"):
        ended = paid(payments=(payment(status, live=False),), ledger=(ASKED, charge(kind=kind)))
        assert actions.check(ended, PATIENCE, NOW) == []
