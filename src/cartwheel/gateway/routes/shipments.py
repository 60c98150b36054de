"""An order's parcels. Administrators record what leaves, what arrives and what comes back."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from cartwheel.contracts import fulfilment as contract
from cartwheel.contracts.orders import OrderView
from cartwheel.contracts.parcels import Carrier, Reason, ShipmentView, Tracking
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.card import card_free
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import SignedIn, admin
from cartwheel.gateway.strict import SomePieces

MOST_LINES = 500
"""As many as an order may have."""

Lines = Annotated[list[SomePieces], Meta(min_length=1, max_length=MOST_LINES)]


class NewShipment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pieces in a parcel, and who carries it."""

    lines: Lines
    carrier: Carrier | None = None
    tracking: Tracking | None = None


class FailedDelivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a parcel came back."""

    reason: Reason


@post(
    "/",
    guards=[admin],
    opt=described(
        asks=contract.ShipOrder,
        body=NewShipment(
            lines=[SomePieces(product_id=examples.PRODUCT_ID, quantity=2)],
            carrier=examples.SHIPMENT.carrier,
            tracking=examples.SHIPMENT.tracking,
        ),
        answer=examples.SHIPMENT,
        returns="The parcel. The order's `shipments` lists it.",
        headers=CREATED,
    ),
)
async def ship_order(
    order_id: FromPath[str],
    data: JSONBody[NewShipment],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> Response[ShipmentView]:
    """Ship an order, or a part of it.

    For administrators. The order must be paid or authorized. The first parcel of an authorized
    order captures its total, and leaves only when that is captured; otherwise it is refused with
    409 `capture_failed`. An order that is paid in cash on delivery is shipped whole; from then on
    it has no deadline, and neither it nor its payment can be canceled. An order has at most 100
    parcels. The customer is mailed.
    """
    answer = await bus.request(
        contract.ShipOrder(
            request_id=request_id(identity, key),
            body_hash=body_hash(["ship", order_id, data]),
            order_id=order_id,
            lines=list(data.lines),
            carrier=data.carrier,
            tracking=data.tracking,
            actor=identity.actor,
        )
    )
    return created(answer, f"/api/v1/orders/{order_id}/shipments/{answer.made.id}")


class NewCallOff(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pieces that are never shipped, and why."""

    lines: Lines
    reason: Reason


@post(
    "/",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.CallOffPieces,
        body=NewCallOff(
            lines=[SomePieces(product_id=examples.PRODUCT_ID, quantity=1)], reason="Out of print."
        ),
        answer=examples.LESS_OF_AN_ORDER,
        returns="The order. Its `called_off` lists the pieces.",
    )
    | card_free("reason"),
)
async def call_off_pieces(
    order_id: FromPath[str],
    data: JSONBody[NewCallOff],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> OrderView:
    """Call off some pieces of an order whose money is reserved.

    For administrators. The order must be `AUTHORIZED`, and something must be left of it. The pieces
    are available again, and the first parcel captures the rest only. Of an order that is paid, the
    unshipped rest is called off by canceling it.
    """
    return await bus.request(
        contract.CallOffPieces(
            request_id=request_id(identity, key),
            body_hash=body_hash(["call off", order_id, data]),
            order_id=order_id,
            lines=list(data.lines),
            reason=data.reason,
            actor=identity.actor,
        )
    )


@get(
    "/{shipment_id:str}",
    opt=described(asks=contract.GetShipment, answer=examples.SHIPMENT, returns="The parcel."),
)
async def get_shipment(
    order_id: FromPath[str], shipment_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[ShipmentView]:
    """Show a parcel of an order."""
    return await handed_on(
        contract.GetShipment(order_id=order_id, shipment_id=shipment_id, actor=identity.actor), bus
    )


@post(
    "/{shipment_id:str}/delivered",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.ReportDelivered,
        answer=examples.DELIVERED,
        returns="The parcel, which is delivered.",
    ),
)
async def report_delivered(
    order_id: FromPath[str],
    shipment_id: FromPath[str],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> ShipmentView:
    """Record that a parcel has arrived.

    For administrators. The customer is mailed, and can ask to return the pieces from now on. May
    be repeated.
    """
    return await bus.request(
        contract.ReportDelivered(
            request_id=request_id(identity, key),
            body_hash=body_hash(["delivered", shipment_id]),
            order_id=order_id,
            shipment_id=shipment_id,
            actor=identity.actor,
        )
    )


@post(
    "/{shipment_id:str}/delivery-failed",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.ReportDeliveryFailed,
        body=FailedDelivery(reason="The customer refused the parcel."),
        answer=examples.FAILED,
        returns="The parcel, whose delivery has failed.",
    )
    | card_free("reason"),
)
async def report_delivery_failed(
    order_id: FromPath[str],
    shipment_id: FromPath[str],
    data: JSONBody[FailedDelivery],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> ShipmentView:
    """Record that a parcel could not be delivered, and is back.

    For administrators. If the order was to be paid at the door, it is canceled. The pieces of a
    paid order can be shipped again, or called off by canceling the order. May be repeated.
    """
    return await bus.request(
        contract.ReportDeliveryFailed(
            request_id=request_id(identity, key),
            body_hash=body_hash(["delivery failed", shipment_id, data]),
            order_id=order_id,
            shipment_id=shipment_id,
            reason=data.reason,
            actor=identity.actor,
        )
    )


call_offs = Router(
    "/orders/{order_id:str}/call-offs", route_handlers=[call_off_pieces], tags=["orders"]
)
router = Router(
    "/orders/{order_id:str}/shipments",
    route_handlers=[ship_order, get_shipment, report_delivered, report_delivery_failed],
    tags=["orders"],
)
