"""Returns: asked for by the customer, decided and received by the shop."""

from datetime import timedelta

from cartwheel.contracts.fulfilment import DecideReturn, GetReturn, ReceiveReturn, RequestReturn
from cartwheel.contracts.identity import require_admin
from cartwheel.contracts.parcels import ReturnView
from cartwheel.kernel import Change, Clock, Created, new_id, utc_now
from cartwheel.orders.domain import fulfilment as rules
from cartwheel.orders.handlers.reading import visible
from cartwheel.orders.ports import Orders


async def request_return(
    request: RequestReturn, *, orders: Orders, window: timedelta, now: Clock = utc_now
) -> Created[ReturnView]:
    by = Change(by=request.actor.user_id, at=now())
    return_id = new_id("ret")
    order = await orders.change(
        request.order_id, rules.request_return, request, return_id, window, by=by
    )
    [made] = [each for each in order.returns if request.request_id in each.requests]
    return Created(made=made.view(), replayed=made.id != return_id)


async def get_return(request: GetReturn, *, orders: Orders) -> ReturnView:
    order = await visible(request, orders)
    return rules.return_of(order, request.return_id).view()


async def decide_return(
    request: DecideReturn, *, orders: Orders, now: Clock = utc_now
) -> ReturnView:
    require_admin(request.actor, "decide on returns")
    by = Change(by=request.actor.user_id, at=now())
    order = await orders.change(request.order_id, rules.decide_return, request, by=by)
    return rules.return_of(order, request.return_id).view()


async def receive_return(
    request: ReceiveReturn, *, orders: Orders, now: Clock = utc_now
) -> ReturnView:
    require_admin(request.actor, "receive returns")
    by = Change(by=request.actor.user_id, at=now())
    order = await orders.change(request.order_id, rules.receive_return, request, by=by)
    return rules.return_of(order, request.return_id).view()
