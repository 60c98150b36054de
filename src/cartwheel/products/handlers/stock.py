"""Reserving stock for orders, then selling or releasing it. Adjusting it joins in."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from cartwheel.contracts.fulfilment import (
    DeliveryFailed,
    ParcelShipped,
    PiecesCalledOff,
    ReturnReceived,
)
from cartwheel.contracts.idempotency import IdempotencyKeyReused, check_repeated
from cartwheel.contracts.identity import Actor, require_admin, require_service
from cartwheel.contracts.orders import (
    GetOrderStatuses,
    OrderCanceled,
    OrderPaid,
    OrderRejected,
    OrderStatus,
)
from cartwheel.contracts.parcels import Pieces
from cartwheel.contracts.products import (
    AdjustStock,
    Reservation,
    ReservedLine,
    ReserveStock,
    StockAdjustmentView,
)
from cartwheel.kernel import Bus, Clock, CloudEvent, Created, in_batches, utc_now
from cartwheel.kernel.errors import Refusal
from cartwheel.products.domain.adjustments import Adjustment
from cartwheel.products.domain.stock import (
    CalledOff,
    Ended,
    Gone,
    Moved,
    Restocked,
    StoredReservation,
)
from cartwheel.products.ports import Reservations

RELEASE_BATCH_SIZE = 100
ACTOR = Actor.service("products")
_WANTED = (
    OrderStatus.AWAITING_PAYMENT,
    OrderStatus.AUTHORIZED,
    OrderStatus.PAID,
    OrderStatus.REFUNDED,
)


async def change_stock(
    requests: Sequence[ReserveStock | AdjustStock],
    *,
    reservations: Reservations,
    now: Clock = utc_now,
) -> list[Reservation | Created[StockAdjustmentView] | Refusal]:
    """Reserve and adjust stock in one transaction, so that neither conflicts with the other."""
    reserving = [request for request in requests if isinstance(request, ReserveStock)]
    adjusting = [request for request in requests if isinstance(request, AdjustStock)]
    for request in reserving:
        require_service(request.actor, "reserve stock")
    for request in adjusting:
        require_admin(request.actor, "adjust stock")
    held, adjusted = await reservations.decide(reserving, adjusting, now=now)
    reserved = iter(map(_reserved, held))
    answers = iter(map(_adjusted, adjusting, adjusted))
    return [
        next(reserved) if isinstance(request, ReserveStock) else next(answers)
        for request in requests
    ]


def _reserved(outcome: StoredReservation | Refusal) -> Reservation | Refusal:
    if isinstance(outcome, Refusal):
        return outcome
    lines = [msgspec.convert(line, ReservedLine, from_attributes=True) for line in outcome.lines]
    return Reservation(order_id=outcome.id, body_hash=outcome.body_hash, lines=lines)


def _adjusted(
    request: AdjustStock, outcome: Adjustment | Refusal
) -> Created[StockAdjustmentView] | Refusal:
    if isinstance(outcome, Refusal):
        return outcome
    kept = (outcome.product_id, outcome.body_hash)
    try:
        check_repeated(kept, (request.product_id, request.body_hash), made="stock adjustment")
    except IdempotencyKeyReused as reused:
        return reused
    return Created(made=outcome.view(), replayed=not outcome.events)


async def commit_stock(
    events: list[CloudEvent[OrderPaid]], *, reservations: Reservations, now: Clock = utc_now
) -> list[None]:
    """Count the pieces of paid orders as sold."""
    await reservations.settle(
        [(event.subject, Ended.PAID, event.sequence) for event in events], now=now
    )
    return [None] * len(events)


async def release_stock(
    events: Sequence[CloudEvent[OrderRejected] | CloudEvent[OrderCanceled]],
    *,
    reservations: Reservations,
    now: Clock = utc_now,
) -> list[None]:
    """Make the pieces of rejected and canceled orders available again."""
    await reservations.settle(
        [(event.subject, Ended.CLOSED, event.sequence) for event in events], now=now
    )
    return [None] * len(events)


Fulfilled = (
    CloudEvent[ParcelShipped]
    | CloudEvent[DeliveryFailed]
    | CloudEvent[PiecesCalledOff]
    | CloudEvent[ReturnReceived]
)


async def fulfil(
    events: Sequence[Fulfilled], *, reservations: Reservations, now: Clock = utc_now
) -> list[None]:
    """Count the pieces that left or came back, each parcel, call-off and return once."""
    await reservations.fulfil(
        [(event.subject, _moved(event.data), event.sequence) for event in events], now=now
    )
    return [None] * len(events)


def _moved(told: ParcelShipped | DeliveryFailed | PiecesCalledOff | ReturnReceived) -> Moved:
    match told:
        case ParcelShipped(shipment=shipment):
            return Gone(id=shipment.id, pieces=_by_product(shipment.lines))
        case DeliveryFailed(shipment=shipment):
            return Gone(id=shipment.id, pieces=_by_product(shipment.lines), undone=True)
        case PiecesCalledOff(called_off=called_off):
            return CalledOff(id=called_off.id, pieces=_by_product(called_off.lines))
        case ReturnReceived(returned=returned):
            restocked = {line.product_id: line.restocked for line in returned.lines}
            return Restocked(id=returned.id, pieces=restocked)


def _by_product(lines: Sequence[Pieces]) -> dict[str, int]:
    return {line.product_id: line.quantity for line in lines}


async def release_abandoned(
    *, reservations: Reservations, bus: Bus, older_than: timedelta, now: Clock = utc_now
) -> None:
    """Release reservations whose order was never stored or is closed.

    A reservation does not simply time out. Orders is asked about old ones. If the order still
    awaits its payment, it keeps its stock, and is asked about again after the same time.
    """
    held = reservations.held(longer_than=older_than)

    async def ask(order_ids: list[str]) -> None:
        states = await bus.request(GetOrderStatuses(order_ids=order_ids, actor=ACTOR))
        wanted = {state.order_id for state in states if state.status in _WANTED}
        if idle := [order_id for order_id in order_ids if order_id not in wanted]:
            await reservations.release_abandoned(idle, now=now)
        if wanted:
            await held.look_again(list(wanted), at=now() + older_than)

    await in_batches("release abandoned reservations", held, ask, now=now, size=RELEASE_BATCH_SIZE)
