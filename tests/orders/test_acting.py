"""An order of which a payment waits for its customer's approval."""

from datetime import datetime, timedelta

import msgspec
import pytest

from cartwheel.contracts.orders import OrderStatus
from cartwheel.contracts.payments import PaymentActionRequired
from cartwheel.kernel import Change
from cartwheel.orders.domain import acting, authorized
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.acting import TIME_TO_ACT
from cartwheel.orders.domain.order import CASH_DEADLINE, PAYMENT_DEADLINE, Order

from .examples import (
    AT,
    money_captured,
    money_reserved,
    order,
    payment_awaited,
    payment_given_up,
    payment_refused,
)

DEADLINE = AT + PAYMENT_DEADLINE
LATE = DEADLINE - timedelta(minutes=1)


def at(time: datetime) -> Change:
    return Change(by="payments", at=time)


def asked(order: Order, payment_id: str = "pay_1", time: datetime = LATE) -> Order:
    told = PaymentActionRequired(
        payment_id=payment_id, order_id=order.id, expires_at=time + TIME_TO_ACT
    )
    return acting.action_required(order, told, TIME_TO_ACT, at(time))


def types(order: Order) -> list[str]:
    return [event.type for event in order.events]


def test_a_customer_who_is_asked_late_gets_the_time_that_it_takes() -> None:
    after = asked(order())

    assert after.expires_at == after.pay_by == after.action_until == LATE + TIME_TO_ACT
    assert types(after) == ["order.action_required.v1"]


def test_a_customer_who_is_asked_early_keeps_the_whole_deadline() -> None:
    assert asked(order(), time=AT).expires_at == DEADLINE


def test_the_deadline_moves_once_however_many_are_begun() -> None:
    once = asked(order())

    twice = asked(once, "pay_2", LATE + timedelta(minutes=9))

    assert (twice.expires_at, twice.pay_by) == (once.expires_at, once.pay_by)
    assert acting.action_until(once, TIME_TO_ACT, LATE) == once.expires_at


def test_a_repeated_event_changes_nothing() -> None:
    once = asked(order())

    assert asked(once) is once


def test_an_event_that_comes_after_the_end_of_its_payment_changes_nothing() -> None:
    change = at(LATE)
    for ended in (
        rules.payment_canceled(order(), payment_given_up("pay_1"), change),
        rules.payment_declined(order(), payment_refused("pay_1", counts=False), change),
        rules.pay(order(), money_captured("pay_1"), change),
        authorized.authorize(order(), money_reserved("pay_1"), change),
    ):
        assert asked(ended) is ended


def test_an_order_that_has_ended_does_not_want_the_payment() -> None:
    canceled = rules.cancel(order(), at(LATE), reason="No more.")

    told = asked(msgspec.structs.replace(canceled, events=()))

    assert types(told) == ["order.payment_unwanted.v1"]
    assert (told.status, told.expires_at) == (OrderStatus.CANCELED, None)
    assert asked(told) is told


def test_cash_that_is_given_up_leaves_the_moved_deadline() -> None:
    moved = rules.payment_canceled(asked(order()), payment_given_up("pay_1"), at(LATE))

    cash = rules.payment_begun(moved, payment_awaited(), CASH_DEADLINE, at(LATE))
    back = rules.payment_canceled(cash, payment_given_up(), at(LATE))

    assert back.expires_at == LATE + TIME_TO_ACT


def test_the_deadline_of_cash_is_not_that_of_an_approval() -> None:
    """The order has not heard yet that the cash was given up."""
    cash = rules.payment_begun(order(), payment_awaited(), CASH_DEADLINE, at(LATE))

    moved = asked(cash)
    back = rules.payment_canceled(moved, payment_given_up(), at(LATE))

    assert acting.action_until(cash, TIME_TO_ACT, LATE) == LATE + TIME_TO_ACT
    assert moved.expires_at == cash.expires_at
    assert back.expires_at == LATE + TIME_TO_ACT


def test_the_order_is_canceled_at_the_moved_deadline() -> None:
    moved = asked(order())

    assert rules.expire(moved, at(DEADLINE)) is moved
    assert rules.expire(moved, at(LATE + TIME_TO_ACT)).status is OrderStatus.CANCELED


@pytest.mark.parametrize("expires_at", [None, AT + CASH_DEADLINE])
def test_a_deadline_is_never_shortened(expires_at: datetime | None) -> None:
    """Orders of an older version may have none."""
    given = msgspec.structs.replace(order(), expires_at=expires_at)

    assert asked(given).expires_at == expires_at
