"""The rules of a payment, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.contracts.orders import PayableOrder
from cartwheel.contracts.payments import (
    CardToken,
    Failure,
    Method,
    NotConfirmable,
    PaymentCaptured,
    PaymentDeclined,
    PaymentPending,
    PaymentStatus,
)
from cartwheel.kernel.messages import Cause
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment
from cartwheel.payments.provider import Captured, Declined, Verdict, Voided

from .examples import AT, CASH, CAUSE, LATER, TOTAL, VISA, create, payment

CARD = CardToken(token="tok_1", card=VISA)
SORRY = Declined(code="card_declined", message="Your card was declined.")
BY_ADMIN = Cause(by="user-ada")


def settle(payment: Payment, *verdicts: Verdict) -> Payment:
    for verdict in verdicts:
        payment = domain.settle(payment, verdict, cause=CAUSE, at=LATER)
    return payment


def test_a_payment_is_of_all_that_the_order_costs() -> None:
    begun = domain.begin(
        create(method=CARD),
        PayableOrder(order_id="ord_1", total=TOTAL, attempts=3),
        payment_id="pay_1",
        attempt=2,
        provider="simulator",
        at=AT,
    )

    assert (begun.amount, begun.order_id, begun.attempt) == (TOTAL, "ord_1", 2)
    assert (begun.status, begun.live) == (PaymentStatus.AWAITING_PAYMENT, True)
    assert (begun.method, begun.card) == (Method.CARD, VISA)


def test_the_cards_token_is_not_kept() -> None:
    assert "tok_1" not in repr(payment(CARD))


def test_a_card_payment_tells_nobody_before_its_verdict_and_cash_does() -> None:
    told = {
        method: domain.begin(
            create(method=method),
            PayableOrder(order_id="ord_1", total=TOTAL, attempts=3),
            payment_id="pay_1",
            attempt=1,
            provider="any",
            at=AT,
        ).events
        for method in (CARD, CASH)
    }

    assert told[CARD] == ()
    assert told[CASH] == (
        PaymentPending(payment_id="pay_1", order_id="ord_1", method=Method.CASH_ON_DELIVERY),
    )


def test_a_captured_payment_is_paid() -> None:
    paid = settle(payment(CARD), Captured())

    assert (paid.status, paid.live) == (PaymentStatus.PAID, True)
    assert paid.events == (PaymentCaptured(payment_id="pay_1", order_id="ord_1", amount=TOTAL),)


def test_a_declined_payment_uses_up_its_attempt() -> None:
    rejected = settle(payment(CARD), SORRY)

    failure = Failure(code="card_declined", message="Your card was declined.")
    assert (rejected.status, rejected.live) == (PaymentStatus.REJECTED, False)
    assert (rejected.failure, rejected.attempt) == (failure, 1)
    assert rejected.events == (
        PaymentDeclined(payment_id="pay_1", order_id="ord_1", failure=failure, counts=True),
    )


def test_a_voided_payment_gives_its_attempt_back() -> None:
    rejected = settle(payment(CARD), Voided())

    assert (rejected.status, rejected.live) == (PaymentStatus.REJECTED, False)
    assert rejected.attempt is None
    [event] = rejected.events
    assert isinstance(event, PaymentDeclined)
    assert (event.failure.code, event.counts) == ("processing_error", False)


@given(st.lists(st.sampled_from([Captured(), SORRY, Voided()]), min_size=1, max_size=6))
def test_the_first_verdict_is_the_last(verdicts: list[Verdict]) -> None:
    first = settle(payment(CARD), verdicts[0])

    assert settle(first, *verdicts[1:]) is first


@pytest.mark.parametrize("verdict", [Captured(), SORRY, Voided()])
def test_the_timeline_tells_each_step_and_by_whom(verdict: Verdict) -> None:
    announced = domain.announced(payment(CARD), "pi_1", at=AT)

    settled = settle(announced, verdict)

    assert settled.provider_reference == "pi_1"
    assert [(entry.type, entry.by) for entry in settled.timeline] == [
        ("begun", "user-zoe"),
        ("announced", "simulator"),
        ("captured" if verdict == Captured() else "declined", "simulator"),
    ]


def test_an_admin_confirms_cash() -> None:
    paid = domain.confirm_cash(payment(CASH), cause=BY_ADMIN, at=LATER)

    assert paid.status is PaymentStatus.PAID
    assert paid.timeline[-1].by == "user-ada"
    assert [event.type for event in paid.events] == ["payment.captured.v1"]


def test_cash_that_is_confirmed_is_confirmed() -> None:
    paid = domain.confirm_cash(payment(CASH), cause=BY_ADMIN, at=LATER)

    assert domain.confirm_cash(paid, cause=BY_ADMIN, at=LATER) is paid


def test_cash_that_is_no_longer_awaited_cannot_be_confirmed() -> None:
    with pytest.raises(NotConfirmable):
        domain.confirm_cash(settle(payment(CASH), Voided()), cause=BY_ADMIN, at=LATER)


@pytest.mark.parametrize("verdicts", [[], [Captured()], [SORRY]], ids=["new", "paid", "declined"])
def test_only_cash_is_confirmed_by_hand(verdicts: list[Verdict]) -> None:
    with pytest.raises(NotConfirmable):
        domain.confirm_cash(settle(payment(CARD), *verdicts), cause=BY_ADMIN, at=LATER)
