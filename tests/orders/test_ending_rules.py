"""The rules for canceling, expiring and refunding orders, without a database."""

from datetime import datetime, timedelta

import msgspec
import pytest

from cartwheel.contracts.orders import (
    Fulfillment,
    FulfillmentStatus,
    InvalidTransition,
    OrderCanceled,
    OrderPaymentUnwanted,
    OrderRefundDue,
    OrderRefunded,
    OrderStatus,
)
from cartwheel.kernel import Change
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import CASH_DEADLINE, PAYMENT_DEADLINE, Order

from .examples import (
    AT,
    CHANGE,
    TOTAL,
    money_captured,
    money_returned,
    order,
    payment_awaited,
    payment_refused,
    place,
    reservation,
)

DEADLINE = AT + PAYMENT_DEADLINE
A_MOMENT = timedelta(microseconds=1)
WHY = "Changed my mind."


def at(moment: datetime) -> Change:
    return msgspec.structs.replace(CHANGE, at=moment)


def paid() -> Order:
    order_paid = rules.pay(order(), money_captured("pay_1"), CHANGE)
    return msgspec.structs.replace(order_paid, events=())


def shipped(status: FulfillmentStatus) -> Order:
    return msgspec.structs.replace(paid(), fulfillment=Fulfillment(status=status))


def rejected() -> Order:
    current = order()
    for payment_id in ("pay_1", "pay_2", "pay_3"):
        current = rules.payment_declined(current, payment_refused(payment_id), CHANGE)
    return msgspec.structs.replace(current, events=())


def cancel(order: Order, *, by_admin: bool = False) -> Order:
    return rules.cancel(order, CHANGE, reason=WHY, by_admin=by_admin)


def cash_begun(order: Order) -> Order:
    return rules.payment_begun(order, payment_awaited(payment_id="pay_9"), CASH_DEADLINE, CHANGE)


@pytest.mark.parametrize("by_admin", [False, True])
def test_an_unpaid_order_is_canceled_without_a_refund(by_admin: bool) -> None:
    canceled = cancel(order(), by_admin=by_admin)

    assert (canceled.status, canceled.expires_at) == (OrderStatus.CANCELED, None)
    assert canceled.events == (
        OrderCanceled(order=canceled.snapshot(), reason=WHY, was_paid=False),
    )


def test_an_admin_cancels_a_paid_order_and_a_refund_is_due() -> None:
    canceled = cancel(paid(), by_admin=True)

    assert (canceled.status, canceled.refunds_due) == (OrderStatus.CANCELED, ["pay_1"])
    assert canceled.events == (
        OrderCanceled(order=canceled.snapshot(), reason=WHY, was_paid=True),
        OrderRefundDue(order_id=canceled.id, payment_id="pay_1", amount=TOTAL, reason=WHY),
    )


def test_the_owner_cannot_cancel_a_paid_order() -> None:
    with pytest.raises(InvalidTransition, match="PAID"):
        cancel(paid())


@pytest.mark.parametrize("status", [FulfillmentStatus.SHIPPED, FulfillmentStatus.DELIVERED])
def test_a_shipped_order_cannot_be_canceled(status: FulfillmentStatus) -> None:
    with pytest.raises(InvalidTransition, match="shipped"):
        cancel(shipped(status), by_admin=True)


@pytest.mark.parametrize("by_admin", [False, True])
def test_a_rejected_order_cannot_be_canceled(by_admin: bool) -> None:
    with pytest.raises(InvalidTransition, match="REJECTED"):
        cancel(rejected(), by_admin=by_admin)


@pytest.mark.parametrize("by_admin", [False, True])
def test_a_canceled_order_stays_as_it_is(by_admin: bool) -> None:
    canceled = cancel(paid(), by_admin=True)

    assert cancel(canceled, by_admin=by_admin) is canceled


def test_an_order_expires_at_its_deadline_and_not_a_moment_before() -> None:
    waiting = order()

    assert rules.expire(waiting, at(DEADLINE - A_MOMENT)) is waiting
    expired = rules.expire(waiting, at(DEADLINE))

    assert expired.status is OrderStatus.CANCELED
    [event] = expired.events
    assert isinstance(event, OrderCanceled)
    assert (event.reason, event.was_paid) == ("It was not paid in time.", False)


def test_a_deployment_may_set_its_own_deadline() -> None:
    request = place(("prd_1", 2))

    placed = rules.place(
        request, reservation(request), number="no", at=AT, pay_within=timedelta(seconds=7)
    )

    assert placed.expires_at == AT + timedelta(seconds=7)


def test_cash_has_a_deadline_of_its_own() -> None:
    waiting = cash_begun(order())
    deadline = CHANGE.at + CASH_DEADLINE

    assert rules.expire(waiting, at(deadline - A_MOMENT)) is waiting
    assert rules.expire(waiting, at(deadline)).status is OrderStatus.CANCELED


def test_an_order_that_an_older_version_has_wait_for_ever_gets_a_deadline_once() -> None:
    waiting: Order = msgspec.structs.replace(cash_begun(order()), expires_at=None, cash_until=None)

    dated = rules.with_deadline(waiting, CASH_DEADLINE, at(DEADLINE))

    assert rules.expire(waiting, at(AT + timedelta(days=365))) is waiting
    assert dated.expires_at == dated.cash_until == DEADLINE + CASH_DEADLINE
    assert rules.with_deadline(dated, CASH_DEADLINE, at(DEADLINE + A_MOMENT)) is dated
    assert rules.with_deadline(paid(), CASH_DEADLINE, at(DEADLINE)).expires_at is None


@pytest.mark.parametrize("ended", [paid(), rejected(), cancel(order())], ids=lambda o: o.status)
def test_an_order_that_has_ended_has_no_deadline(ended: Order) -> None:
    assert rules.expire(ended, at(AT + timedelta(days=365))) is ended


def test_a_paid_order_without_stock_is_canceled_and_refunded() -> None:
    canceled = rules.out_of_stock(paid(), CHANGE)

    assert (canceled.status, canceled.refunds_due) == (OrderStatus.CANCELED, ["pay_1"])
    told = canceled.events[0]
    assert isinstance(told, OrderCanceled)
    assert (told.reason, told.was_paid) == ("The goods are sold out.", True)


@pytest.mark.parametrize(
    "other", [order(), rejected(), cancel(order())], ids=lambda order: order.status
)
def test_a_shortage_does_not_affect_an_unpaid_order(other: Order) -> None:
    assert rules.out_of_stock(other, CHANGE) is other


def test_a_refund_emits_one_event() -> None:
    canceled = cancel(paid(), by_admin=True)
    done = rules.refunded(canceled, money_returned(), CHANGE)

    assert done.events[-1] == OrderRefunded(order=done.snapshot(), payment_id="pay_1", amount=TOTAL)
    assert rules.refunded(done, money_returned(), CHANGE) is done


@pytest.mark.parametrize("ended", [rejected(), cancel(order())], ids=lambda order: order.status)
def test_cash_begun_as_the_order_ended_is_unwanted(ended: Order) -> None:
    told = cash_begun(ended)

    assert told.status is ended.status
    assert told.events == (
        *ended.events,
        OrderPaymentUnwanted(
            order_id=ended.id, payment_id="pay_9", reason=f"The order is {ended.status}."
        ),
    )
    assert cash_begun(told) is told


def test_pending_cash_is_not_unwanted_when_its_event_is_redelivered() -> None:
    canceled = cancel(cash_begun(order()))

    assert cash_begun(canceled) is canceled


def test_cash_that_paid_the_order_is_not_unwanted_when_its_event_is_late() -> None:
    paid_in_cash = rules.pay(order(), money_captured("pay_9"), CHANGE)

    assert cash_begun(paid_in_cash) is paid_in_cash
