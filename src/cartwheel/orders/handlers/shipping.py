"""Shipping an order, and what becomes of its parcels."""

from cartwheel.contracts.fulfilment import (
    GetShipment,
    GiveUpCash,
    ReportDelivered,
    ReportDeliveryFailed,
    ShipOrder,
)
from cartwheel.contracts.identity import require_admin, require_service
from cartwheel.contracts.parcels import ShipmentView
from cartwheel.kernel import Change, Clock, Created, new_id, utc_now
from cartwheel.orders.domain import fulfilment as rules
from cartwheel.orders.handlers.reading import visible
from cartwheel.orders.ports import Orders


async def ship_order(
    request: ShipOrder, *, orders: Orders, now: Clock = utc_now
) -> Created[ShipmentView]:
    require_admin(request.actor, "ship orders")
    by = Change(by=request.actor.user_id, at=now())
    shipment_id = new_id("shp")
    order = await orders.change(request.order_id, rules.ship, request, shipment_id, by=by)
    [made] = [each for each in order.shipments if request.request_id in each.requests]
    return Created(made=made.view(), replayed=made.id != shipment_id)


async def get_shipment(request: GetShipment, *, orders: Orders) -> ShipmentView:
    order = await visible(request, orders)
    return rules.shipment_of(order, request.shipment_id).view()


async def report_delivered(
    request: ReportDelivered, *, orders: Orders, now: Clock = utc_now
) -> ShipmentView:
    require_admin(request.actor, "report deliveries")
    by = Change(by=request.actor.user_id, at=now())
    order = await orders.change(request.order_id, rules.deliver, request, by=by)
    return rules.shipment_of(order, request.shipment_id).view()


async def report_delivery_failed(
    request: ReportDeliveryFailed, *, orders: Orders, now: Clock = utc_now
) -> ShipmentView:
    require_admin(request.actor, "report deliveries")
    by = Change(by=request.actor.user_id, at=now())
    order = await orders.change(request.order_id, rules.fail_delivery, request, by=by)
    return rules.shipment_of(order, request.shipment_id).view()


async def give_up_cash(request: GiveUpCash, *, orders: Orders, now: Clock = utc_now) -> None:
    require_service(request.actor, "give up a payment for its customer")
    by = Change(by=request.canceled_by, at=now())
    await orders.change(request.order_id, rules.give_up_cash, request.payment_id, by=by)
