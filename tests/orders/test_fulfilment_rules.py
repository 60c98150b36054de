"""The rules of an order's goods, without a database."""

from datetime import timedelta

import msgspec
import pytest

from cartwheel.contracts.fulfilment import (
    CashShipsWhole,
    DeliveryFailed,
    NothingLeftToShip,
    NothingToReturn,
    NotPaid,
    OrderShipped,
    ParcelDelivered,
    ParcelShipped,
    PiecesCalledOff,
    ReturnAccepted,
    ReturnDeclined,
    ReturnNotFound,
    ReturnReceived,
    ReturnRequested,
    ReturnWindowClosed,
    ShipmentNotFound,
    TooManyReturns,
    TooManyShipments,
)
from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    FulfillmentStatus,
    InvalidTransition,
    OrderCanceled,
    OrderNotFound,
    OrderRefundDue,
    OrderStatus,
    ReasonRequired,
)
from cartwheel.contracts.parcels import ReturnStatus, ShipmentStatus
from cartwheel.orders.domain import fulfilment as rules
from cartwheel.orders.domain import order as money_rules
from cartwheel.orders.domain.fulfilment import RETURN_WINDOW
from cartwheel.orders.domain.order import CASH_DEADLINE, Order

from .examples import CHANGE, money_captured, money_returned, order, payment_given_up
from .goods import (
    ADMIN,
    MUGS,
    OWNER,
    SPOON,
    WHY,
    deliver,
    delivered,
    in_cash,
    paid,
    ship,
    stored,
    to_cancel,
    to_decide,
    to_deliver,
    to_fail,
    to_receive,
    to_return,
    to_ship,
)

UNFULFILLED, PARTIAL, SHIPPED, DELIVERED, RETURNED = FulfillmentStatus
STRANGER = Actor(user_id="user-eve")
A_MUG, A_SPOON = Money(1999, "USD"), Money(250, "USD")


def ask(order: Order, *lines: tuple[str, int], id: str = "ret_1") -> Order:
    return stored(rules.request_return(order, to_return(*lines), id, RETURN_WINDOW, CHANGE))


def accepted(order: Order, *lines: tuple[str, int], id: str = "ret_1") -> Order:
    asked = ask(order, *lines, id=id)
    return stored(rules.decide_return(asked, to_decide(accepted=True, return_id=id), CHANGE))


def returned(order: Order, *lines: tuple[str, int, int], id: str = "ret_1") -> Order:
    wanted = [(product_id, good + bad) for product_id, good, bad in lines]
    order = accepted(order, *wanted, id=id)
    return rules.receive_return(order, to_receive(*lines, return_id=id), CHANGE)


def cancel(order: Order, actor: Actor = ADMIN, reason: str | None = WHY) -> Order:
    return rules.cancel_or_call_off(order, to_cancel(actor, reason), "cof_1", CHANGE)


def test_an_order_is_shipped_and_delivered_in_parcels() -> None:
    statuses = [paid().fulfillment.status]
    shop = ship(paid(), ("prd_1", 1))
    statuses.append(shop.fulfillment.status)
    shop = ship(shop, ("prd_1", 1), SPOON, id="shp_2")
    statuses.append(shop.fulfillment.status)
    shop = deliver(deliver(shop, "shp_1"), "shp_2")
    statuses.append(shop.fulfillment.status)

    assert statuses == [UNFULFILLED, PARTIAL, SHIPPED, DELIVERED]
    assert shop.status is OrderStatus.PAID


def test_a_parcel_tells_what_is_in_it() -> None:
    shipped = rules.ship(paid(), to_ship(MUGS, tracking="00340434"), "shp_1", CHANGE)

    [shipment] = shipped.shipments
    assert shipped.events == (ParcelShipped(order=shipped.snapshot(), shipment=shipment.view()),)
    assert shipped.fulfillment.tracking == "00340434"
    assert shipped.version == paid().version + 1


@pytest.mark.parametrize(
    "unpaid", [order(), stored(money_rules.cancel(order(), CHANGE, reason=WHY))]
)
def test_only_a_paid_order_is_shipped(unpaid: Order) -> None:
    with pytest.raises(NotPaid, match=unpaid.status):
        rules.ship(unpaid, to_ship(SPOON), "shp_1", CHANGE)


@pytest.mark.parametrize("lines", [[("prd_1", 3)], [MUGS, ("prd_1", 1)], [("prd_9", 1)]])
def test_no_more_is_shipped_than_was_ordered(lines: list[tuple[str, int]]) -> None:
    with pytest.raises(NothingLeftToShip) as refused:
        rules.ship(paid(), to_ship(*lines), "shp_1", CHANGE)

    assert [error.field for error in refused.value.errors] == ["lines[0]"]


def test_nothing_is_left_to_ship_of_an_order_that_is_shipped() -> None:
    with pytest.raises(NothingLeftToShip):
        rules.ship(ship(paid(), MUGS, SPOON), to_ship(SPOON), "shp_2", CHANGE)


def test_the_same_key_ships_once() -> None:
    request = to_ship(SPOON)
    once = stored(rules.ship(paid(), request, "shp_1", CHANGE))

    assert rules.ship(once, request, "shp_2", CHANGE) is once
    with pytest.raises(IdempotencyKeyReused):
        rules.ship(once, msgspec.structs.replace(request, body_hash="other"), "shp_2", CHANGE)


def test_an_order_has_a_hundred_parcels_at_most() -> None:
    full = ship(paid(), SPOON)
    full: Order = msgspec.structs.replace(full, shipments=full.shipments * 100)

    with pytest.raises(TooManyShipments):
        rules.ship(full, to_ship(MUGS), "shp_2", CHANGE)


def test_cash_ships_whole_and_ends_the_deadline() -> None:
    with pytest.raises(CashShipsWhole):
        rules.ship(in_cash(), to_ship(MUGS), "shp_1", CHANGE)
    shipped = ship(in_cash(), MUGS, SPOON)

    assert (shipped.status, shipped.expires_at) == (OrderStatus.AWAITING_PAYMENT, None)
    assert money_rules.with_deadline(shipped, CASH_DEADLINE, CHANGE) is shipped
    assert money_rules.expire(shipped, CHANGE) is shipped


@pytest.mark.parametrize("actor", [OWNER, ADMIN])
def test_a_shipped_cash_order_cannot_be_canceled(actor: Actor) -> None:
    shipped = ship(in_cash(), MUGS, SPOON)

    with pytest.raises(InvalidTransition, match="shipped"):
        cancel(shipped, actor)


def test_the_cash_of_a_shipped_order_is_not_given_up() -> None:
    with pytest.raises(OrderShipped):
        rules.give_up_cash(ship(in_cash(), MUGS, SPOON), "pay_6", CHANGE)


def test_an_order_whose_cash_was_given_up_is_not_shipped() -> None:
    given_up = stored(rules.give_up_cash(in_cash(), "pay_6", CHANGE))

    with pytest.raises(NotPaid):
        rules.ship(given_up, to_ship(MUGS, SPOON), "shp_1", CHANGE)
    assert given_up.expires_at == given_up.pay_by
    assert rules.give_up_cash(given_up, "pay_6", CHANGE) is given_up
    assert money_rules.payment_canceled(given_up, payment_given_up(), CHANGE) is given_up


def test_a_cancellation_of_cash_that_did_not_ask_sets_no_deadline_on_a_shipped_order() -> None:
    shipped = ship(in_cash(), MUGS, SPOON)

    assert money_rules.payment_canceled(shipped, payment_given_up(), CHANGE).expires_at is None


def test_cash_is_confirmed_after_the_delivery() -> None:
    at_the_door = deliver(ship(in_cash(), MUGS, SPOON))
    confirmed = money_rules.pay(at_the_door, money_captured("pay_6"), CHANGE)

    assert confirmed.status is OrderStatus.PAID
    assert confirmed.fulfillment.status is DELIVERED


def test_a_parcel_refused_at_the_door_cancels_the_order() -> None:
    refused = rules.fail_delivery(ship(in_cash(), MUGS, SPOON), to_fail(), CHANGE)

    assert (refused.status, refused.fulfillment.status) == (OrderStatus.CANCELED, RETURNED)
    assert [type(event) for event in refused.events] == [DeliveryFailed, OrderCanceled]
    again = stored(refused)
    assert rules.fail_delivery(again, to_fail(), CHANGE) is again


def test_a_parcel_that_comes_back_is_shipped_again() -> None:
    back = stored(rules.fail_delivery(ship(paid(), MUGS, SPOON), to_fail(), CHANGE))

    assert (back.status, back.fulfillment.status) == (OrderStatus.PAID, UNFULFILLED)
    assert ship(back, MUGS, SPOON, id="shp_2").fulfillment.status is SHIPPED


def test_a_paid_order_whose_only_parcel_came_back_is_canceled_as_a_whole() -> None:
    back = stored(rules.fail_delivery(ship(paid(), SPOON), to_fail(), CHANGE))

    assert cancel(back).status is OrderStatus.CANCELED


def test_a_delivered_parcel_does_not_fail_and_a_failed_one_is_not_delivered() -> None:
    arrived = delivered()
    back = stored(rules.fail_delivery(ship(paid(), SPOON), to_fail(), CHANGE))

    with pytest.raises(InvalidTransition, match="return"):
        rules.fail_delivery(arrived, to_fail(), CHANGE)
    with pytest.raises(InvalidTransition, match="failed"):
        rules.deliver(back, to_deliver(), CHANGE)
    assert rules.deliver(arrived, to_deliver(), CHANGE) is arrived


def test_a_parcel_of_another_order_is_not_found() -> None:
    with pytest.raises(ShipmentNotFound):
        rules.deliver(paid(), to_deliver(), CHANGE)


def test_a_delivery_is_told() -> None:
    arrived = rules.deliver(ship(paid(), SPOON), to_deliver(), CHANGE)

    [event] = arrived.events
    assert isinstance(event, ParcelDelivered)
    assert event.shipment.status is ShipmentStatus.DELIVERED
    assert event.shipment.delivered_at == CHANGE.at


def test_an_admin_calls_off_what_is_not_shipped_and_its_price_is_refunded() -> None:
    rest = cancel(ship(paid(), ("prd_1", 1)))

    assert (rest.status, rest.fulfillment.status) == (OrderStatus.PAID, SHIPPED)
    [gone] = rest.called_off
    assert {line.product_id: line.quantity for line in gone.lines} == {"prd_1": 1, "prd_2": 1}
    told, due = rest.events
    assert isinstance(told, PiecesCalledOff)
    assert due == OrderRefundDue(
        order_id=rest.id,
        payment_id="pay_1",
        amount=A_MUG + A_SPOON,
        reason=WHY,
        refund_id="rfd_1",
    )
    again = stored(rest)
    assert cancel(again) is again


def test_the_rest_of_a_refunded_order_is_called_off_and_nothing_more_is_refunded() -> None:
    refunded = money_rules.refunded(ship(paid(), ("prd_1", 1)), money_returned(), CHANGE)

    rest = cancel(stored(refunded))

    assert (rest.status, rest.fulfillment.status) == (OrderStatus.REFUNDED, SHIPPED)
    [gone] = rest.called_off
    assert (gone.refund_id, gone.amount) == (None, None)
    assert [type(event) for event in rest.events] == [PiecesCalledOff]
    with pytest.raises(ReasonRequired):
        cancel(stored(refunded), reason=None)


def test_only_an_admin_with_a_reason_calls_off_a_rest() -> None:
    partly = ship(paid(), SPOON)

    with pytest.raises(InvalidTransition, match="shipped"):
        cancel(partly, OWNER)
    with pytest.raises(OrderNotFound):
        cancel(partly, STRANGER)
    with pytest.raises(ReasonRequired):
        cancel(partly, reason=None)


def test_an_order_that_is_all_shipped_is_returned_and_not_canceled() -> None:
    with pytest.raises(InvalidTransition, match="return"):
        cancel(ship(paid(), MUGS, SPOON))


def test_an_order_of_which_nothing_is_shipped_is_canceled_as_ever() -> None:
    assert cancel(paid()).status is OrderStatus.CANCELED
    assert cancel(order(), OWNER, None).status is OrderStatus.CANCELED


def test_goods_that_are_gone_do_not_cancel_an_order_that_is_shipped() -> None:
    shipped = ship(paid(), SPOON)

    assert money_rules.out_of_stock(shipped, CHANGE) is shipped


def test_a_return_is_asked_for_accepted_received_and_paid_back() -> None:
    asked = rules.request_return(delivered(), to_return(MUGS), "ret_1", RETURN_WINDOW, CHANGE)
    yes = rules.decide_return(stored(asked), to_decide(accepted=True), CHANGE)
    done = rules.receive_return(stored(yes), to_receive(("prd_1", 1, 1)), CHANGE)

    assert [type(event) for event in (*asked.events, *yes.events)] == [
        ReturnRequested,
        ReturnAccepted,
    ]
    told, due = done.events
    assert isinstance(told, ReturnReceived)
    assert due == OrderRefundDue(
        order_id=done.id, payment_id="pay_1", amount=A_MUG * 2, reason=WHY, refund_id="rfd_1"
    )
    [line] = told.returned.lines
    assert (line.quantity, line.restocked, line.written_off) == (2, 1, 1)
    assert (told.returned.refund_id, told.returned.amount) == ("rfd_1", A_MUG * 2)
    assert done.fulfillment.status is DELIVERED


def test_an_order_of_which_all_came_back_is_returned() -> None:
    mugs = stored(returned(delivered(), ("prd_1", 2, 0)))
    assert returned(mugs, ("prd_2", 0, 1), id="ret_2").fulfillment.status is RETURNED


def test_what_was_never_shipped_or_not_delivered_is_not_returned() -> None:
    for some in (paid(), ship(paid(), MUGS, SPOON), deliver(ship(paid(), MUGS))):
        with pytest.raises(NothingToReturn) as refused:
            ask(some, SPOON)
        assert [error.field for error in refused.value.errors] == ["lines[0]"]


def test_a_piece_is_in_one_return() -> None:
    asked = ask(delivered(), ("prd_1", 1))

    with pytest.raises(NothingToReturn):
        ask(asked, MUGS, id="ret_2")
    declined = stored(rules.decide_return(asked, to_decide(accepted=False), CHANGE))
    assert len(ask(declined, MUGS, id="ret_2").returns) == 2


def test_pieces_that_did_not_arrive_can_be_returned_later() -> None:
    one_of_two = rules.receive_return(
        accepted(delivered(), MUGS), to_receive(("prd_1", 1, 0)), CHANGE
    )

    assert len(ask(stored(one_of_two), ("prd_1", 1), id="ret_2").returns) == 2


def test_a_return_that_arrives_empty_pays_nothing_back() -> None:
    empty = rules.receive_return(accepted(delivered(), MUGS), to_receive(), CHANGE)

    assert [type(event) for event in empty.events] == [ReturnReceived]
    assert empty.returns[0].refund_id is None


def test_no_more_arrives_than_was_sent() -> None:
    with pytest.raises(NothingToReturn):
        rules.receive_return(accepted(delivered(), MUGS), to_receive(("prd_1", 2, 1)), CHANGE)


def test_a_return_is_received_once() -> None:
    request = to_receive(("prd_1", 2, 0))
    once = stored(rules.receive_return(accepted(delivered(), MUGS), request, CHANGE))

    assert rules.receive_return(once, request, CHANGE) is once
    other = msgspec.structs.replace(request, body_hash="other")
    with pytest.raises(IdempotencyKeyReused):
        rules.receive_return(once, other, CHANGE)
    with pytest.raises(InvalidTransition, match="RECEIVED"):
        rules.receive_return(once, to_receive(("prd_1", 2, 0)), CHANGE)


def test_a_return_is_accepted_before_it_is_received() -> None:
    with pytest.raises(InvalidTransition, match="REQUESTED"):
        rules.receive_return(ask(delivered(), MUGS), to_receive(("prd_1", 1, 0)), CHANGE)
    with pytest.raises(ReturnNotFound):
        rules.receive_return(delivered(), to_receive(), CHANGE)


def test_an_accepted_return_that_never_came_is_declined() -> None:
    never_came = rules.decide_return(accepted(delivered(), MUGS), to_decide(accepted=False), CHANGE)

    [event] = never_came.events
    assert isinstance(event, ReturnDeclined)
    with pytest.raises(InvalidTransition):
        rules.decide_return(stored(never_came), to_decide(accepted=True), CHANGE)


def test_a_return_is_taken_until_the_window_closes() -> None:
    last_moment = msgspec.structs.replace(CHANGE, at=CHANGE.at + RETURN_WINDOW)
    too_late = msgspec.structs.replace(last_moment, at=last_moment.at + timedelta(microseconds=1))
    request = to_return(SPOON)

    in_time = rules.request_return(delivered(), request, "ret_1", RETURN_WINDOW, last_moment)

    assert in_time.returns[0].status is ReturnStatus.REQUESTED
    with pytest.raises(ReturnWindowClosed, match="30 days"):
        rules.request_return(delivered(), request, "ret_1", RETURN_WINDOW, too_late)


def test_only_the_owner_and_admins_ask_for_a_return() -> None:
    request = to_return(SPOON, actor=STRANGER)

    with pytest.raises(OrderNotFound):
        rules.request_return(delivered(), request, "ret_1", RETURN_WINDOW, CHANGE)
    by_phone = to_return(SPOON, actor=ADMIN)
    asked = rules.request_return(delivered(), by_phone, "ret_1", RETURN_WINDOW, CHANGE)
    assert len(asked.returns) == 1


def test_what_was_not_paid_for_is_not_returned() -> None:
    with pytest.raises(NotPaid):
        ask(deliver(ship(in_cash(), MUGS, SPOON)), SPOON)


def test_an_order_has_fifty_returns_at_most() -> None:
    asked = ask(delivered(), SPOON)
    declined = stored(rules.decide_return(asked, to_decide(accepted=False), CHANGE))
    full: Order = msgspec.structs.replace(declined, returns=declined.returns * 50)

    with pytest.raises(TooManyReturns):
        ask(full, SPOON, id="ret_2")
