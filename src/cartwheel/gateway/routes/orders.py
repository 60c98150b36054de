"""Orders. Customers see their own, administrators everybody's."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET, Meta, UnsetType, structs

from cartwheel.contracts import orders as contract
from cartwheel.contracts import products, text
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import OrderStatus, OrderView, TimelineEntry
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.cognito import GETTING_USER
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import EmailNotVerified, SignedIn
from cartwheel.gateway.paging import Cursor, Limit
from cartwheel.gateway.problems import MEDIA_TYPE, Problem
from cartwheel.gateway.strict import NewShippingAddress, OrderItem, Price
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
    """Items of the same product are added up. The address may come with the payment instead.

    A total that is not given is left out of the body's digest: older gateways knew of none.
    """

    items: Annotated[list[OrderItem], Meta(min_length=1, max_length=MOST_ITEMS)]
    shipping_address: NewShippingAddress | None = None
    expected_total: Price | UnsetType = UNSET


class PriceChanged(Problem, frozen=True, kw_only=True):
    """409 `price_changed`: `total` is what the order costs now."""

    total: Money


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=text.LINE)] | None = None


@post(
    "/",
    responses={
        409: ResponseSpec(
            PriceChanged,
            description="The order would not cost what was expected.",
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
    },
    opt=described(
        asks=contract.PlaceOrder,
        refuses=(*GETTING_USER, EmailNotVerified),
        body=NewOrder(
            items=[OrderItem(product_id=examples.PRODUCT_ID, quantity=2)],
            shipping_address=examples.NEW_ADDRESS,
            expected_total=examples.EXPECTED_TOTAL,
        ),
        more={products.PriceChanged.code: {"total": msgspec.to_builtins(examples.ORDER.total)}},
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
    canceled. If an item cannot be ordered, nothing is reserved, and `errors` names the item (422
    `unknown_product`, 409 `insufficient_stock`).

    With an `expected_total`, the order is placed only if it costs just that. Otherwise 409
    `price_changed` says the new `total`. A customer may have only so many unpaid orders: one more
    is 409 `too_many_open_orders`. A place is free a moment after one of them is paid or canceled.
    """
    expected = data.expected_total
    answer = await bus.request(
        contract.PlaceOrder(
            request_id=request_id(identity, key),
            body_hash=body_hash(data),
            user=await identity.customer(),
            items=[*data.items],
            shipping_address=data.shipping_address,
            expected_total=None if expected is UNSET else expected,
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

    Customers can cancel their own orders until these are paid. Administrators can cancel all orders
    until these are shipped, and say why. Money that was captured is refunded. A canceled order
    stays as it is, so this may be repeated.
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
