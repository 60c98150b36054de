"""`cartwheel ship` and `cartwheel returns`: an order's parcels, and what comes back of them."""

from collections.abc import Sequence

import msgspec
from rich.console import Console

from cartwheel.contracts.fulfilment import (
    DecideReturn,
    Received,
    ReceiveReturn,
    ReportDelivered,
    ReportDeliveryFailed,
    ShipOrder,
)
from cartwheel.contracts.orders import OrderView
from cartwheel.contracts.parcels import Pieces, ReturnView, ShipmentStatus, ShipmentView
from cartwheel.operations import asking, tables
from cartwheel.operations.orders import found
from cartwheel.operations.reaching import BusSettings
from cartwheel.operations.tables import Column

_COLUMNS = (
    Column("return"),
    Column("status"),
    Column("asked at"),
    Column("pieces"),
    Column("reason", prose=True),
)


async def shipped(
    settings: BusSettings,
    which: str,
    *,
    lines: Sequence[Pieces],
    carrier: str | None,
    tracking: str | None,
    key: str | None,
) -> ShipmentView:
    """Ship `lines` of the order with this number or id; without lines, all that is left.

    Raises:
        Refusal: as `ShipOrder` says.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        answer = await asks.request(
            ShipOrder(
                request_id=asking.request_id(actor, key),
                body_hash=asking.body_hash("ship", order.id, lines, carrier, tracking),
                order_id=order.id,
                lines=list(lines) or _left(order),
                carrier=carrier,
                tracking=tracking,
                actor=actor,
            )
        )
    return answer.made


async def delivered(settings: BusSettings, which: str, shipment_id: str) -> ShipmentView:
    """Record that the parcel has arrived.

    Raises:
        Refusal: as `ReportDelivered` says.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        return await asks.request(
            ReportDelivered(
                request_id=asking.request_id(actor, None),
                body_hash=asking.body_hash("delivered", shipment_id),
                order_id=order.id,
                shipment_id=shipment_id,
                actor=actor,
            )
        )


async def delivery_failed(
    settings: BusSettings, which: str, shipment_id: str, *, reason: str
) -> ShipmentView:
    """Record that the parcel is back, undelivered.

    Raises:
        Refusal: as `ReportDeliveryFailed` says.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        return await asks.request(
            ReportDeliveryFailed(
                request_id=asking.request_id(actor, None),
                body_hash=asking.body_hash("delivery failed", shipment_id, reason),
                order_id=order.id,
                shipment_id=shipment_id,
                reason=reason,
                actor=actor,
            )
        )


async def returns(settings: BusSettings, which: str) -> list[ReturnView]:
    """Return the returns of the order with this number or id, oldest first.

    Raises:
        OrderNotFound: there is no such order.
    """
    async with asking.bus(settings) as asks:
        return (await found(asks, which)).returns


async def decided(
    settings: BusSettings, which: str, return_id: str, *, accepted: bool, note: str | None
) -> ReturnView:
    """Accept or decline the return.

    Raises:
        Refusal: as `DecideReturn` says.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        return await asks.request(
            DecideReturn(
                request_id=asking.request_id(actor, None),
                body_hash=asking.body_hash("decide", return_id, accepted, note),
                order_id=order.id,
                return_id=return_id,
                accepted=accepted,
                note=note,
                actor=actor,
            )
        )


async def received(
    settings: BusSettings, which: str, return_id: str, *, lines: list[Received], key: str | None
) -> ReturnView:
    """Record what has arrived of the return.

    Raises:
        Refusal: as `ReceiveReturn` says.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        return await asks.request(
            ReceiveReturn(
                request_id=asking.request_id(actor, key),
                body_hash=asking.body_hash("receive", return_id, lines),
                order_id=order.id,
                return_id=return_id,
                lines=lines,
                actor=actor,
            )
        )


def show_json(value: ShipmentView | ReturnView | list[ReturnView], console: Console) -> None:
    console.out(msgspec.json.encode(value).decode(), highlight=False)


def show_returns(listed: list[ReturnView], console: Console) -> None:
    tables.show(_COLUMNS, [_row(each) for each in listed], console)


def _row(each: ReturnView) -> tuple[str, ...]:
    pieces = ", ".join(f"{line.quantity} of {line.product_id}" for line in each.lines)
    return (each.id, each.status, f"{each.requested_at:%Y-%m-%d %H:%M:%S}", pieces, each.reason)


def _left(order: OrderView) -> list[Pieces]:
    """Return the pieces that are neither shipped nor called off."""
    left = {line.product_id: line.quantity for line in order.lines}
    parcels = [each for each in order.shipments if each.status is not ShipmentStatus.FAILED]
    for gone in (*parcels, *order.called_off):
        for line in gone.lines:
            left[line.product_id] -= line.quantity
    return [
        Pieces(product_id=product_id, quantity=quantity)
        for product_id, quantity in left.items()
        if quantity
    ]
