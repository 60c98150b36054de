"""The violations of the promises about money (3 and 4)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from cartwheel.contracts.money import Money
from cartwheel.operations.verify import money
from cartwheel.operations.verify.case import Case, in_flight
from cartwheel.operations.verify.records import Retry
from cartwheel.operations.verify.violation import Violation

from .papers import (
    NOW,
    PATIENCE,
    TEN_DAYS_AGO,
    came_back,
    charge,
    dispute,
    disputed,
    given_back,
    mails_about,
    order,
    paid,
    payment,
    refund,
    refunded,
    reservation,
    told,
    wrong,
)

LATE = payment("REJECTED", "pay_2")
"""A second payment that the order is not waiting for."""


def the_only(case: Case) -> Violation:
    """Return the only violation about the money of `case`."""
    violations = money.check(case, PATIENCE, NOW)
    assert len(violations) == 1, violations
    return violations[0]


def closed(status: str = "CANCELED", **changes: object) -> Case:
    """Return a closed order whose payment `pay_1` was captured."""
    return paid(
        **{
            "order": order(status, refunds_due=("pay_1",)),
            "reservation": reservation("RELEASED"),
            "mails": mails_about(order(status)),
            **changes,
        }
    )


def test_a_paid_order_with_its_capture_is_no_violation() -> None:
    assert wrong(paid()) == []


def test_an_order_paid_in_cash_needs_no_ledger() -> None:
    assert wrong(paid(payments=(payment(provider="cash"),), ledger=())) == []


def test_a_paid_order_may_be_refunded_in_part() -> None:
    case = paid(
        order=order(refunds=(given_back(amount=500),)),
        payments=(payment("PARTIALLY_REFUNDED", refunds=(refund(amount=500),)),),
        ledger=(charge(), refunded(amount=500)),
    )
    assert wrong(case) == []


def test_a_late_capture_that_was_refunded_is_no_violation() -> None:
    late = payment("REJECTED", "pay_2", refunds=(refund(id="rfd_2"),))
    ledger = (charge(), charge("pay_2"), refunded("pay_2", id="rfd_2"))
    told_of_it = order(refunded_payments=("pay_2",))
    assert wrong(paid(order=told_of_it, payments=(payment(), late), ledger=ledger)) == []


def test_a_late_capture_may_wait_for_its_refund() -> None:
    late = payment("REJECTED", "pay_2", refunds=(refund("PENDING"),))
    assert wrong(paid(payments=(payment(), late), ledger=(charge(), charge("pay_2")))) == []


def test_a_refund_in_the_ledger_is_not_counted_twice_while_payments_has_it_pending() -> None:
    late = payment("REJECTED", "pay_2", refunds=(refund("PENDING"),))
    ledger = (charge(), charge("pay_2"), refunded("pay_2"))
    assert wrong(paid(payments=(payment(), late), ledger=ledger)) == []


def test_a_canceled_order_with_its_money_refunded_is_no_violation() -> None:
    back = payment("REFUNDED", refunds=(refund(),))
    told_of_it = order("CANCELED", refunds_due=("pay_1",), refunded_payments=("pay_1",))
    case = closed(order=told_of_it, payments=(back,), ledger=(charge(), refunded()))
    assert wrong(case) == []


@pytest.mark.parametrize("status", ["AWAITING_PAYMENT", "REJECTED", "CANCELED"])
def test_money_kept_for_an_order_that_is_not_paid_is_found(status: str) -> None:
    assert (3, ("ord_1", "pay_1")) in told(money.check(closed(status), PATIENCE, NOW))


def test_cash_kept_for_an_order_that_is_not_paid_is_found() -> None:
    violation = the_only(closed(payments=(payment(provider="cash"),), ledger=()))
    assert violation.promise == 3
    assert "is CANCELED, but the money of payment pay_1 is kept" in violation.sentence


def test_a_paid_order_whose_money_was_refunded_is_found() -> None:
    back = payment("REFUNDED", refunds=(refund(),))
    violation = the_only(paid(payments=(back,), ledger=(charge(), refunded())))
    assert told([violation]) == [(3, ("ord_1", "pay_1"))]
    assert "no money is kept" in violation.sentence


def test_a_paid_order_without_any_payment_is_found() -> None:
    assert told([the_only(paid(payments=(), ledger=()))]) == [(3, ("ord_1", "pay_1"))]


def test_an_order_that_names_the_wrong_payment_is_found() -> None:
    violation = the_only(paid(order=order(paid_by="pay_9")))
    assert "PAID by pay_9" in violation.sentence


def test_two_captures_kept_are_found() -> None:
    case = paid(payments=(payment(), LATE), ledger=(charge(), charge("pay_2")))
    assert (4, ("ord_1", "pay_1", "pay_2")) in told(wrong(case))


def test_two_live_payments_are_found() -> None:
    waiting = payment("AWAITING_PAYMENT", "pay_2")
    assert told([the_only(paid(payments=(payment(), waiting)))]) == [
        (4, ("ord_1", "pay_1", "pay_2"))
    ]


def test_a_payment_whose_liveness_contradicts_its_status_is_found() -> None:
    violation = the_only(paid(payments=(payment(live=False),)))
    assert told([violation]) == [(4, ("ord_1", "pay_1"))]


def test_a_payment_charged_twice_is_found() -> None:
    promises = {each.promise for each in wrong(paid(ledger=(charge(), charge(id=2))))}
    assert 4 in promises


def test_a_paid_payment_that_the_ledger_does_not_know_is_found() -> None:
    sentences = [each.sentence for each in wrong(paid(ledger=()))]
    assert "payment pay_1 is PAID, but the ledger has no charge for it" in sentences


def test_a_charge_that_payments_still_awaits_is_found() -> None:
    case = closed("AWAITING_PAYMENT", payments=(payment("AWAITING_PAYMENT"),))
    assert any("was captured, but is AWAITING_PAYMENT" in each.sentence for each in wrong(case))


def test_a_charge_that_payments_has_rejected_is_found() -> None:
    violation = the_only(paid(payments=(payment("REJECTED"),)))
    assert "was captured, but is REJECTED" in violation.sentence


def test_a_charge_of_another_amount_is_found() -> None:
    violation = the_only(paid(ledger=(charge(amount=1998),)))
    assert "is for 1999 USD, but 1998 USD was charged" in violation.sentence


def test_a_charge_in_another_currency_is_found() -> None:
    violation = the_only(paid(ledger=(charge(currency="EUR"),)))
    assert "is for 1999 USD, but 1999 EUR was charged" in violation.sentence


def test_a_charge_of_another_amount_that_is_refunded_is_no_violation() -> None:
    case = closed(
        payments=(
            payment("REJECTED", captured=Money(1, "USD"), refunds=(refund("PENDING", amount=1),)),
        ),
        ledger=(charge(amount=1),),
    )
    assert wrong(case) == []


def test_a_card_charge_for_a_cash_payment_is_found_unless_it_is_refunded() -> None:
    violation = the_only(paid(payments=(payment(provider="cash"),), ledger=(charge(amount=1),)))
    assert "is by cash, but simulator charged 1 for it and keeps the money" in violation.sentence

    given_back = refund(amount=1, provider="simulator")
    well = paid(
        payments=(payment(provider="cash", refunds=(given_back,)),),
        ledger=(charge(amount=1), refunded(amount=1)),
    )
    assert wrong(well) == []


def test_another_providers_refund_that_is_not_in_its_ledger_is_found() -> None:
    claimed = refund(amount=1, provider="simulator")
    case = paid(payments=(payment(provider="cash", refunds=(claimed,)),), ledger=())
    assert any("but the ledger does not" in each.sentence for each in wrong(case))


def test_a_verdict_missing_for_a_day_is_found() -> None:
    def undecided(at: datetime, **changes: Any) -> Case:
        given = payment("AWAITING_PAYMENT", updated_at=at, **changes)
        return closed(order=order("CANCELED"), payments=(given,), ledger=())

    assert wrong(undecided(NOW - timedelta(hours=23))) == []
    violation = the_only(undecided(TEN_DAYS_AGO))
    assert told([violation]) == [(3, ("ord_1", "pay_1"))]
    assert "has been waiting for its verdict since 2026-11-12 12:00:00" in violation.sentence


def test_a_refund_not_made_within_a_day_is_found_with_its_providers_error() -> None:
    def due(at: datetime, **changes: Any) -> Case:
        refunds = (refund("PENDING"),)
        return closed(payments=(payment(updated_at=at, refunds=refunds, **changes),))

    assert wrong(due(NOW - timedelta(hours=23))) == []
    refused = Retry(since=TEN_DAYS_AGO, failures=2881, error="UnexpectedAnswer: 400")
    waiting, kept = money.check(due(TEN_DAYS_AGO, retry=refused), PATIENCE, NOW)
    assert "rfd_1 since 2026-11-12 12:00:00" in waiting.sentence
    assert "after 2881 failures: 'UnexpectedAnswer: 400'" in waiting.sentence
    assert "is CANCELED, but the money of payment pay_1 is kept" in kept.sentence


def test_a_pending_refund_excuses_nothing_else_about_its_order() -> None:
    late = payment("REJECTED", "pay_2", refunds=(refund("PENDING"),))
    case = paid(
        reservation=reservation("HELD"),
        payments=(payment(), late),
        ledger=(charge(), charge("pay_2")),
    )
    assert told(wrong(case)) == [(5, ("ord_1",))]
    assert not in_flight(case, PATIENCE, NOW)


def test_a_refund_that_is_made_but_not_recorded_yet_is_no_violation() -> None:
    case = closed(payments=(payment(refunds=(refund("PENDING"),)),), ledger=(charge(), refunded()))
    assert wrong(case) == []


def test_cash_still_pending_for_a_closed_order_is_found() -> None:
    awaited = payment("AWAITING_PAYMENT", provider="cash")
    violation = the_only(closed(order=order("CANCELED"), payments=(awaited,), ledger=()))
    assert told([violation]) == [(3, ("ord_1", "pay_1"))]
    assert violation.awaits == ("orders", "payments")


def test_a_payment_of_another_amount_than_its_order_is_found() -> None:
    case = paid(order=order(total=Money(2000, "USD")))
    assert "its order for 2000 USD" in the_only(case).sentence


def test_a_refund_that_the_provider_never_made_is_found() -> None:
    back = payment(refunds=(refund(amount=500),))
    assert "rfd_1, but the ledger does not" in the_only(paid(payments=(back,))).sentence


def test_a_refund_that_payments_does_not_know_is_found() -> None:
    violation = the_only(paid(ledger=(charge(), refunded(amount=500))))
    assert "lacks refund rfd_1" in violation.sentence


def test_refunding_more_than_was_captured_is_found() -> None:
    refunds = (refund(amount=1500), refund("PENDING", amount=1500, id="rfd_2"))
    case = paid(payments=(payment(refunds=refunds),), ledger=(charge(), refunded(amount=1500)))
    assert any("refunds 1001 more" in each.sentence for each in wrong(case))


def test_a_refunded_payment_that_is_partly_kept_is_found() -> None:
    part = payment("REFUNDED", refunds=(refund(amount=500),))
    case = paid(payments=(part,), ledger=(charge(), refunded(amount=500)))
    assert any("1499 of it is kept" in each.sentence for each in wrong(case))


def test_a_payment_still_paid_after_a_full_refund_is_found() -> None:
    back = payment(refunds=(refund(),))
    case = paid(payments=(back,), ledger=(charge(), refunded()))
    assert any("all of it was refunded" in each.sentence for each in wrong(case))


def test_money_kept_for_an_order_that_does_not_exist_is_found() -> None:
    case = Case(order_id="ord_1", payments=(payment(),), ledger=(charge(),))
    assert (3, ("ord_1", "pay_1")) in told(wrong(case))


def after_shipping(*backs: Any, **changes: object) -> Case:
    """Return a shipped order of which all was given back in `backs`."""
    ended = order("REFUNDED", refunds=backs, refunded_payments=("pay_1",))
    return paid(**{"order": ended, "mails": mails_about(ended), **changes})


def test_a_shipped_order_of_which_all_was_given_back_is_no_violation() -> None:
    back = payment("REFUNDED", refunds=(refund(),))
    case = after_shipping(given_back(), payments=(back,), ledger=(charge(), refunded()))
    assert wrong(case) == []


def test_a_refunded_order_that_keeps_money_is_found() -> None:
    back = payment("PARTIALLY_REFUNDED", refunds=(refund(amount=1000),))
    part = (charge(), refunded(amount=1000))
    case = after_shipping(given_back(amount=1000), payments=(back,), ledger=part)
    assert "is REFUNDED, but the money of payment pay_1 is kept" in the_only(case).sentence


def test_a_paid_order_may_owe_all_of_its_money() -> None:
    """A return was received, and its refund is not made yet."""
    owed = payment(refunds=(refund("PENDING"),))
    assert wrong(paid(payments=(owed,))) == []


def test_a_refund_that_failed_is_not_in_the_ledger() -> None:
    failed = payment(refunds=(refund("FAILED"),))
    counted = order(refunds=(given_back("FAILED"),))
    for ledger in ((charge(), came_back()), (charge(), refunded(), came_back())):
        assert wrong(paid(order=counted, payments=(failed,), ledger=ledger)) == []
    made = paid(order=counted, payments=(failed,), ledger=(charge(), refunded()))
    assert any("as FAILED, but the ledger has it" in each.sentence for each in wrong(made))


def test_a_failed_refund_that_payments_has_as_made_is_found() -> None:
    back = payment("REFUNDED", refunds=(refund(),))
    ledger = (charge(), refunded(), came_back())
    case = after_shipping(given_back(), payments=(back,), ledger=ledger)
    assert "payment pay_1 has refund rfd_1, but the ledger does not" in {
        each.sentence for each in wrong(case)
    }


def test_refunds_of_more_than_was_captured_are_found() -> None:
    twice = payment("REFUNDED", refunds=(refund(), refund(amount=1, id="rfd_b")))
    case = closed(payments=(twice,), ledger=(charge(), refunded(), refunded(amount=1, id="rfd_b")))
    assert any("refunds 1 more than was captured" in each.sentence for each in wrong(case))


def test_money_that_a_canceled_order_cannot_give_back_needs_a_person() -> None:
    at = NOW - timedelta(days=3)
    failed = payment(live=False, refunds=(refund("FAILED", at=at),))
    ledger = (charge(), refunded(), came_back())
    case = closed(payments=(failed,), ledger=ledger)

    assert money.check(case, PATIENCE, NOW) == []
    assert money.needing_a_person(case, PATIENCE, NOW) == ["pay_1 for 3 d"]


def test_a_late_captures_failed_refund_needs_a_person() -> None:
    failed = refund("FAILED", id="rfd_2", at=NOW - timedelta(hours=5))
    late = payment("REJECTED", "pay_2", captured=Money(1999, "USD"), refunds=(failed,))
    case = paid(payments=(payment(), late), ledger=(charge(), charge("pay_2")))

    assert money.check(case, PATIENCE, NOW) == []
    assert money.needing_a_person(case, PATIENCE, NOW) == ["pay_2 for 5 h"]


def test_a_failed_refund_explains_no_more_than_its_amount() -> None:
    failed = payment(refunds=(refund("FAILED", amount=500),))
    case = closed(payments=(failed,))
    assert "the money of payment pay_1 is kept" in the_only(case).sentence


def test_a_failed_refund_of_a_paid_order_needs_nobody() -> None:
    failed = payment(refunds=(refund("FAILED", at=TEN_DAYS_AGO),))
    assert money.needing_a_person(paid(payments=(failed,)), PATIENCE, NOW) == []


def test_money_paid_back_by_other_means_is_in_no_ledger() -> None:
    backs = (refund("FAILED"), refund(id="rfd_b", by_other_means=True))
    case = closed(payments=(payment("REFUNDED", refunds=backs),), ledger=(charge(), came_back()))

    assert money.check(case, PATIENCE, NOW) == []
    assert money.needing_a_person(case, PATIENCE, NOW) == []


def test_a_refund_pending_for_ten_days_excuses_nothing_although_another_is_young() -> None:
    """The payment has just changed, but that refund is old."""
    old = refund("PENDING", amount=1000, at=TEN_DAYS_AGO)
    young = refund("PENDING", amount=999, id="rfd_b", at=NOW)
    case = closed(payments=(payment(updated_at=NOW, refunds=(old, young)),))

    sentences = [each.sentence for each in money.check(case, PATIENCE, NOW)]
    assert any("waiting for refund rfd_1 since 2026-11-12" in each for each in sentences)
    assert any("is CANCELED, but the money of payment pay_1 is kept" in each for each in sentences)
    assert len(sentences) == 2


def test_a_dispute_holds_up_what_a_canceled_order_owes() -> None:
    open_ = payment(disputes=(dispute(),))
    case = closed(payments=(open_,), ledger=(charge(), disputed()))

    assert money.check(case, PATIENCE, NOW) == []
    assert money.needing_a_person(case, PATIENCE, NOW) == ["pay_1 for 1 h"]


def test_refunds_and_a_lost_dispute_may_come_to_more_than_the_capture() -> None:
    both = payment("REFUNDED", refunds=(refund(),), disputes=(dispute("LOST"),))
    ledger = (charge(), refunded(), disputed(), disputed("dispute_lost"))
    case = closed(payments=(both,), ledger=ledger)

    assert money.check(case, PATIENCE, NOW) == []
    assert money.needing_a_person(case, PATIENCE, NOW) == ["pay_1 for 1 h"]


def test_a_paid_order_whose_money_a_dispute_took_is_found() -> None:
    gone = payment(disputes=(dispute("LOST"),))
    case = paid(payments=(gone,), ledger=(charge(), disputed(), disputed("dispute_lost")))
    assert "is PAID, but no money is kept" in the_only(case).sentence


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ((), (disputed(),)),
        ((dispute(),), (disputed(), disputed("dispute_won"))),
        ((dispute("WON"),), (disputed(),)),
        ((dispute(amount=1),), (disputed(),)),
    ],
    ids=["unknown", "undecided", "decided", "amount"],
)
def test_a_dispute_that_the_ledger_has_otherwise_is_found(here: Any, there: Any) -> None:
    case = paid(payments=(payment(disputes=here),), ledger=(charge(), *there))
    assert "has dispute dp_1 as" in the_only(case).sentence


def test_a_payment_that_is_paid_again_is_not_live() -> None:
    """It was REFUNDED, and its refund failed late."""
    failed = payment(live=False, refunds=(refund("FAILED"),))
    assert money.check(paid(payments=(failed,)), PATIENCE, NOW) == []
