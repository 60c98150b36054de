"""The rules of refunds and disputes, without a database."""

import pytest

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    MOST_REFUNDS,
    CardToken,
    DisputeStatus,
    PaymentDisputed,
    PaymentNotCaptured,
    PaymentStatus,
    RefundExceedsCapture,
    RefundInvalid,
    RefundStatus,
    TooManyRefunds,
)
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.providers.port import REFUNDED, Captured, Declined, Outcome, RefundOutcome

from .examples import CASH, CHANGE, CLOSED, TOTAL, disputed, failed_refund, payment, refunding

SORRY = Outcome(Declined(code="card_declined", message="Declined."))
CAPTURED = Outcome(Captured(TOTAL))
FAILED = RefundOutcome(RefundStatus.FAILED, CLOSED)
OPEN, WON, LOST = DisputeStatus


def dollars(amount: int) -> Money:
    return Money(amount, "USD")


def paid() -> Payment:
    return domain.settle(payment(CardToken(token="pm_1")), CAPTURED, CHANGE)


def asked(payment: Payment, amount: int | None = None, **more: object) -> Payment:
    request = refunding(amount=None if amount is None else dollars(amount), **more)  # type: ignore[arg-type]
    return domain.refund_as_asked(payment, request, None, CHANGE)


def ended(payment: Payment, outcome: RefundOutcome = REFUNDED, refund: int = -1) -> Payment:
    return domain.refund_ended(payment, payment.refunds[refund].id, outcome, CHANGE)


def told(payment: Payment, status: DisputeStatus = OPEN, amount: int = 1000) -> Payment:
    return domain.dispute_reported(payment, disputed("pay_1", status, dollars(amount)), CHANGE)


def events(payment: Payment) -> list[str]:
    return [event.type for event in payment.events]


def test_a_part_is_refunded_and_the_rest_stays() -> None:
    done = ended(asked(paid(), 1000))

    assert (done.status, done.live, done.attempt) == (PaymentStatus.PARTIALLY_REFUNDED, True, 1)
    assert domain.left(done) == dollars(TOTAL.amount - 1000)


def test_all_that_is_left_is_refunded_if_nothing_is_said() -> None:
    done = ended(asked(ended(asked(paid(), 1000))))

    assert [refund.amount.amount for refund in done.refunds] == [1000, TOTAL.amount - 1000]
    assert (done.status, done.live, done.attempt) == (PaymentStatus.REFUNDED, False, None)
    assert domain.left(done) == dollars(0)


def test_a_hundred_refunds_of_one_percent_sum_to_the_cent() -> None:
    """The last one is of all that is left: 4248 cents are no hundred equal parts."""
    payment = paid()
    for _ in range(99):
        payment = ended(asked(payment, TOTAL.amount // 100))
    payment = ended(asked(payment))

    assert sum(refund.amount.amount for refund in payment.refunds) == TOTAL.amount
    assert len(payment.refunds) == MOST_REFUNDS
    assert payment.status is PaymentStatus.REFUNDED


def test_a_pending_refund_counts_so_two_of_sixty_percent_never_fit() -> None:
    with pytest.raises(RefundExceedsCapture) as refused:
        asked(asked(paid(), 2600), 2600)

    assert refused.value.members == {"left": {"amount": TOTAL.amount - 2600, "currency": "USD"}}


@pytest.mark.parametrize("amount", [0, TOTAL.amount + 1])
def test_no_refund_is_of_nothing_or_of_more_than_was_captured(amount: int) -> None:
    with pytest.raises(RefundExceedsCapture):
        asked(paid(), amount)


def test_nothing_is_left_of_what_is_refunded() -> None:
    with pytest.raises(RefundExceedsCapture):
        asked(asked(paid()))


def test_a_refund_has_the_payments_currency() -> None:
    with pytest.raises(RefundInvalid):
        domain.refund_as_asked(paid(), refunding(amount=Money(1, "EUR")), None, CHANGE)


def test_the_same_request_refunds_once_and_another_body_is_refused() -> None:
    once = asked(paid(), 1000, request_id="r")

    assert asked(once, 1000, request_id="r") is once
    with pytest.raises(IdempotencyKeyReused):
        asked(once, 1000, request_id="r", body_hash="another")


@pytest.mark.parametrize("outcome", [None, SORRY])
def test_only_captured_money_is_refunded(outcome: Outcome | None) -> None:
    unpaid = payment(CardToken(token="pm_1"))
    if outcome:
        unpaid = domain.settle(unpaid, outcome, CHANGE)

    with pytest.raises(PaymentNotCaptured):
        asked(unpaid)


def test_an_admin_makes_a_hundred_refunds_at_most_and_an_order_what_it_owes() -> None:
    payment = paid()
    for _ in range(MOST_REFUNDS):
        payment = asked(payment, 1)

    with pytest.raises(TooManyRefunds):
        asked(payment, 1)
    owed = domain.refund_owed(payment, None, TOTAL, "Canceled.", CHANGE)
    assert owed.refunds[-1].amount == dollars(TOTAL.amount - MOST_REFUNDS)


def test_cash_is_refunded_in_part_too() -> None:
    cash = domain.settle(payment(CASH), CAPTURED, CHANGE)

    assert ended(asked(cash, 1000)).status is PaymentStatus.PARTIALLY_REFUNDED


def test_a_cancel_refunds_the_rest() -> None:
    payment = domain.refund_owed(asked(paid(), 1000), None, TOTAL, "Canceled.", CHANGE)

    assert [refund.amount.amount for refund in payment.refunds] == [1000, TOTAL.amount - 1000]
    assert domain.refund_owed(payment, None, TOTAL, "Canceled.", CHANGE) is payment


def test_a_cancel_of_what_was_refunded_refunds_nothing() -> None:
    back = ended(asked(paid()))

    assert domain.refund_owed(back, None, TOTAL, "Canceled.", CHANGE) is back


def test_a_part_that_the_order_owes_is_refunded_once_and_at_most_what_is_left() -> None:
    first = domain.refund_owed(paid(), "rfd_a", dollars(4000), "Returned.", CHANGE)
    second = domain.refund_owed(first, "rfd_b", dollars(4000), "Returned.", CHANGE)

    assert domain.refund_owed(first, "rfd_a", dollars(4000), "Returned.", CHANGE) is first
    assert [refund.amount.amount for refund in second.refunds] == [4000, 248]


def test_an_order_that_is_owed_nothing_any_more_is_told() -> None:
    """It waits for an answer about that refund."""
    back = ended(asked(paid()))

    late = domain.refund_owed(back, "rfd_a", dollars(1000), "Returned.", CHANGE)

    assert late.refunds[-1].status is RefundStatus.FAILED
    assert events(late)[-1] == "payment.refund_failed.v1"
    assert late.status is PaymentStatus.REFUNDED


def test_the_amount_of_a_failed_refund_can_be_refunded_again() -> None:
    failed = ended(asked(paid()), FAILED)

    assert failed.refunds[0].failure == CLOSED
    assert domain.left(failed) == TOTAL
    assert events(failed)[-1] == "payment.refund_failed.v1"
    assert ended(asked(failed)).status is PaymentStatus.REFUNDED


def test_a_refund_that_fails_late_makes_the_payment_paid_again_and_not_live() -> None:
    """Its order may have another live payment by then."""
    back = ended(asked(paid()))

    late = ended(back, FAILED)

    assert (late.status, late.live) == (PaymentStatus.PAID, False)
    assert events(late)[-2:] == ["payment.refunded.v1", "payment.refund_failed.v1"]
    assert ended(late) is late, "it stays failed"


def test_a_canceled_refund_is_as_a_failed_one() -> None:
    given_up = ended(asked(paid()), RefundOutcome(RefundStatus.CANCELED, CLOSED))

    assert given_up.refunds[0].status is RefundStatus.CANCELED
    assert domain.left(given_up) == TOTAL


def test_money_paid_back_by_other_means_is_refunded_without_the_provider() -> None:
    failed = ended(asked(paid()), FAILED)

    closed = asked(failed, by_other_means=True)

    assert closed.refunds[-1].status is RefundStatus.SUCCEEDED
    assert closed.status is PaymentStatus.REFUNDED
    assert events(closed)[-1] == "payment.refunded.v1"


@pytest.mark.parametrize(
    "otherwise",
    [{"amount": dollars(999)}, {"amount": None}, {"provider": "cash"}, {"refund_id": "rfd_other"}],
    ids=lambda otherwise: next(iter(otherwise)),
)
def test_a_report_that_matches_no_refund_changes_nothing(otherwise: dict[str, object]) -> None:
    done = ended(asked(paid(), 1000))
    report = failed_refund("pay_1", done.refunds[0].id, dollars(1000), **otherwise)

    assert domain.refund_failed_as_told(done, report, CHANGE) is done
    assert not domain.tells_of_a_refund(done, report)


def test_a_reported_failure_counts_once() -> None:
    done = ended(asked(paid(), 1000))
    report = failed_refund("pay_1", done.refunds[0].id, dollars(1000))

    failed = domain.refund_failed_as_told(done, report, CHANGE)

    assert failed.refunds[0].status is RefundStatus.FAILED
    assert domain.refund_failed_as_told(failed, report, CHANGE) is failed


def test_nothing_is_refunded_while_a_dispute_is_open() -> None:
    open_ = told(paid())

    with pytest.raises(PaymentDisputed):
        asked(open_, 1)
    assert events(open_)[-1] == "payment.dispute_opened.v1"


@pytest.mark.parametrize(("status", "back"), [(WON, TOTAL.amount), (LOST, TOTAL.amount - 1000)])
def test_a_cancels_refund_waits_until_the_dispute_is_decided(
    status: DisputeStatus, back: int
) -> None:
    waiting = domain.refund_owed(told(paid()), None, TOTAL, "Canceled.", CHANGE)
    assert waiting.refunds == []
    assert domain.refund_owed(waiting, None, TOTAL, "Canceled.", CHANGE) is waiting

    decided = told(waiting, status)

    assert [refund.amount.amount for refund in decided.refunds] == [back]
    assert decided.owed == []
    assert events(decided)[-1] == "payment.dispute_closed.v1"


def test_a_dispute_after_a_refund_may_exceed_the_capture_and_nothing_is_left() -> None:
    both = told(ended(asked(paid(), 4000)), amount=TOTAL.amount)

    assert domain.left(both) == dollars(0)
    assert domain.left(told(both, LOST, TOTAL.amount)) == dollars(0)
    assert domain.left(told(both, WON, TOTAL.amount)) == dollars(248)


def test_a_dispute_is_told_in_any_order_and_stays_decided() -> None:
    decided = told(paid(), LOST)

    assert events(decided)[-2:] == ["payment.dispute_opened.v1", "payment.dispute_closed.v1"]
    for late in (OPEN, WON, LOST):
        assert told(decided, late) is decided


@pytest.mark.parametrize(
    "otherwise",
    [{"provider": "cash"}, {"amount": Money(1, "EUR")}, {"amount": None}],
    ids=["provider", "currency", "amount"],
)
def test_a_dispute_that_does_not_match_its_payment_changes_nothing(
    otherwise: dict[str, object],
) -> None:
    report = disputed("pay_1", **otherwise)  # type: ignore[arg-type]
    before = paid()

    assert domain.dispute_reported(before, report, CHANGE) is before
    assert not domain.tells_of(before, report)


def test_a_payment_without_money_cannot_be_disputed() -> None:
    unpaid = payment(CardToken(token="pm_1"))

    assert told(unpaid) is unpaid
