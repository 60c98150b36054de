"""Refunds of a payment. Administrators make them; who has paid sees them."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, post
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from cartwheel.contracts import payments as contract
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import Refund, RefundExceedsCapture
from cartwheel.gateway import examples
from cartwheel.gateway.bodies import EXPLAIN
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.card import card_free, refuse_card_data
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import SignedIn, admin
from cartwheel.gateway.problems import MEDIA_TYPE, Problem
from cartwheel.gateway.strict import Price, SomePieces

MOST_LINES = 100


class NewRefund(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `amount`, or the price of `lines`, or all that is left.

    With `by_other_means`, the money was paid back in another way, and the refund is only recorded.
    """

    reason: contract.RefundReason
    amount: Price | None = None
    lines: Annotated[list[SomePieces], Meta(max_length=MOST_LINES)] = []
    by_other_means: bool = False


class LessIsLeft(Problem, frozen=True, kw_only=True):
    """409 `refund_exceeds_capture`: `left` is what can be refunded."""

    left: Money


@post(
    "/",
    guards=[admin],
    responses={
        409: ResponseSpec(
            LessIsLeft,
            description="Less is left of the captured money.",
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
    },
    opt={EXPLAIN: refuse_card_data}
    | described(
        asks=contract.CreateRefund,
        body=NewRefund(reason=examples.REFUND.reason, amount=examples.REFUND_AMOUNT),
        more={RefundExceedsCapture.code: {"left": msgspec.to_builtins(examples.REFUND.amount)}},
        answer=examples.REFUND,
        returns="The refund. It is `PENDING` until the provider has made it.",
        headers=CREATED,
    )
    | card_free(),
)
async def create_refund(
    payment_id: FromPath[str],
    data: JSONBody[NewRefund],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> Response[Refund]:
    """Refund a payment, or a part of it.

    For administrators. Without `amount` and `lines`, all that is left is refunded: what was
    captured, less the refunds that did not fail, and less disputes that are open or lost. `lines`
    are refunded at the order's unit prices. If all of a paid order is refunded and nothing of it
    was shipped, the order is canceled.

    The provider may fail a refund, even days later: then it is `FAILED`, and its amount can be
    refunded again. A payment has at most 100 refunds. With `by_other_means`, no provider is asked:
    the refund records what somebody has paid back in another way.
    """
    answer = await bus.request(
        contract.CreateRefund(
            request_id=request_id(identity, key),
            body_hash=body_hash([payment_id, data]),
            payment_id=payment_id,
            reason=data.reason,
            amount=data.amount,
            lines=[*data.lines],
            by_other_means=data.by_other_means,
            actor=identity.actor,
        )
    )
    return created(answer, f"/api/v1/payments/{payment_id}/refunds/{answer.made.id}")


@get(
    "/{refund_id:str}",
    opt=described(asks=contract.GetRefund, answer=examples.REFUND, returns="The refund."),
)
async def get_refund(
    payment_id: FromPath[str], refund_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[Refund]:
    """Show a refund of a payment."""
    return await handed_on(
        contract.GetRefund(payment_id=payment_id, refund_id=refund_id, actor=identity.actor), bus
    )


router = Router(
    "/payments/{payment_id:str}/refunds",
    route_handlers=[create_refund, get_refund],
    tags=["payments"],
)
