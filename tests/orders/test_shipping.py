"""Shipping, calling off and returning, on the real MongoDB, with the real handlers of products."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from cartwheel.contracts.fulfilment import (
    DeliveryFailed,
    GetReturn,
    GetShipment,
    GiveUpCash,
    NotPaid,
    ParcelShipped,
    PiecesCalledOff,
    ReturnReceived,
    ShipmentNotFound,
)
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import (
    FulfillmentStatus,
    InvalidTransition,
    OrderCanceled,
    OrderNotFound,
    OrderPaid,
    OrderStatus,
    OrderView,
)
from cartwheel.contracts.products import Stock
from cartwheel.kernel import CloudEvent, Created, Event
from cartwheel.kernel.errors import Forbidden
from cartwheel.kernel.mongodb import Client, Database, Outboxes
from cartwheel.orders.domain.order import CASH_DEADLINE
from cartwheel.orders.handlers import returning, shipping
from cartwheel.orders.mongo import MongoOrders
from cartwheel.products.handlers import stock as stock_handlers
from cartwheel.products.mongo.reservations import MongoReservations

from .conftest import Orders, Shelf
from .examples import ADDRESS, AT, ZOE, captured, now, pending, place
from .goods import (
    ADMIN,
    OWNER,
    WHY,
    to_decide,
    to_deliver,
    to_fail,
    to_receive,
    to_return,
    to_ship,
)

STRANGER = Actor(user_id="user-eve")
WINDOW = timedelta(days=30)
KINDS: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        OrderPaid,
        OrderCanceled,
        ParcelShipped,
        DeliveryFailed,
        PiecesCalledOff,
        ReturnReceived,
    )
}


class Warehouse:
    """Products, which hears what orders tells."""

    def __init__(self, orders: Orders, reservations: MongoReservations) -> None:
        self._orders = orders
        self._reservations = reservations

    async def hears_of(self, order_id: str) -> None:
        """Deliver all events of the order, the way RabbitMQ would."""
        for stored in (await self._orders.document(order_id))["outbox"]:
            kind = KINDS.get(stored["type"])
            if kind is None:
                continue
            event: CloudEvent[Any] = CloudEvent(
                id=stored["id"],
                type=stored["type"],
                source="orders",
                subject=order_id,
                sequence=stored["sequence"],
                time=AT,
                data=msgspec.json.decode(stored["data"], type=kind),
            )
            handler: Any = stock_handlers.fulfil
            if kind is OrderPaid:
                handler = stock_handlers.commit_stock
            elif kind is OrderCanceled:
                handler = stock_handlers.release_stock
            await handler([event], reservations=self._reservations, now=now)


@pytest.fixture
def warehouse(orders: Orders, client: Client, products_database: Database) -> Warehouse:
    return Warehouse(orders, MongoReservations(client, products_database, Outboxes()))


@pytest.fixture
async def mug(shelf: Shelf) -> str:
    return await shelf.add(stock=10)


@pytest.fixture
async def paid(orders: Orders, mug: str) -> OrderView:
    """Two mugs."""
    order = await orders.placed(place((mug, 2), user=ZOE, address=ADDRESS))
    await orders.captured(captured(order.id, "pay_1", order.total))
    return await orders.view(order.id)


async def ship(orders: Orders, order: OrderView, quantity: int) -> str:
    request = to_ship((order.lines[0].product_id, quantity), order_id=order.id)
    return (
        await shipping.ship_order(request, orders=orders.orders, bus=orders.bus, now=now)
    ).made.id


async def test_ship_and_cancel_at_once_a_hundred_times(
    orders: Orders, shelf: Shelf, warehouse: Warehouse
) -> None:
    """One of them each time, and the books balance."""
    mug = await shelf.add(stock=200)
    other = orders._replace(orders=MongoOrders(orders.database, Outboxes()))
    placed = [await orders.placed(place((mug, 2), user=ZOE, address=ADDRESS)) for _ in range(100)]
    shipped = 0
    for number, order in enumerate(placed):
        await orders.captured(captured(order.id, f"pay_{number}", order.total))

        first, second = (orders, other) if number % 2 else (other, orders)
        sent, canceled = await asyncio.gather(
            ship(first, order, 2), second.cancel(order.id, ADMIN, WHY), return_exceptions=True
        )

        after = await orders.view(order.id)
        if isinstance(sent, str):
            shipped += 1
            assert isinstance(canceled, InvalidTransition)
            assert (after.status, len(after.shipments)) == (OrderStatus.PAID, 1)
        else:
            assert isinstance(sent, NotPaid)
            assert isinstance(canceled, OrderView)
            assert (after.status, after.shipments) == (OrderStatus.CANCELED, [])
        await warehouse.hears_of(order.id)
    assert await shelf.stock(mug) == Stock(available=200 - 2 * shipped, sold=2 * shipped)


async def test_a_partly_shipped_order_is_canceled_by_calling_off_the_rest(
    orders: Orders, shelf: Shelf, warehouse: Warehouse, mug: str, paid: OrderView
) -> None:
    await ship(orders, paid, 1)
    rest = await orders.cancel(paid.id, ADMIN, WHY)
    again = await orders.cancel(paid.id, ADMIN, WHY)

    assert again == rest
    assert (rest.status, rest.fulfillment.status) == (OrderStatus.PAID, FulfillmentStatus.SHIPPED)
    told = await orders.told(paid.id)
    assert told[1:] == ["order.shipped.v1", "order.called_off.v1", "order.refund_due.v1"]
    await warehouse.hears_of(paid.id)
    assert await shelf.stock(mug) == Stock(available=9, sold=1)


@pytest.mark.parametrize("arrived", [False, True])
async def test_a_shipped_order_stays_paid(orders: Orders, paid: OrderView, arrived: bool) -> None:
    parcel = await ship(orders, paid, 2)
    if arrived:
        await shipping.report_delivered(to_deliver(parcel, paid.id), orders=orders.orders, now=now)
    shipped = await orders.view(paid.id)

    with pytest.raises(InvalidTransition):
        await orders.cancel(paid.id, ADMIN, WHY)

    assert await orders.view(paid.id) == shipped
    assert shipped.status is OrderStatus.PAID


async def test_a_return_brings_back_what_can_be_sold_again(
    orders: Orders, shelf: Shelf, warehouse: Warehouse, mug: str, paid: OrderView
) -> None:
    parcel = await ship(orders, paid, 2)
    await shipping.report_delivered(to_deliver(parcel, paid.id), orders=orders.orders, now=now)
    asked = to_return((mug, 2), order_id=paid.id, key="a key")
    first, again = [
        await returning.request_return(asked, orders=orders.orders, window=WINDOW, now=now)
        for _ in range(2)
    ]
    assert again == Created(made=first.made, replayed=True)
    made = first.made.id

    yes = to_decide(accepted=True, return_id=made, order_id=paid.id)
    await returning.decide_return(yes, orders=orders.orders, now=now)
    arrived = to_receive((mug, 1, 1), return_id=made, order_id=paid.id)
    await asyncio.gather(
        *(returning.receive_return(arrived, orders=orders.orders, now=now) for _ in range(5))
    )

    after = await orders.view(paid.id)
    assert after.fulfillment.status is FulfillmentStatus.RETURNED
    assert (await orders.told(paid.id)).count("order.refund_due.v1") == 1
    for _ in range(2):
        await warehouse.hears_of(paid.id)
    assert await shelf.stock(mug) == Stock(available=9, sold=1)


async def test_a_parcel_refused_at_the_door_brings_everything_back(
    orders: Orders, shelf: Shelf, warehouse: Warehouse, mug: str
) -> None:
    order = await orders.placed(place((mug, 2), user=ZOE, address=ADDRESS))
    await orders.pending(pending(order.id, payment_id="pay_9"))
    parcel = await ship(orders, order, 2)
    await warehouse.hears_of(order.id)
    at_the_door = await shelf.stock(mug)
    await orders.expire(AT + 2 * CASH_DEADLINE)
    await orders.date_older(AT)

    await shipping.report_delivery_failed(to_fail(parcel, order.id), orders=orders.orders, now=now)

    assert at_the_door == Stock(available=8, sold=2)
    after = await orders.view(order.id)
    assert (after.status, after.fulfillment.status) == (
        OrderStatus.CANCELED,
        FulfillmentStatus.RETURNED,
    )
    await warehouse.hears_of(order.id)
    assert await shelf.stock(mug) == Stock(available=10)


async def test_parcels_and_returns_are_seen_by_the_owner_and_by_admins(
    orders: Orders, paid: OrderView
) -> None:
    parcel = await ship(orders, paid, 2)

    for actor in (OWNER, ADMIN):
        request = GetShipment(order_id=paid.id, shipment_id=parcel, actor=actor)
        assert (await shipping.get_shipment(request, orders=orders.orders)).id == parcel
    hidden = GetShipment(order_id=paid.id, shipment_id=parcel, actor=STRANGER)
    with pytest.raises(OrderNotFound):
        await shipping.get_shipment(hidden, orders=orders.orders)
    a_return = GetReturn(order_id=paid.id, return_id="ret_1", actor=STRANGER)
    with pytest.raises(OrderNotFound):
        await returning.get_return(a_return, orders=orders.orders)
    none = GetShipment(order_id=paid.id, shipment_id="shp_none", actor=OWNER)
    with pytest.raises(ShipmentNotFound):
        await shipping.get_shipment(none, orders=orders.orders)


async def test_only_admins_ship_and_decide_and_only_services_give_up_cash(
    orders: Orders, paid: OrderView
) -> None:
    def by(request: Any, actor: Actor) -> Any:
        return msgspec.structs.replace(request, actor=actor)

    mine = by(to_ship((paid.lines[0].product_id, 1), order_id=paid.id), OWNER)
    with pytest.raises(Forbidden):
        await shipping.ship_order(mine, orders=orders.orders, bus=orders.bus, now=now)
    with pytest.raises(Forbidden):
        await shipping.report_delivered(by(to_deliver(), OWNER), orders=orders.orders)
    with pytest.raises(Forbidden):
        await shipping.report_delivery_failed(by(to_fail(), OWNER), orders=orders.orders)
    with pytest.raises(Forbidden):
        await returning.decide_return(by(to_decide(accepted=True), OWNER), orders=orders.orders)
    with pytest.raises(Forbidden):
        await returning.receive_return(by(to_receive(), OWNER), orders=orders.orders)
    cash = GiveUpCash(order_id=paid.id, payment_id="pay_1", canceled_by="me", actor=ADMIN)
    with pytest.raises(Forbidden):
        await shipping.give_up_cash(cash, orders=orders.orders)

    assert await orders.view(paid.id) == paid
