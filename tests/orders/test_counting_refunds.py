"""An order counts what was given back, refund by refund."""

from collections.abc import Callable
from itertools import permutations

import msgspec
import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    Fulfillment,
    FulfillmentStatus,
    InvalidTransition,
    LineRefused,
    OrderCanceled,
    OrderRefundDue,
    OrderRefunded,
    OrderStatus,
    Pieces,
)
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import Order

from .examples import (
    CHANGE,
    TOTAL,
    dispute_decided,
    money_came_back,
    money_captured,
    money_returned,
    order,
)

PART = Money(1000, "USD")
REST = Money(TOTAL.amount - 1000, "USD")


def paid() -> Order:
    made = rules.pay(order(), money_captured(), CHANGE)
    return msgspec.structs.replace(made, events=())


def shipped() -> Order:
    parcels = Fulfillment(status=FulfillmentStatus.SHIPPED)
    return msgspec.structs.replace(paid(), fulfillment=parcels)


def refunded(order: Order, amount: Money = TOTAL, refund_id: str = "rfd_a") -> Order:
    return rules.refunded(order, money_returned("pay_1", amount, refund_id), CHANGE)


def failed(order: Order, amount: Money = TOTAL, refund_id: str = "rfd_a") -> Order:
    return rules.refund_failed(order, money_came_back("pay_1", amount, refund_id), CHANGE)


def test_two_refunds_of_one_payment_count_and_each_is_told_once() -> None:
    once = refunded(shipped(), PART)
    twice = refunded(refunded(once, PART), PART, "rfd_b")

    assert refunded(once, PART) is once
    assert twice.view().refunded == Money(2000, "USD")
    told = [event.amount for event in twice.events if isinstance(event, OrderRefunded)]
    assert told == [PART, PART]
    assert twice.status is OrderStatus.PAID


def test_a_shipped_order_of_which_all_was_given_back_is_refunded() -> None:
    done = refunded(refunded(shipped(), PART), REST, "rfd_b")

    assert (done.status, done.view().refunded) == (OrderStatus.REFUNDED, TOTAL)


def test_an_unshipped_order_of_which_all_was_given_back_is_canceled_and_owes_nothing() -> None:
    done = refunded(paid())

    assert done.status is OrderStatus.CANCELED
    assert [type(event) for event in done.events] == [OrderRefunded, OrderCanceled]
    assert not any(isinstance(event, OrderRefundDue) for event in done.events)


def test_a_refund_that_is_heard_of_before_its_capture_counts() -> None:
    early = refunded(order())

    assert early.status is OrderStatus.AWAITING_PAYMENT
    assert rules.pay(early, money_captured(), CHANGE).status is OrderStatus.CANCELED


def test_a_refunded_order_whose_refund_fails_late_is_paid_again() -> None:
    back = failed(refunded(shipped()))

    assert (back.status, back.view().refunded) == (OrderStatus.PAID, Money(0, "USD"))
    assert failed(back) is back
    assert refunded(back) is back, "what failed stays failed"


def test_a_canceled_order_stays_so_when_its_refund_fails() -> None:
    back = failed(refunded(rules.cancel(paid(), CHANGE, reason="No more.", by_admin=True)))

    assert back.status is OrderStatus.CANCELED


def test_a_failure_that_is_heard_of_first_counts() -> None:
    assert refunded(failed(shipped())).status is OrderStatus.PAID


def test_the_money_of_a_lost_dispute_is_given_back_and_of_a_won_one_not() -> None:
    rest = refunded(shipped(), PART)

    lost = rules.dispute_closed(rest, dispute_decided(amount=REST), CHANGE)

    assert (lost.status, lost.view().refunded) == (OrderStatus.REFUNDED, TOTAL)
    assert rules.dispute_closed(lost, dispute_decided(amount=REST), CHANGE) is lost
    assert rules.dispute_closed(rest, dispute_decided(won=True), CHANGE) is rest


def test_refunds_and_lost_disputes_count_the_same_in_any_order() -> None:
    steps: tuple[Callable[[Order], Order], ...] = (
        lambda order: refunded(order, PART),
        lambda order: refunded(order, Money(2000, "USD"), "rfd_b"),
        lambda order: failed(order, PART),
        lambda order: rules.dispute_closed(order, dispute_decided(amount=PART), CHANGE),
    )
    ends: set[tuple[str, int]] = set()
    for ordering in permutations(steps):
        ended = shipped()
        for each in ordering:
            ended = each(ended)
        ends.add((ended.status, ended.given_back.amount))

    assert ends == {(OrderStatus.PAID, 3000)}


def test_money_of_another_payment_is_not_the_orders() -> None:
    late = rules.refunded(shipped(), money_returned("pay_2"), CHANGE)

    assert (late.status, late.view().refunded) == (OrderStatus.PAID, Money(0, "USD"))


def test_a_refund_that_an_older_version_counted_is_not_counted_again() -> None:
    """It made one refund of a payment, with an id from the payment's, and counted the payment."""
    older = msgspec.structs.replace(shipped(), refunded_payments=["pay_1"])

    assert refunded(older, TOTAL, "rfd_1") is older
    assert refunded(older, PART, "rfd_b").view().refunded == PART


def test_a_refunded_order_cannot_be_canceled() -> None:
    with pytest.raises(InvalidTransition):
        rules.cancel(refunded(shipped()), CHANGE, reason="No more.", by_admin=True)


@pytest.mark.parametrize(
    ("pieces", "price"),
    [([("prd_1", 1)], 1999), ([("prd_1", 2), ("prd_2", 1)], 4248), ([("prd_1", 1)] * 2, 3998)],
)
def test_pieces_cost_what_they_did_when_the_order_was_placed(
    pieces: list[tuple[str, int]], price: int
) -> None:
    asked = [Pieces(product_id=product_id, quantity=count) for product_id, count in pieces]

    assert rules.price_of(order(), asked) == Money(price, "USD")


@pytest.mark.parametrize(
    ("pieces", "field"),
    [([("prd_9", 1)], 0), ([("prd_1", 3)], 0), ([("prd_1", 2), ("prd_1", 1)], 1)],
)
def test_pieces_that_the_order_does_not_have_have_no_price(
    pieces: list[tuple[str, int]], field: int
) -> None:
    asked = [Pieces(product_id=product_id, quantity=count) for product_id, count in pieces]

    with pytest.raises(LineRefused) as refused:
        rules.price_of(order(), asked)
    assert [error.field for error in refused.value.errors] == [f"lines[{field}]"]
