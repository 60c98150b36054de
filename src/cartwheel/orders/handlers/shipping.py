"""Shipping an order, and what becomes of its parcels."""

from cartwheel.contracts.fulfilment import (
    CallOffPieces,
    GetShipment,
    GiveUpCash,
    ReportDelivered,
    ReportDeliveryFailed,
    ShipOrder,
)
from cartwheel.contracts.identity import Actor, require_admin, require_service
from cartwheel.contracts.orders import OrderView
from cartwheel.contracts.parcels import ShipmentView
from cartwheel.contracts.payments import CapturePayment
from cartwheel.kernel import Bus, Change, Clock, Created, new_id, utc_now
from cartwheel.orders.domain import authorized
from cartwheel.orders.domain import fulfilment as rules
from cartwheel.orders.handlers.reading import visible
from cartwheel.orders.ports import Orders

ACTOR = Actor.service("orders")


async def ship_order(
    request: ShipOrder, *, orders: Orders, bus: Bus, now: Clock = utc_now
) -> Created[ShipmentView]:
    """Record a parcel. If the order is AUTHORIZED, payments captures what is due first (ADR 24).

    If this process dies after that, the capture's event makes the order PAID, and the repeat of the
    request records the parcel.

    Raises:
        CaptureFailed: nothing was captured, and nothing leaves.
    """
    require_admin(request.actor, "ship orders")
    by = Change(by=request.actor.user_id, at=now())
    shipment_id = new_id("shp")
    order = await orders.get(request.order_id)
    payment_id = authorized.to_capture(order, request, shipment_id, by)
    if payment_id is None:
        order = await orders.change(request.order_id, rules.ship, request, shipment_id, by=by)
    else:
        captured = await bus.request(
            CapturePayment(
                payment_id=payment_id,
                amount=order.due,
                wanted_by=request.actor.user_id,
                actor=ACTOR,
            )
        )
        order = await orders.change(
            request.order_id,
            authorized.ship_captured,
            request,
            shipment_id,
            payment_id,
            captured,
            by=by,
        )
    [made] = [each for each in order.shipments if request.request_id in each.requests]
    return Created(made=made.view(), replayed=made.id != shipment_id)


async def call_off_pieces(
    request: CallOffPieces, *, orders: Orders, now: Clock = utc_now
) -> OrderView:
    require_admin(request.actor, "call off pieces")
    by = Change(by=request.actor.user_id, at=now())
    order = await orders.change(request.order_id, rules.call_off, request, new_id("cof"), by=by)
    return order.view()


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
