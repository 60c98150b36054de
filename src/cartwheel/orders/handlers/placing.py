"""Placing orders."""

from datetime import timedelta

from cartwheel.contracts.idempotency import check_repeated
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.order_number import new_number
from cartwheel.contracts.orders import OrderView, PlaceOrder
from cartwheel.contracts.products import ReserveStock
from cartwheel.kernel import Bus, Clock, Created, new_id, utc_now
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import Limits
from cartwheel.orders.ports import Orders

ACTOR = Actor.service("orders")


async def place_order(
    request: PlaceOrder,
    *,
    orders: Orders,
    bus: Bus,
    pay_within: timedelta,
    limits: Limits,
    mailed: bool = False,
    now: Clock = utc_now,
) -> Created[OrderView]:
    """Reserve the stock, then store the order.

    Both steps use the request id, so a repeat gets the answer of the first time.
    """
    reservation = await bus.request(
        ReserveStock(
            request_id=request.request_id,
            order_id=new_id("ord"),
            body_hash=request.body_hash,
            items=request.items,
            actor=ACTOR,
            owner=request.user.id,
            max_live=limits.open_orders,
            max_per_line=limits.pieces_per_line,
            max_pieces=limits.pieces_per_order,
            expected_total=request.expected_total,
        )
    )
    check_repeated(reservation.body_hash, request.body_hash, made="order")
    draft = rules.place(
        request,
        reservation,
        number=new_number(),
        at=now(),
        pay_within=pay_within,
        mailed=mailed,
    )
    stored = await orders.add(draft)
    return Created(made=stored.made.view(), replayed=stored.replayed)
