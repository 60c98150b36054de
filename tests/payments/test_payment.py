"""The rules of a payment, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import InvalidTransition, PayableOrder, ShippingAddress
from cartwheel.contracts.payments import (
    CardSummary,
    CardToken,
    Failure,
    Method,
    NotConfirmable,
    PaymentCaptured,
    PaymentDeclined,
    PaymentInProgress,
    PaymentPending,
    PaymentRefunded,
    PaymentStatus,
    RefundStatus,
    read_card,
)
from cartwheel.kernel import Change
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment, Refund, settling
from cartwheel.providers.port import REFUNDED, Captured, Declined, Outcome, Verdict, Voided

from ..orders.examples import ADDRESS, BONN
from .examples import AT, CASH, CHANGE, LATER, TOTAL, VISA, create, payment

CARD = CardToken(token="pm_1")
CAPTURED = Captured(TOTAL)
OTHER_SUM = Captured(Money(1, "USD"))
SORRY = Declined(code="card_declined", message="Your card was declined.")
LATE = "It was captured after the payment was rejected."
BY_ADMIN = Change(by="user-ada", at=LATER)


def settle(payment: Payment, *verdicts: Verdict) -> Payment:
    for verdict in verdicts:
        payment = domain.settle(payment, Outcome(verdict, "pi_1"), CHANGE)
    return payment


def refund_due(payment: Payment) -> Payment:
    return domain.refund_owed(payment, None, TOTAL, "too late", CHANGE)


def refund_done(payment: Payment) -> Payment:
    return domain.refund_ended(payment, "rfd_1", REFUNDED, CHANGE)


def whole(amount: Money, reason: str) -> Refund:
    """Return the refund of all that was captured."""
    return Refund(id="rfd_1", amount=amount, reason=reason, at=LATER)


def test_a_payment_is_for_the_orders_total() -> None:
    begun = domain.begin(
        create(method=CARD),
        PayableOrder(order_id="ord_1", total=TOTAL, attempts=3, declines=1),
        payment_id="pay_1",
        provider="simulator",
        at=AT,
    )

    assert (begun.amount, begun.order_id, begun.attempt) == (TOTAL, "ord_1", 2)
    assert (begun.status, begun.live) == (PaymentStatus.AWAITING_PAYMENT, True)
    assert (begun.method, begun.card) == (Method.CARD, None)


def test_the_cards_token_is_not_stored() -> None:
    assert "pm_1" not in repr(payment(CARD))


def test_a_card_payment_emits_no_event_before_its_verdict_but_cash_does() -> None:
    told = {
        method: domain.begin(
            create(method=method),
            PayableOrder(order_id="ord_1", total=TOTAL, attempts=3),
            payment_id="pay_1",
            provider="any",
            at=AT,
        ).events
        for method in (CARD, CASH)
    }

    assert told[CARD] == ()
    assert told[CASH] == (
        PaymentPending(payment_id="pay_1", order_id="ord_1", method=Method.CASH_ON_DELIVERY),
    )


@pytest.mark.parametrize("verdict", [CAPTURED, OTHER_SUM, SORRY, Voided()])
def test_the_verdict_brings_the_card_details_to_show(verdict: Verdict) -> None:
    outcome = Outcome(verdict, "pi_1", VISA)

    settled = domain.settle(payment(CARD), outcome, CHANGE)

    assert settled.card == VISA


def test_a_late_capture_may_bring_the_card_details_too() -> None:
    voided = settle(payment(CARD), Voided())

    refunded = domain.settle(voided, Outcome(CAPTURED, "pi_1", VISA), CHANGE)

    assert (voided.card, refunded.card) == (None, VISA)
    assert settle(payment(CARD), CAPTURED).card is None


def test_a_providers_card_details_are_cut_to_what_may_be_shown() -> None:
    told = CardSummary(brand="visa\x1b[2J" * 20, last4="4242424242424242")

    settled = domain.settle(payment(CARD), Outcome(CAPTURED, None, told), CHANGE)

    assert settled.card is not None
    assert settled.card.last4 == "4242"
    assert len(settled.card.brand) <= settling.LONGEST_BRAND
    assert "\x1b" not in settled.card.brand


def test_a_refused_token_uses_no_attempt_and_emits_no_event() -> None:
    refused = domain.refuse_token(payment(CARD), CHANGE)

    assert (refused.status, refused.live) == (PaymentStatus.REJECTED, False)
    assert (refused.failure, refused.attempt) == (domain.TOKEN_REFUSED, None)
    assert refused.events == ()
    assert domain.was_token_refused(refused)
    assert domain.refuse_token(refused, CHANGE) is refused


def test_money_captured_with_a_refused_token_is_refunded() -> None:
    refused = domain.refuse_token(payment(CARD), CHANGE)

    taken = settle(refused, CAPTURED)

    assert taken.status is PaymentStatus.REJECTED
    assert [refund.amount for refund in taken.refunds] == [TOTAL]
    assert settle(refused, SORRY, Voided()) is refused


def test_a_payment_that_has_ended_is_no_longer_refused() -> None:
    paid, voided = settle(payment(CARD), CAPTURED), settle(payment(CARD), Voided())

    for ended in (paid, voided):
        assert domain.refuse_token(ended, CHANGE) is ended
        assert not domain.was_token_refused(ended)


@pytest.mark.parametrize("address", [None, ADDRESS])
def test_every_event_of_a_payment_carries_its_address(
    address: ShippingAddress | None,
) -> None:
    made = payment(CARD, address)
    begun = domain.begin(
        create(method=CASH, address=address),
        PayableOrder(order_id="ord_1", total=TOTAL, attempts=3),
        payment_id="pay_1",
        provider="cash",
        at=AT,
    )
    told = [
        *begun.events,
        *(settle(made, verdict).events[0] for verdict in (CAPTURED, SORRY, Voided(), OTHER_SUM)),
        *domain.confirm_cash(payment(CASH, address), BY_ADMIN).events,
    ]

    assert [event.type for event in told] == [
        "payment.pending.v1",
        "payment.captured.v1",
        *["payment.declined.v1"] * 3,
        "payment.captured.v1",
    ]
    assert [getattr(event, "shipping_address", "none") for event in told] == [address] * 6


def declined(*addresses: ShippingAddress | None) -> list[Payment]:
    """Return a declined payment for each of `addresses`."""
    return [settle(payment(CARD, address), SORRY) for address in addresses]


def test_declines_unknown_to_orders_count() -> None:
    request, payable = create(), PayableOrder(order_id="ord_1", total=TOTAL, attempts=3)

    _, second = domain.after_declines(declined(None), request, payable)
    _, third = domain.after_declines(declined(None, None), request, payable)

    assert (second.declines, third.declines) == (1, 2)
    with pytest.raises(InvalidTransition):
        domain.after_declines(declined(None, None, None), request, payable)


@pytest.mark.parametrize("heard_of", [0, 1, 2])
def test_if_orders_knows_all_declines_a_live_payment_is_in_the_way(heard_of: int) -> None:
    payable = PayableOrder(order_id="ord_1", total=TOTAL, attempts=3, declines=heard_of)

    with pytest.raises(PaymentInProgress):
        domain.after_declines(declined(*[None] * heard_of), create(), payable)


def test_the_last_declines_address_is_used_if_orders_does_not_know_it() -> None:
    payable = PayableOrder(order_id="ord_1", total=TOTAL, attempts=3)
    before = declined(ADDRESS, BONN)

    without, _ = domain.after_declines(before, create(), payable)
    of_its_own, _ = domain.after_declines(before, create(address=ADDRESS), payable)
    as_it_was, _ = domain.after_declines(declined(ADDRESS, None), create(), payable)

    assert without.shipping_address == BONN
    assert of_its_own.shipping_address == ADDRESS
    assert as_it_was.shipping_address is None  # orders had one, or it would not have been begun


def test_a_captured_payment_is_paid() -> None:
    paid = settle(payment(CARD), CAPTURED)

    assert (paid.status, paid.live) == (PaymentStatus.PAID, True)
    assert paid.events == (PaymentCaptured(payment_id="pay_1", order_id="ord_1", amount=TOTAL),)


@pytest.mark.parametrize(
    "captured", [Money(1, "USD"), Money(TOTAL.amount + 1, "USD"), Money(TOTAL.amount, "EUR")]
)
def test_another_amount_does_not_pay_and_is_refunded(captured: Money) -> None:
    rejected = settle(payment(CARD), Captured(captured))

    assert (rejected.status, rejected.live) == (PaymentStatus.REJECTED, False)
    assert (rejected.failure, rejected.attempt) == (domain.AMOUNT_MISMATCH, None)
    assert rejected.captured == captured
    assert rejected.refunds == [whole(captured, "The captured amount differs from the payment's.")]
    assert [event.type for event in rejected.events] == ["payment.declined.v1"]
    assert settle(rejected, Captured(captured), CAPTURED, SORRY, Voided()) is rejected


def test_a_declined_payment_uses_its_attempt() -> None:
    rejected = settle(payment(CARD), SORRY)

    failure = Failure(code="card_declined", message="Your card was declined.")
    assert (rejected.status, rejected.live) == (PaymentStatus.REJECTED, False)
    assert (rejected.failure, rejected.attempt) == (failure, 1)
    assert rejected.events == (
        PaymentDeclined(payment_id="pay_1", order_id="ord_1", failure=failure, counts=True),
    )


def test_a_providers_reason_becomes_one_short_line() -> None:
    no = Declined(code="no\x1b[2J" * 100, message="Sorry\r\nBcc: all@example.com\u202e" * 1000)

    failure = settle(payment(CARD), no).failure

    assert failure is not None
    assert failure.code.startswith("no [2J")
    assert failure.message.startswith("Sorry Bcc: all@example.com Sorry")
    assert len(failure.code) <= settling.LONGEST_CODE
    assert len(failure.message) <= settling.LONGEST_MESSAGE


def test_a_voided_payment_uses_no_attempt() -> None:
    rejected = settle(payment(CARD), Voided())

    assert (rejected.status, rejected.live) == (PaymentStatus.REJECTED, False)
    assert rejected.attempt is None
    [event] = rejected.events
    assert isinstance(event, PaymentDeclined)
    assert (event.failure.code, event.counts) == ("processing_error", False)


verdicts = st.lists(st.sampled_from([CAPTURED, OTHER_SUM, SORRY, Voided()]), min_size=1, max_size=6)


@given(verdicts)
def test_the_first_verdict_is_final(verdicts: list[Verdict]) -> None:
    first = settle(payment(CARD), verdicts[0])

    last = settle(first, *verdicts[1:])

    assert (last.status, last.failure, last.live) == (first.status, first.failure, first.live)
    assert last.events == first.events
    if first.status is PaymentStatus.PAID or not any(isinstance(v, Captured) for v in verdicts):
        assert last is first


@given(verdicts)
def test_money_is_kept_or_refunded_and_never_both(verdicts: list[Verdict]) -> None:
    last = settle(payment(CARD), *verdicts)

    kept = last.status is PaymentStatus.PAID
    taken = [verdict.amount for verdict in verdicts if isinstance(verdict, Captured)]
    assert [refund.amount for refund in last.refunds] == ([] if kept else taken[:1])
    assert last.captured == (taken[0] if taken else None)
    assert kept == (verdicts[0] == CAPTURED)


@pytest.mark.parametrize("no", [SORRY, Voided()])
def test_money_captured_after_a_rejection_is_refunded_in_full(no: Verdict) -> None:
    rejected = settle(payment(CARD), no)

    late = settle(rejected, CAPTURED)

    assert (late.status, late.live) == (PaymentStatus.REJECTED, False)
    assert late.refunds == [whole(TOTAL, LATE)]
    assert late.version == rejected.version + 1
    assert settle(late, CAPTURED) is late


def test_a_payment_is_refunded_once_whoever_asks() -> None:
    due = refund_due(settle(payment(CARD), CAPTURED))

    assert due.refunds == [whole(TOTAL, "too late")]
    assert refund_due(due) is due
    assert refund_due(settle(payment(CARD), SORRY, CAPTURED)).refunds[0].reason == LATE


def test_a_payment_whose_money_was_refunded_is_refunded() -> None:
    due = refund_due(settle(payment(CARD), CAPTURED))

    done = refund_done(due)

    assert (done.status, done.live, done.attempt) == (PaymentStatus.REFUNDED, False, None)
    assert [refund.status for refund in done.refunds] == [RefundStatus.SUCCEEDED]
    assert done.events[-1] == PaymentRefunded(
        payment_id="pay_1", order_id="ord_1", refund_id="rfd_1", amount=TOTAL
    )
    assert refund_done(done) is done
    assert settle(done, CAPTURED, SORRY, Voided()) is done


def test_a_rejected_payment_stays_rejected_after_its_refund() -> None:
    done = refund_done(settle(payment(CARD), SORRY, CAPTURED))

    assert (done.status, done.attempt) == (PaymentStatus.REJECTED, 1)
    assert [refund.status for refund in done.refunds] == [RefundStatus.SUCCEEDED]
    assert [event.type for event in done.events] == ["payment.declined.v1", "payment.refunded.v1"]


def test_a_late_capture_brings_the_providers_reference() -> None:
    rejected = domain.settle(payment(CARD), Outcome(Voided()), CHANGE)

    late = domain.settle(rejected, Outcome(CAPTURED, "pi_1"), CHANGE)
    again = domain.settle(late, Outcome(CAPTURED), CHANGE)

    assert (rejected.provider_reference, late.provider_reference) == (None, "pi_1")
    assert again is late


def test_refunded_cash_cannot_be_confirmed_again() -> None:
    done = refund_done(refund_due(settle(payment(CASH), CAPTURED)))

    with pytest.raises(NotConfirmable):
        domain.confirm_cash(done, BY_ADMIN)


@pytest.mark.parametrize("verdict", [CAPTURED, SORRY, Voided()])
def test_the_timeline_has_each_step_and_its_actor(verdict: Verdict) -> None:
    settled = settle(payment(CARD), verdict)

    assert settled.provider_reference == "pi_1"
    assert [(entry.type, entry.by) for entry in settled.timeline] == [
        ("begun", "user-zoe"),
        ("captured" if verdict == CAPTURED else "declined", "simulator"),
    ]


def test_an_admin_confirms_cash() -> None:
    paid = domain.confirm_cash(payment(CASH), BY_ADMIN)

    assert paid.status is PaymentStatus.PAID
    assert paid.timeline[-1].by == "user-ada"
    assert [event.type for event in paid.events] == ["payment.captured.v1"]


def test_confirming_confirmed_cash_changes_nothing() -> None:
    paid = domain.confirm_cash(payment(CASH), BY_ADMIN)

    assert domain.confirm_cash(paid, BY_ADMIN) is paid


def test_cash_that_is_no_longer_pending_cannot_be_confirmed() -> None:
    with pytest.raises(NotConfirmable):
        domain.confirm_cash(settle(payment(CASH), Voided()), BY_ADMIN)


@pytest.mark.parametrize("verdicts", [[], [CAPTURED], [SORRY]], ids=["new", "paid", "declined"])
def test_only_cash_is_confirmed_by_hand(verdicts: list[Verdict]) -> None:
    with pytest.raises(NotConfirmable):
        domain.confirm_cash(settle(payment(CARD), *verdicts), BY_ADMIN)


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({"brand": "visa", "last4": "4242"}, CardSummary(brand="visa", last4="4242")),
        ({"brand": "visa"}, None),
        ({"brand": 5, "last4": []}, None),
        ("visa", None),
        (None, None),
    ],
)
def test_an_unreadable_card_does_not_affect_the_verdict(
    told: object, read: CardSummary | None
) -> None:
    assert read_card(told) == read


def test_a_declined_card_is_an_attempt_whatever_its_code_says() -> None:
    declined = settle(payment(CARD), Declined(code="card_token_invalid", message="No."))

    assert declined.attempt is not None
    assert not domain.was_token_refused(declined)
