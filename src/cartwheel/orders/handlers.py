"""What orders does on each message."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from cartwheel.contracts.orders import (
    CancelOrder,
    GetOrder,
    GetOrderStatuses,
    GetPayableOrder,
    GetTimeline,
    ListOrders,
    OrderNotFound,
    OrderStatus,
    OrderView,
    PayableOrder,
    PlaceOrder,
    ReasonRequired,
    TimelineEntry,
)
from cartwheel.contracts.payments import (
    PaymentCaptured,
    PaymentDeclined,
    PaymentPending,
    PaymentRefunded,
)
from cartwheel.contracts.products import Reservation, ReserveStock, StockShortage
from cartwheel.kernel.errors import FieldError, IdempotencyKeyReused, Outage, Refusal
from cartwheel.kernel.ids import new_id, new_number
from cartwheel.kernel.messages import Cause, Clock, CloudEvent, Created, Page, Request
from cartwheel.kernel.telemetry import continue_trace
from cartwheel.orders import domain
from cartwheel.orders.domain import Order

Answer = TypeVar("Answer")

OVERDUE_AT_ONCE = 100


class Orders(Protocol):
    async def add(self, orders: Sequence[Order]) -> list[Order]:
        """Store new orders; return them, or in their place what their request made before."""
        ...

    async def get(self, order_ids: Sequence[str]) -> dict[str, Order]: ...

    async def made_by(self, request_ids: Sequence[str]) -> dict[str, Order]: ...

    async def save(self, order: Order, *, expected: Order) -> bool:
        """Store a changed order; return False if it is no longer as `expected`."""
        ...

    async def page(self, request: ListOrders) -> Page[OrderView]: ...

    async def timeline(self, order_id: str) -> list[TimelineEntry]: ...

    async def overdue(self, now: datetime, *, limit: int) -> list[str]:
        """Return the ids of orders whose payment deadline has passed."""
        ...


class Asks(Protocol):
    async def request(self, request: Request[Answer]) -> Answer: ...


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


async def get_orders(requests: list[GetOrder], *, orders: Orders) -> list[OrderView | Refusal]:
    found = await orders.get([request.order_id for request in requests])
    return [
        order.view()
        if (order := found.get(request.order_id)) and _may_see(order, request)
        else OrderNotFound("there is no such order")
        for request in requests
    ]


async def list_orders(request: ListOrders, *, orders: Orders) -> Page[OrderView]:
    return await orders.page(request)


async def get_timeline(request: GetTimeline, *, orders: Orders) -> list[TimelineEntry]:
    order = await _find(request.order_id, orders)
    if not _may_see(order, request):
        raise OrderNotFound("there is no such order")
    return await orders.timeline(order.id)


def _may_see(order: Order, request: GetOrder | GetTimeline) -> bool:
    return request.actor.admin or request.actor.user_id == order.user.id


async def get_payable_order(
    request: GetPayableOrder, *, orders: Orders, now: Clock
) -> PayableOrder:
    def ready(order: Order) -> Order:
        if order.user.id != request.user_id:
            raise OrderNotFound("there is no such order")
        return domain.ready_to_pay(order, request.shipping_address, at=now())

    order = await _change(request.order_id, ready, orders)
    return PayableOrder(order_id=order.id, total=order.total, attempts=domain.MAX_ATTEMPTS)


async def cancel_order(request: CancelOrder, *, orders: Orders, now: Clock) -> OrderView:
    actor = request.actor

    def cancel(order: Order) -> Order:
        owner = order.user.id == actor.user_id
        if not owner and not actor.admin:
            raise OrderNotFound("there is no such order")
        if not owner and not request.reason:
            raise ReasonRequired(
                "say why the order is canceled", errors=[FieldError("reason", "required")]
            )
        return domain.cancel(
            order,
            reason=request.reason or "Canceled by the customer.",
            by_admin=actor.admin,
            cause=Cause(by=actor.user_id),
            at=now(),
        )

    return (await _change(request.order_id, cancel, orders)).view()


async def get_order_statuses(
    request: GetOrderStatuses, *, orders: Orders
) -> dict[str, OrderStatus]:
    found = await orders.get(request.order_ids)
    return {order_id: order.status for order_id, order in found.items()}


async def expire_orders(*, orders: Orders, now: Clock) -> None:
    """Cancel the orders whose payment deadline has passed."""
    cause = Cause(by="deadline")
    while overdue := await orders.overdue(now(), limit=OVERDUE_AT_ONCE):
        for order_id in overdue:
            await _change(
                order_id, lambda order: domain.expire(order, cause=cause, at=now()), orders
            )


async def stock_shortage(event: CloudEvent[StockShortage], *, orders: Orders, now: Clock) -> None:
    await _change(
        event.data.order_id,
        lambda order: domain.out_of_stock(order, cause=event.cause(), at=now()),
        orders,
    )


async def payment_refunded(
    event: CloudEvent[PaymentRefunded], *, orders: Orders, now: Clock
) -> None:
    await _change(
        event.data.order_id,
        lambda order: domain.refunded(
            order,
            event.data.amount,
            payment_id=event.data.payment_id,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )


async def payment_pending(event: CloudEvent[PaymentPending], *, orders: Orders, now: Clock) -> None:
    await _change(
        event.data.order_id,
        lambda order: domain.payment_begun(order, event.data.method, cause=event.cause(), at=now()),
        orders,
    )


async def payment_captured(
    event: CloudEvent[PaymentCaptured], *, orders: Orders, now: Clock
) -> None:
    await _change(
        event.data.order_id,
        lambda order: domain.pay(
            order,
            event.data.amount,
            payment_id=event.data.payment_id,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )


async def payment_declined(
    event: CloudEvent[PaymentDeclined], *, orders: Orders, now: Clock
) -> None:
    await _change(
        event.data.order_id,
        lambda order: domain.payment_declined(
            order,
            event.data.failure,
            payment_id=event.data.payment_id,
            counts=event.data.counts,
            cause=event.cause(),
            at=now(),
        ),
        orders,
    )


async def _change(order_id: str, change: Callable[[Order], Order], orders: Orders) -> Order:
    """Read, decide and store, again until nobody else has changed the order in between."""
    while True:
        order = await _find(order_id, orders)
        changed = change(order)
        if changed is order or await orders.save(changed, expected=order):
            return changed


async def _find(order_id: str, orders: Orders) -> Order:
    order = (await orders.get([order_id])).get(order_id)
    if order is None:
        raise OrderNotFound("there is no such order")
    return order
