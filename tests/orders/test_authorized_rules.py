"""An order whose money is reserved."""

from datetime import timedelta

import msgspec
import pytest

from cartwheel.contracts.fulfilment import CallOffPieces, NothingLeftToShip
from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    FulfillmentStatus,
    InvalidTransition,
    OrderCanceled,
    OrderPaid,
    OrderPaymentUnwanted,
    OrderRefundDue,
    OrderStatus,
    ReasonRequired,
)
from cartwheel.kernel import Change
from cartwheel.orders.domain import authorized, fulfilment
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import CASH_DEADLINE, Order

from .examples import (
    AT,
    BONN,
    CHANGE,
    TOTAL,
    money_captured,
    money_reserved,
    money_returned,
    order,
    payment_awaited,
    payment_given_up,
)
from .goods import ADMIN, MUGS, OWNER, SPOON, Line, paid, pieces, stored, to_cancel, to_ship

MUCH_LATER = Change(by="deadline", at=AT + timedelta(days=30))


def reserved() -> Order:
    return stored(authorized.authorize(order(), money_reserved(), CHANGE))


def test_a_reserved_order_has_no_deadline_and_keeps_the_payments_address() -> None:
    made = authorized.authorize(order(), money_reserved(address=BONN), CHANGE)

    assert (made.status, made.authorized_by) == (OrderStatus.AUTHORIZED, "pay_1")
    assert (made.expires_at, made.shipping_address) == (None, BONN)
    assert rules.expire(stored(made), MUCH_LATER) == stored(made)
    assert authorized.authorize(made, money_reserved(), CHANGE) is made


def test_nothing_else_pays_a_reserved_order() -> None:
    with pytest.raises(InvalidTransition):
        rules.payable(reserved(), None)
    late = rules.pay(reserved(), money_captured("pay_2"), CHANGE)
    assert (late.status, late.refunds_due) == (OrderStatus.AUTHORIZED, ["pay_2"])
    cash = rules.payment_begun(reserved(), payment_awaited(), CASH_DEADLINE, CHANGE)
    assert [type(event) for event in cash.events] == [OrderPaymentUnwanted]


def test_its_own_capture_pays_it_however_often_it_is_told() -> None:
    paid = rules.pay(reserved(), money_captured(), CHANGE)

    assert (paid.status, paid.paid_by, paid.authorized_by) == (OrderStatus.PAID, "pay_1", None)
    assert rules.pay(paid, money_captured(), CHANGE) is paid
    assert authorized.authorize(paid, money_reserved(), CHANGE) is paid


def test_the_first_parcel_pays_and_leaves_in_one_change() -> None:
    request = to_ship(MUGS)
    assert authorized.to_capture(reserved(), request, "shp_1", CHANGE) == "pay_1"

    gone = authorized.ship_captured(reserved(), request, "shp_1", "pay_1", TOTAL, CHANGE)

    assert (gone.status, len(gone.shipments)) == (OrderStatus.PAID, 1)
    assert [event.type for event in gone.events] == ["order.paid.v1", "order.shipped.v1"]
    assert authorized.to_capture(stored(gone), to_ship(SPOON), "shp_2", CHANGE) is None


def test_a_parcel_with_too_much_in_it_asks_for_no_capture() -> None:
    with pytest.raises(NothingLeftToShip):
        authorized.to_capture(reserved(), to_ship(("prd_1", 3)), "shp_1", CHANGE)


def test_a_parcel_of_an_order_that_is_not_reserved_asks_for_no_capture() -> None:
    assert authorized.to_capture(order(), to_ship(MUGS), "shp_1", CHANGE) is None


def test_its_owner_cancels_it_and_no_refund_is_due() -> None:
    canceled = rules.cancel_as_asked(reserved(), to_cancel(OWNER, None), CHANGE)

    assert (canceled.status, canceled.authorized_by) == (OrderStatus.CANCELED, None)
    [event] = canceled.events
    assert isinstance(event, OrderCanceled)
    assert not event.was_paid
    late = rules.pay(stored(canceled), money_captured(), CHANGE)
    assert late.refunds_due == ["pay_1"]


def test_an_admin_cancels_it_with_a_reason() -> None:
    with pytest.raises(ReasonRequired):
        fulfilment.cancel_or_call_off(reserved(), to_cancel(ADMIN, None), "cof_1", CHANGE)

    canceled = fulfilment.cancel_or_call_off(reserved(), to_cancel(ADMIN), "cof_1", CHANGE)
    assert canceled.status is OrderStatus.CANCELED


def test_it_is_canceled_when_its_authorization_lapses() -> None:
    gone = authorized.payment_canceled(reserved(), payment_given_up("pay_1"), CHANGE)

    assert (gone.status, gone.canceled_payments) == (OrderStatus.CANCELED, ["pay_1"])
    assert authorized.payment_canceled(gone, payment_given_up("pay_1"), CHANGE) is gone
    other = authorized.payment_canceled(reserved(), payment_given_up("pay_2"), CHANGE)
    assert other.status is OrderStatus.AUTHORIZED


def test_a_lapse_that_is_heard_of_first_leaves_an_order_that_can_be_paid() -> None:
    early = authorized.payment_canceled(order(), payment_given_up("pay_1"), CHANGE)

    after = authorized.authorize(stored(early), money_reserved(), CHANGE)

    assert after == stored(early)
    assert (after.status, after.expires_at) == (OrderStatus.AWAITING_PAYMENT, order().expires_at)


@pytest.mark.parametrize("why", ["canceled", "paid by another", "of another amount"])
def test_an_authorization_that_is_not_waited_for_is_voided_once(why: str) -> None:
    told = money_reserved("pay_2")
    given = order()
    if why == "canceled":
        given = stored(rules.cancel_as_asked(given, to_cancel(OWNER, None), CHANGE))
    elif why == "paid by another":
        given = stored(rules.pay(given, money_captured(), CHANGE))
    else:
        told = msgspec.structs.replace(told, amount=Money(1, TOTAL.currency))

    after = authorized.authorize(given, told, CHANGE)

    [event] = after.events
    assert isinstance(event, OrderPaymentUnwanted)
    assert (event.payment_id, after.status) == ("pay_2", given.status)
    assert authorized.authorize(stored(after), told, CHANGE) == stored(after)


def test_a_stranger_cannot_tell_that_it_is_there() -> None:
    assert not reserved().may_be_seen_by(Actor(user_id="user-eve"))


def to_call_off(*lines: Line, key: str = "off", body_hash: str = "hash") -> CallOffPieces:
    return CallOffPieces(
        request_id=key,
        body_hash=body_hash,
        order_id="ord_1",
        lines=pieces(lines),
        reason="Out of print.",
        actor=ADMIN,
    )


def without_a_mug() -> Order:
    return stored(fulfilment.call_off(reserved(), to_call_off(("prd_1", 1)), "cof_1", CHANGE))


REST = Money(TOTAL.amount - 1999, "USD")


def test_what_is_called_off_is_not_due_and_the_rest_pays_the_order() -> None:
    order = without_a_mug()
    assert (order.status, order.due) == (OrderStatus.AUTHORIZED, REST)

    gone = authorized.ship_captured(
        order, to_ship(("prd_1", 1), SPOON), "shp_1", "pay_1", REST, CHANGE
    )

    assert gone.status is OrderStatus.PAID
    assert gone.view().fulfillment.status is FulfillmentStatus.SHIPPED
    assert [event.type for event in gone.events] == ["order.paid.v1", "order.shipped.v1"]
    back = rules.refunded(stored(gone), money_returned(amount=REST), CHANGE)
    assert back.status is OrderStatus.REFUNDED


def test_a_call_off_is_made_once_for_its_key() -> None:
    order = without_a_mug()
    assert fulfilment.call_off(order, to_call_off(("prd_1", 1)), "cof_2", CHANGE) is order
    with pytest.raises(IdempotencyKeyReused):
        fulfilment.call_off(order, to_call_off(SPOON, body_hash="other"), "cof_2", CHANGE)


@pytest.mark.parametrize("lines", [[MUGS, SPOON], [("prd_1", 3)]])
def test_all_or_more_than_all_cannot_be_called_off(lines: list[Line]) -> None:
    with pytest.raises((InvalidTransition, NothingLeftToShip)):
        fulfilment.call_off(reserved(), to_call_off(*lines), "cof_1", CHANGE)


def test_nothing_is_called_off_so_of_an_order_whose_money_is_not_reserved() -> None:
    for given in (order(), paid()):
        with pytest.raises(InvalidTransition):
            fulfilment.call_off(given, to_call_off(SPOON), "cof_1", CHANGE)


def test_what_was_called_off_while_it_was_captured_is_refunded_by_itself() -> None:
    first = fulfilment.call_off(reserved(), to_call_off(SPOON, key="1"), "cof_1", CHANGE)
    both = stored(fulfilment.call_off(first, to_call_off(("prd_1", 1), key="2"), "cof_2", CHANGE))
    without_the_spoon = Money(TOTAL.amount - 250, "USD")

    paid = authorized.pay(both, money_captured(amount=without_the_spoon), CHANGE)

    assert (paid.status, paid.due) == (OrderStatus.PAID, without_the_spoon)
    told, due = paid.events
    assert isinstance(told, OrderPaid)
    assert told.amount == without_the_spoon
    assert isinstance(due, OrderRefundDue)
    assert (due.refund_id, due.amount) == ("rfd_2", Money(1999, "USD"))
    whole = authorized.pay(both, money_captured(), CHANGE)
    assert [getattr(each, "refund_id", None) for each in whole.events] == [None, "rfd_2", "rfd_1"]
    assert authorized.pay(stored(whole), money_captured(), CHANGE) == stored(whole)
