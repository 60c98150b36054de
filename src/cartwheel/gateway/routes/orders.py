"""Orders. Customers see their own, administrators everybody's."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, structs

from cartwheel.contracts import orders as contract
from cartwheel.contracts import text
from cartwheel.contracts.orders import OrderStatus, OrderView, TimelineEntry
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.cognito import GETTING_USER
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import EmailNotVerified, SignedIn
from cartwheel.gateway.paging import Cursor, Limit
from cartwheel.gateway.strict import NewShippingAddress, OrderItem
from cartwheel.kernel import Page
from cartwheel.kernel.errors import Forbidden

MOST_ITEMS = 500

OfUser = Annotated[
    str | None,
    QueryParameter(
        name="user_id",
        max_length=100,
        description="Only the orders of this user; for administrators",
    ),
]
WithStatus = Annotated[OrderStatus | None, QueryParameter(name="status")]


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items of the same product are added up. The address may come with the payment instead."""

    items: Annotated[list[OrderItem], Meta(min_length=1, max_length=MOST_ITEMS)]
    shipping_address: NewShippingAddress | None = None


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=text.LINE)] | None = None


@post(
    "/",
    opt=described(
        asks=contract.PlaceOrder,
        refuses=(*GETTING_USER, EmailNotVerified),
        body=NewOrder(
            items=[OrderItem(product_id=examples.PRODUCT_ID, quantity=2)],
            shipping_address=examples.NEW_ADDRESS,
        ),
        answer=examples.ORDER,
        returns="The order. Its stock is reserved until `expires_at`.",
        headers=CREATED,
    ),
)
async def place_order(
    data: JSONBody[NewOrder], identity: SignedIn, bus: Bus, key: IdempotencyKey = None
) -> Response[OrderView]:
    """Place an order.

    The prices are those of today. The stock is reserved until the order is paid, rejected or
    canceled. `errors` of 422 `unknown_product` and 409 `insufficient_stock` names the items; then
    nothing is reserved.
    """
    answer = await bus.request(
        contract.PlaceOrder(
            request_id=request_id(identity, key),
            body_hash=body_hash(data),
            user=await identity.customer(),
            items=[*data.items],
            shipping_address=data.shipping_address,
        )
    )
    return created(answer, f"/api/v1/orders/{answer.made.id}")


@get(
    "/",
    opt=described(
        asks=contract.ListOrders,
        refuses=(Forbidden,),
        answer=Page(data=[examples.ORDER]),
        returns="A page of orders, newest first.",
    ),
)
async def list_orders(
    identity: SignedIn,
    bus: Bus,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: WithStatus = None,
    user_id: OfUser = None,
) -> Response[Page[OrderView]]:
    """List your orders, newest first.

    Administrators see the orders of all users, or of `user_id`.
    """
    if not identity.admin and user_id not in (None, identity.user_id):
        raise Forbidden("Only an administrator may list the orders of other users.")
    return await handed_on(
        contract.ListOrders(
            limit=limit,
            cursor=cursor,
            status=status,
            user_id=user_id if identity.admin else identity.user_id,
            actor=identity.actor,
        ),
        bus,
    )


@get(
    "/{order_id:str}",
    opt=described(asks=contract.GetOrder, answer=examples.ORDER, returns="The order."),
)
async def get_order(order_id: FromPath[str], identity: SignedIn, bus: Bus) -> Response[OrderView]:
    """Show an order."""
    return await handed_on(contract.GetOrder(order_id=order_id, actor=identity.actor), bus)


@get(
    "/{order_id:str}/timeline",
    opt=described(
        asks=contract.GetTimeline,
        answer=examples.TIMELINE,
        returns="What happened to the order, oldest first.",
    ),
)
async def get_timeline(
    order_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[list[TimelineEntry]]:
    """Show what happened to an order, when and by whom.

    Oldest first.
    """
    return await handed_on(contract.GetTimeline(order_id=order_id, actor=identity.actor), bus)


@post(
    "/{order_id:str}/cancel",
    status_code=200,
    opt=described(
        asks=contract.CancelOrder,
        body=Cancellation(reason="Ordered twice."),
        answer=structs.replace(examples.ORDER, status=OrderStatus.CANCELED, expires_at=None),
        returns="The order, which is canceled.",
    ),
)
async def cancel_order(
    order_id: FromPath[str],
    identity: SignedIn,
    bus: Bus,
    data: JSONBody[Cancellation | None] = None,
) -> OrderView:
    """Cancel an order.

    Customers can cancel their own orders until they are paid, administrators all orders until they
    are shipped, with a reason. Money that was captured is refunded. A canceled order stays as it
    is, so this may be repeated.
    """
    return await bus.request(
        contract.CancelOrder(
            order_id=order_id, actor=identity.actor, reason=data.reason if data else None
        )
    )


router = Router(
    "/orders",
    route_handlers=[place_order, list_orders, get_order, get_timeline, cancel_order],
    tags=["orders"],
)
