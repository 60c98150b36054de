"""Showing orders."""

import msgspec

from cartwheel.contracts import fulfilment
from cartwheel.contracts.fulfilment import GetReturn, GetShipment
from cartwheel.contracts.identity import require_service, whose
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    EVENTS,
    GetOrder,
    GetOrderStatuses,
    GetPriceOfPieces,
    GetTimeline,
    ListOrders,
    OrderNotFound,
    OrderState,
    OrderView,
)
from cartwheel.contracts.timeline import TimelineEntry, sentence
from cartwheel.kernel import Page
from cartwheel.kernel.errors import Refusal
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import Order
from cartwheel.orders.ports import Orders


async def get_orders(requests: list[GetOrder], *, orders: Orders) -> list[OrderView | Refusal]:
    found = await orders.get_many([request.order_id for request in requests])
    return [
        order.view()
        if (order := found.get(request.order_id)) and order.may_be_seen_by(request.actor)
        else OrderNotFound("There is no such order.")
        for request in requests
    ]


async def list_orders(request: ListOrders, *, orders: Orders) -> Page[OrderView]:
    user_id = whose(request.actor, request.user_id)
    return await orders.page(msgspec.structs.replace(request, user_id=user_id))


async def get_timeline(request: GetTimeline, *, orders: Orders) -> list[TimelineEntry]:
    order = await visible(request, orders)
    return [
        msgspec.structs.replace(entry, text=_TEXTS.get(entry.type))
        for entry in await orders.timeline(order.id)
    ]


async def visible(request: GetTimeline | GetShipment | GetReturn, orders: Orders) -> Order:
    """Return the order that `request` is about.

    Raises:
        OrderNotFound: there is none, or the actor must not see it.
    """
    order = await orders.get(request.order_id)
    if not order.may_be_seen_by(request.actor):
        raise OrderNotFound("There is no such order.")
    return order


_TEXTS = {event.type: sentence(event) for event in (*EVENTS, *fulfilment.EVENTS)}


async def get_price_of_pieces(request: GetPriceOfPieces, *, orders: Orders) -> Money:
    require_service(request.actor, "ask for the price of pieces")
    return rules.price_of(await orders.get(request.order_id), request.pieces)


async def get_order_statuses(request: GetOrderStatuses, *, orders: Orders) -> list[OrderState]:
    require_service(request.actor, "ask for the status of orders")
    found = await orders.get_many(request.order_ids)
    return [OrderState(order_id=order.id, status=order.status) for order in found.values()]
