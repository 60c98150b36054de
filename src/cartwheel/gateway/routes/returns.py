"""Returns. Customers ask for them; administrators decide, and record what has arrived."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from cartwheel.contracts import fulfilment as contract
from cartwheel.contracts.parcels import Reason, ReturnView
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.card import card_free
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import SignedIn, admin
from cartwheel.gateway.routes.shipments import MOST_LINES, Lines
from cartwheel.gateway.strict import ArrivedPieces, SomePieces


class NewReturn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pieces to return, and why."""

    lines: Lines
    reason: Reason


class AcceptedReturn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A note for the customer, such as where to send the pieces."""

    note: Reason | None = None


class DeclinedReturn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why the return is declined."""

    note: Reason


class Arrival(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What has arrived of a return, line by line. Lines that are left out have not arrived."""

    lines: Annotated[list[ArrivedPieces], Meta(max_length=MOST_LINES)]


@post(
    "/",
    opt=described(
        asks=contract.RequestReturn,
        body=NewReturn(
            lines=[SomePieces(product_id=examples.PRODUCT_ID, quantity=1)],
            reason=examples.RETURN.reason,
        ),
        answer=examples.RETURN,
        returns="The return. The order's `returns` lists it.",
        headers=CREATED,
    )
    | card_free("reason"),
)
async def request_return(
    order_id: FromPath[str],
    data: JSONBody[NewReturn],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> Response[ReturnView]:
    """Ask to return pieces of an order.

    They must have been delivered, at most 30 days ago unless the shop sets another time. Send them
    when an administrator has accepted the return. Their price is refunded once they have arrived.
    An order has at most 50 returns.
    """
    answer = await bus.request(
        contract.RequestReturn(
            request_id=request_id(identity, key),
            body_hash=body_hash(["return", order_id, data]),
            order_id=order_id,
            lines=list(data.lines),
            reason=data.reason,
            actor=identity.actor,
        )
    )
    return created(answer, f"/api/v1/orders/{order_id}/returns/{answer.made.id}")


@get(
    "/{return_id:str}",
    opt=described(asks=contract.GetReturn, answer=examples.RETURN, returns="The return."),
)
async def get_return(
    order_id: FromPath[str], return_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[ReturnView]:
    """Show a return of pieces of an order."""
    return await handed_on(
        contract.GetReturn(order_id=order_id, return_id=return_id, actor=identity.actor), bus
    )


@post(
    "/{return_id:str}/accept",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.DecideReturn,
        body=AcceptedReturn(note=examples.ACCEPTED_RETURN.note),
        answer=examples.ACCEPTED_RETURN,
        returns="The return, which is accepted.",
    )
    | card_free("note"),
)
async def accept_return(
    order_id: FromPath[str],
    return_id: FromPath[str],
    identity: SignedIn,
    bus: Bus,
    data: JSONBody[AcceptedReturn | None] = None,
    key: IdempotencyKey = None,
) -> ReturnView:
    """Accept a return.

    For administrators. The customer is mailed, with the note. May be repeated.
    """
    return await bus.request(
        contract.DecideReturn(
            request_id=request_id(identity, key),
            body_hash=body_hash(["accept", return_id, data]),
            order_id=order_id,
            return_id=return_id,
            accepted=True,
            note=data.note if data else None,
            actor=identity.actor,
        )
    )


@post(
    "/{return_id:str}/decline",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.DecideReturn,
        body=DeclinedReturn(note=examples.DECLINED_RETURN.note or ""),
        answer=examples.DECLINED_RETURN,
        returns="The return, which is declined.",
    )
    | card_free("note"),
)
async def decline_return(
    order_id: FromPath[str],
    return_id: FromPath[str],
    data: JSONBody[DeclinedReturn],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> ReturnView:
    """Decline a return.

    For administrators. An accepted return whose pieces never came can be declined, too. May be
    repeated.
    """
    return await bus.request(
        contract.DecideReturn(
            request_id=request_id(identity, key),
            body_hash=body_hash(["decline", return_id, data]),
            order_id=order_id,
            return_id=return_id,
            accepted=False,
            note=data.note,
            actor=identity.actor,
        )
    )


@post(
    "/{return_id:str}/receive",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.ReceiveReturn,
        body=Arrival(lines=[ArrivedPieces(product_id=examples.PRODUCT_ID, restocked=1)]),
        answer=examples.RECEIVED_RETURN,
        returns="The return, which is received.",
    ),
)
async def receive_return(
    order_id: FromPath[str],
    return_id: FromPath[str],
    data: JSONBody[Arrival],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> ReturnView:
    """Record what has arrived of a return.

    For administrators. Restocked pieces are available again. Pieces that are written off are not.
    The price of both is refunded: unit price times pieces. May be repeated with the same key.
    """
    return await bus.request(
        contract.ReceiveReturn(
            request_id=request_id(identity, key),
            body_hash=body_hash(["receive", return_id, data]),
            order_id=order_id,
            return_id=return_id,
            lines=[*data.lines],
            actor=identity.actor,
        )
    )


router = Router(
    "/orders/{order_id:str}/returns",
    route_handlers=[request_return, get_return, accept_return, decline_return, receive_return],
    tags=["orders"],
)
