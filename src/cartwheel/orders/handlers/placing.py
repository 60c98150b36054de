"""Placing orders."""

import asyncio
from datetime import timedelta

from cartwheel.contracts.orders import OrderView, PlaceOrder
from cartwheel.contracts.products import Reservation, ReserveStock
from cartwheel.kernel.errors import IdempotencyKeyReused, Outage, Refusal
from cartwheel.kernel.ids import new_id, new_number
from cartwheel.kernel.messages import Asks, Clock, Created
from cartwheel.kernel.telemetry import continue_trace
from cartwheel.orders import domain
from cartwheel.orders.domain import Order
from cartwheel.orders.handlers.ports import Orders


async def place_orders(
    requests: list[PlaceOrder], *, orders: Orders, bus: Asks, now: Clock, pay_within: timedelta
) -> list[Created[OrderView] | Refusal | Outage]:
    """Hold the stock, then store the orders; both may be repeated under the same request id."""
    earlier = await orders.made_by([request.request_id for request in requests])
    new = [request for request in requests if request.request_id not in earlier]
    reserved = dict(
        zip(
            [request.request_id for request in new],
            await asyncio.gather(*(_reserve(request, bus) for request in new)),
            strict=True,
        )
    )
    drafts: dict[str, Order] = {}
    for request in new:
        reservation = reserved[request.request_id]
        if isinstance(reservation, Reservation) and reservation.body_hash == request.body_hash:
            drafts.setdefault(
                request.request_id,
                domain.place(
                    request, reservation, number=new_number(), at=now(), pay_within=pay_within
                ),
            )
    stored = {order.request_id: order for order in await orders.add(list(drafts.values()))}

    def outcome(request: PlaceOrder) -> Created[OrderView] | Refusal | Outage:
        reservation = reserved.get(request.request_id)
        if isinstance(reservation, Refusal | Outage):
            return reservation
        order = earlier.get(request.request_id) or stored.get(request.request_id)
        if order is None or order.body_hash != request.body_hash:
            return IdempotencyKeyReused("this Idempotency-Key was used for another order")
        draft = drafts.pop(request.request_id, None)
        return Created(made=order.view(), replayed=draft is None or draft.number != order.number)

    return [outcome(request) for request in requests]


async def _reserve(request: PlaceOrder, bus: Asks) -> Reservation | Refusal | Outage:
    continue_trace(request.traceparent)
    try:
        return await bus.request(
            ReserveStock(
                request_id=request.request_id,
                order_id=new_id("ord"),
                body_hash=request.body_hash,
                items=request.items,
            )
        )
    except (Refusal, Outage) as no:
        return no
