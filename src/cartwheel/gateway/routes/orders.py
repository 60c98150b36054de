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
from cartwheel.contracts.order_number import read_number
from cartwheel.contracts.orders import OrderStatus, OrderView
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.card import card_free
from cartwheel.gateway.cognito import GETTING_USER
from cartwheel.gateway.described import described
from cartwheel.gateway.etags import ETAG, IfNoneMatch, etag, tagged, version_of
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import EmailNotVerified, SignedIn
from cartwheel.gateway.paging import Cursor, Limit, OfEmail, moment, time_parameter
from cartwheel.gateway.problems import MEDIA_TYPE, Problem
from cartwheel.gateway.routes.auth import normal
from cartwheel.gateway.strict import NewShippingAddress, OrderItem, Price
from cartwheel.kernel import Page
from cartwheel.kernel.errors import FieldError, Forbidden, Invalid

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
WithNumber = Annotated[
    str | None,
    QueryParameter(
        name="number",
        max_length=20,
        description="Only the order with this number; case and hyphens do not matter, and O, I and "
        "L are read as 0 and 1",
    ),
]
PlacedAfter = Annotated[
    str | None,
    time_parameter("placed_after", "Only orders placed at this time or later"),
]
PlacedBefore = Annotated[
    str | None,
    time_parameter("placed_before", "Only orders placed before this time"),
]


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
        headers={**CREATED, **ETAG},
    )
    | card_free("shipping_address"),
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
    response = created(answer, f"/api/v1/orders/{answer.made.id}")
    response.headers["ETag"] = etag(answer.made.version)
    return response


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
    number: WithNumber = None,
    email: OfEmail = None,
    placed_after: PlacedAfter = None,
    placed_before: PlacedBefore = None,
) -> Response[Page[OrderView]]:
    """List your orders, newest first.

    Administrators see the orders of all users; those of one by `user_id`, or by `email`, the
    address at the time of the order. Filters can be combined.
    """
    if not identity.admin:
        if user_id not in (None, identity.user_id):
            raise Forbidden("Only an administrator may list the orders of other users.")
        if email is not None:
            raise Forbidden("Only an administrator may look for orders by mail address.")
    return await handed_on(
        contract.ListOrders(
            limit=limit,
            cursor=cursor,
            status=status,
            user_id=user_id if identity.admin else identity.user_id,
            number=_number(number),
            email=normal(email) if email is not None else None,
            placed_after=moment("placed_after", placed_after),
            placed_before=moment("placed_before", placed_before),
            actor=identity.actor,
        ),
        bus,
    )


def _number(given: str | None) -> str | None:
    """Return an order's number as it is stored, of one that was typed or heard."""
    if given is None:
        return None
    number = read_number(given)
    if number is None:
        detail = "`number` must be the number of an order, such as K7QM3-XWD9A."
        raise Invalid(detail, errors=[FieldError("number", detail)])
    return number


@get(
    "/{order_id:str}",
    opt=described(
        asks=contract.GetOrder,
        answer=examples.ORDER,
        returns="The order.",
        headers=ETAG,
        unchanged=True,
    ),
)
async def get_order(
    order_id: FromPath[str], identity: SignedIn, bus: Bus, if_none_match: IfNoneMatch = None
) -> Response[OrderView]:
    """Show an order.

    With the `ETag` that you got last time as `If-None-Match`, the answer is 304, without a body,
    until the order changes.
    """
    answer = await handed_on(contract.GetOrder(order_id=order_id, actor=identity.actor), bus)
    return tagged(answer, version_of(answer), if_none_match)


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
    """Show what happened to an order, when, by whom and why.

    Oldest first. `because_of` names the event that caused an entry: it may be in the timeline of
    one of its payments.
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
    )
    | card_free("reason"),
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
