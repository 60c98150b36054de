"""The violations of the promises about stock, events and mail (2, 5, 6 and 7)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from cartwheel.operations.verify import effects, stock
from cartwheel.operations.verify.case import Case, in_flight, stuck
from cartwheel.operations.verify.records import Line, Payment, Product, Resend, Stock
from cartwheel.operations.verify.stock import AddedUp
from cartwheel.payments import domain

from .papers import (
    LONG_AGO,
    NOW,
    PATIENCE,
    TEN_DAYS_AGO,
    charge,
    mail,
    order,
    paid,
    payment,
    refund,
    refunded,
    reservation,
    told,
    unpublished,
    wrong,
)


def product(available: int, reserved: int = 0, sold: int = 0, unshipped: int = 0) -> Product:
    counted = Stock(available=available, reserved=reserved, sold=sold, unshipped=unshipped)
    return Product(id="prd_1", initial_stock=10, stock=counted)


def added_up(held: int = 0, committed: int = 0, **more: Any) -> AddedUp:
    return AddedUp(product_id="prd_1", held=held, committed=committed, **more)


def test_stock_that_adds_up_is_no_violation() -> None:
    assert stock.check(product(5, 3, 2), added_up(3, 2)) == []


def test_a_piece_too_many_or_too_few_is_found() -> None:
    (violation,) = stock.check(product(6, 3, 2), added_up(3, 2))
    assert told([violation]) == [(2, ("prd_1",))]
    assert "was adjusted by 0, but now has 11" in violation.sentence


def test_oversold_stock_is_found() -> None:
    (violation,) = stock.check(product(-1, 6, 5), added_up(6, 5))
    assert violation.sentence == "product prd_1 has -1 pieces available"


def test_stock_that_differs_from_its_reservations_is_found() -> None:
    sentences = [each.sentence for each in stock.check(product(5, 3, 2), added_up(2, 3))]
    assert sentences == [
        "product prd_1 has 3 pieces reserved, but its reservations 2",
        "product prd_1 has 2 pieces sold, but its reservations 3",
    ]


def test_adjusted_stock_adds_up_with_its_adjustments() -> None:
    assert stock.check(product(9, 3, 2), added_up(3, 2, adjusted=4)) == []

    (violation,) = stock.check(product(9, 3, 2), added_up(3, 2, adjusted=5))
    assert "was adjusted by 5, but now has 14" in violation.sentence


def test_unshipped_pieces_that_no_sold_order_has_are_found() -> None:
    assert stock.check(product(5, 3, 2, 1), added_up(3, 2, unshipped=1, marked_unshipped=1)) == []

    (violation,) = stock.check(product(5, 3, 2, 2), added_up(3, 2, unshipped=1, marked_unshipped=1))
    assert violation.sentence == "product prd_1 has 2 pieces unshipped, but its reservations 1"


def test_pieces_that_the_version_before_has_returned_may_still_count_as_unshipped() -> None:
    assert stock.check(product(8, 0, 2, 5), added_up(0, 2, unshipped=2, marked_unshipped=5)) == []


def test_an_adjustment_that_contradicts_itself_or_was_not_told_of_is_found() -> None:
    wrong = added_up(3, 2, inconsistent=("adj_1",), untold=("adj_2",))

    assert told(stock.check(product(5, 3, 2), wrong)) == [
        (2, ("prd_1", "adj_1")),
        (5, ("prd_1", "adj_2")),
    ]


def test_stock_reserved_of_a_product_that_does_not_exist_is_found() -> None:
    assert told(stock.check(None, added_up(1))) == [(2, ("prd_1",))]


@pytest.mark.parametrize(
    ("status", "reserved"),
    [
        ("PAID", "HELD"),
        ("PAID", "RELEASED"),
        ("REJECTED", "HELD"),
        ("REJECTED", "COMMITTED"),
        ("REJECTED", "RETURNED"),  # it was never paid, so its stock was never sold
        ("CANCELED", "COMMITTED"),
        ("AWAITING_PAYMENT", "COMMITTED"),
    ],
)
def test_a_reservation_that_contradicts_its_order_is_found(status: str, reserved: str) -> None:
    case = paid(order=order(status), reservation=reservation(reserved, order_sequence=0))
    assert (5, ("ord_1",)) in told(effects.check(case, PATIENCE, NOW))


def test_an_order_without_a_reservation_is_found() -> None:
    assert told(wrong(paid(reservation=None))) == [(5, ("ord_1",))]


def test_a_reservation_of_other_items_than_ordered_is_found() -> None:
    other = (Line(product_id="prd_1", quantity=3),)
    assert told(wrong(paid(reservation=reservation(lines=other)))) == [(5, ("ord_1",))]


def test_a_reservation_that_is_ahead_of_its_order_is_found() -> None:
    assert told(wrong(paid(reservation=reservation(order_sequence=3)))) == [(5, ("ord_1",))]


def awaiting(expires_at: datetime | None, *payments: Payment, **changes: Any) -> Case:
    changes = {"expires_at": expires_at, "failed_payments": ("pay_1",), **changes}
    return Case(
        order_id="ord_1",
        order=order("AWAITING_PAYMENT", **changes),
        reservation=reservation("HELD", order_sequence=0),
        payments=payments,
    )


AWAITED_CASH = payment("AWAITING_PAYMENT", "pay_2", provider="cash")


def test_an_order_that_is_not_canceled_after_its_deadline_is_found() -> None:
    assert told(wrong(awaiting(LONG_AGO))) == [(5, ("ord_1",))]
    assert wrong(awaiting(NOW - timedelta(seconds=80))) == []
    assert wrong(awaiting(None, AWAITED_CASH)) == []


def test_an_order_that_waits_forever_for_no_payment_is_found() -> None:
    assert told(wrong(awaiting(None))) == [(5, ("ord_1",))]
    assert told(wrong(awaiting(None, payment("REJECTED", provider="cash")))) == [(5, ("ord_1",))]
    assert told(wrong(awaiting(None, payment("AWAITING_PAYMENT")))) == [(5, ("ord_1",))]


def test_pending_cash_that_its_order_does_not_know_is_found() -> None:
    soon = NOW + timedelta(minutes=5)
    assert told(wrong(awaiting(soon, AWAITED_CASH))) == [(5, ("ord_1", "pay_2"))]
    assert wrong(awaiting(soon, AWAITED_CASH, begun_payments=("pay_2",))) == []
    assert wrong(awaiting(soon, payment("AWAITING_PAYMENT"))) == []


def test_a_canceled_payment_that_its_order_waits_for_is_found() -> None:
    soon, in_days = NOW + timedelta(minutes=5), NOW + timedelta(days=5)
    canceled = payment("CANCELED", "pay_2", provider="cash")
    begun = {"begun_payments": ("pay_2",), "cash_until": in_days}
    known = {**begun, "canceled_payments": ("pay_2",)}
    assert told(wrong(awaiting(soon, canceled, **begun))) == [(5, ("ord_1", "pay_2"))]
    assert told(wrong(awaiting(in_days, canceled, **known))) == [(5, ("ord_1",))]
    assert wrong(awaiting(soon, canceled, **known)) == []
    assert wrong(awaiting(in_days, AWAITED_CASH, **begun)) == []


def test_money_that_is_kept_for_a_canceled_payment_is_found() -> None:
    kept = paid(payments=(payment("CANCELED", live=False),))
    assert (3, ("ord_1", "pay_1")) in told(wrong(kept))


def test_stock_reserved_for_no_order_is_found_after_the_sweep_should_have_released_it() -> None:
    held = Case(order_id="ord_1", reservation=reservation("HELD", held_at=LONG_AGO))
    assert told(wrong(held)) == [(5, ("ord_1",))]
    fresh = NOW - timedelta(minutes=11)
    assert wrong(Case(order_id="ord_1", reservation=reservation("HELD", held_at=fresh))) == []


def test_stock_sold_to_no_order_is_found() -> None:
    assert told(wrong(Case(order_id="ord_1", reservation=reservation()))) == [(5, ("ord_1",))]


def test_an_event_missing_from_the_timeline_is_found() -> None:
    assert told(wrong(paid(order=order(sequence=3)))) == [(5, ("ord_1",))]


def test_timeline_entries_that_are_not_events_do_not_count() -> None:
    events = ("order.placed.v1", "address changed", "order.paid.v1")
    assert wrong(paid(order=order("PAID", *events, sequence=2))) == []


def test_an_outbox_with_a_gap_is_found() -> None:
    lacking = order("PAID", "order.placed.v1", "order.paid.v1", outbox=(unpublished(1),))
    assert told(wrong(paid(order=lacking))) == [(5, ("ord_1", "evt_1"))]
    assert wrong(paid(order=order(outbox=(unpublished(2),)))) == []


def test_a_reservation_may_have_events_of_its_own() -> None:
    short = reservation(sequence=1, outbox=(unpublished(1),))
    assert wrong(paid(reservation=short)) == []
    gap = reservation(sequence=2, outbox=(unpublished(1),))
    assert told(wrong(paid(reservation=gap))) == [(5, ("ord_1", "evt_1"))]


def test_an_event_unpublished_for_long_is_found() -> None:
    outbox = [unpublished(1), unpublished(2, NOW - timedelta(seconds=59))]
    (violation,) = effects.unpublished(outbox, "ord_1", PATIENCE, NOW)
    assert told([violation]) == [(5, ("ord_1", "evt_1"))]


def test_a_decline_counted_twice_is_found() -> None:
    declined = payment("REJECTED", "pay_2", attempt=1)
    case = paid(order=order(declined_payments=("pay_2", "pay_2")), payments=(payment(), declined))
    assert told(wrong(case)) == [(5, ("ord_1", "pay_2"))]


def test_a_decline_that_never_happened_is_found() -> None:
    case = paid(order=order(declined_payments=("pay_1",)))
    assert told(wrong(case)) == [(5, ("ord_1", "pay_1"))]


def unheard(rejected: Payment) -> Case:
    """Return an order that does not know of a payment."""
    return Case(
        order_id="ord_1",
        order=order("AWAITING_PAYMENT"),
        reservation=reservation("HELD", order_sequence=0),
        payments=(rejected,),
    )


def test_a_decline_that_its_order_does_not_know_is_found() -> None:
    declined = payment("REJECTED", attempt=1)
    assert told(wrong(unheard(declined))) == [(5, ("ord_1", "pay_1"))]


def test_an_order_need_not_know_of_a_refused_token() -> None:
    failed = payment("REJECTED", failure=domain.PROCESSING_ERROR)
    refused = payment("REJECTED", failure=domain.TOKEN_REFUSED)
    assert told(wrong(unheard(failed))) == [(5, ("ord_1", "pay_1"))]
    assert told(wrong(unheard(refused))) == []


@pytest.mark.parametrize(
    "known",
    [
        {"refunds_due": ("pay_1",)},
        {"refunds_due": ("pay_1",), "refunded_payments": ("pay_1", "pay_1")},
        {"refunded_payments": ("pay_1",)},
    ],
    ids=["not of the refund", "of the refund twice", "not of the capture"],
)
def test_a_refund_that_its_order_does_not_know_exactly_once_is_found(known: dict[str, Any]) -> None:
    case = paid(
        order=order("CANCELED", **known),
        reservation=reservation("RETURNED"),
        payments=(payment("REFUNDED", refunds=(refund(),)),),
        ledger=(charge(), refunded()),
        mails=(mail("order.canceled.v1"),),
    )
    assert told(wrong(case)) == [(5, ("ord_1", "pay_1"))]


def test_a_refund_that_only_the_order_knows_is_found() -> None:
    assert told(wrong(paid(order=order(refunded_payments=("pay_1",))))) == [(5, ("ord_1", "pay_1"))]


def test_payments_for_an_order_that_does_not_exist_are_found() -> None:
    case = Case(order_id="ord_1", payments=(payment("REJECTED"),))
    assert told(wrong(case)) == [(5, ("ord_1", "pay_1"))]


def test_an_event_without_its_mail_is_found() -> None:
    assert told(wrong(paid(mails=()))) == [(6, ("ord_1",))]


def test_a_mail_that_is_still_being_sent_is_found() -> None:
    assert told(wrong(paid(mails=(mail(status="SENDING"),)))) == [(6, ("ord_1", "evt_1"))]


def test_a_mail_being_sent_is_no_violation_for_a_day_and_excuses_nothing_else() -> None:
    soon = NOW + timedelta(seconds=20)
    sending = mail(status="SENDING", claimed_until=soon, created_at=NOW - timedelta(hours=2))
    assert wrong(paid(mails=(sending,))) == []
    assert not in_flight(paid(mails=(sending,)), PATIENCE, NOW)

    for_ten_days = mail(status="SENDING", claimed_until=soon, created_at=TEN_DAYS_AGO)
    assert told(wrong(paid(mails=(for_ten_days,)))) == [(6, ("ord_1", "evt_1"))]


def test_a_second_mail_about_one_event_is_found() -> None:
    case = paid(mails=(mail(), mail(id="evt_2")))
    assert told(wrong(case)) == [(7, ("ord_1", "evt_1", "evt_2"))]


def test_a_mail_about_something_that_did_not_happen_is_found() -> None:
    case = paid(mails=(mail(), mail("order.rejected.v1", "evt_2")))
    assert told(wrong(case)) == [(7, ("ord_1", "evt_2"))]


def test_a_mail_that_was_refused_is_found_until_it_was_sent_again() -> None:
    (violation,) = wrong(paid(mails=(mail(status="FAILED", failure="MessageRejected"),)))
    assert told([violation]) == [(7, ("ord_1", "evt_1"))]
    assert violation.sentence == "mail evt_1 was not sent: 'MessageRejected'"

    resends = (Resend(by="alice@laptop", at=LONG_AGO),)
    (violation,) = wrong(paid(mails=(mail(status="FAILED", sends=2, resends=resends),)))
    assert "nor when alice@laptop had it sent again" in violation.sentence
    again = mail(sends=2, resends=resends, sequence=2, outbox=(unpublished(2),))
    assert wrong(paid(mails=(again,))) == []


def test_a_mail_that_may_have_been_sent_twice_is_no_violation() -> None:
    assert wrong(paid(mails=(mail(sends=2),))) == []


def test_an_old_order_with_no_events_left_to_publish_is_not_in_flight() -> None:
    assert not in_flight(paid(), PATIENCE, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"order": order(updated_at=NOW - timedelta(seconds=59))},
        {"payments": (payment(updated_at=NOW),)},
        {"ledger": (charge(at=NOW),)},
        {"mails": (mail(created_at=NOW),)},
        {"mails": (mail(sent_at=NOW),)},
        {"reservation": reservation(held_at=NOW)},
        {"order": order(outbox=(unpublished(2),))},
        {"reservation": reservation(outbox=(unpublished(1),))},
        {"payments": (payment(outbox=(unpublished(1),)),)},
        {"mails": (mail(outbox=(unpublished(1),)),)},
        {"mails": (mail(resends=(Resend(by="alice@laptop", at=NOW),)),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_recent_and_unpublished_changes_are_in_flight(
    changes: dict[str, object],
) -> None:
    assert in_flight(paid(**changes), PATIENCE, NOW)


def test_an_event_unpublished_for_a_day_is_no_longer_in_flight() -> None:
    held_up = order(updated_at=TEN_DAYS_AGO, outbox=(unpublished(2, TEN_DAYS_AGO),))
    assert not in_flight(paid(order=held_up), PATIENCE, NOW)


def test_a_time_in_the_future_excuses_nothing() -> None:
    ahead = order(updated_at=NOW + timedelta(days=10))
    assert not in_flight(paid(order=ahead), PATIENCE, NOW)
    assert stuck(Case(order_id="ord_1", order=ahead), PATIENCE, NOW)


def test_a_case_is_stuck_when_nothing_was_written_about_it_for_a_day() -> None:
    assert stuck(Case(order_id="ord_1", order=order(updated_at=TEN_DAYS_AGO)), PATIENCE, NOW)
    assert not stuck(Case(order_id="ord_1", order=order(updated_at=LONG_AGO)), PATIENCE, NOW)
