"""Stock adjustments. Administrators say what has come, gone or been counted, and see who did."""

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, JSONBody

from cartwheel.contracts import products as contract
from cartwheel.contracts.products import StockAdjustmentView
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.card import card_free
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import SignedIn, admin
from cartwheel.gateway.paging import Cursor, Limit
from cartwheel.kernel import Page


class NewStockAdjustment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `delta`, the pieces to add or take away, or `counted`, the pieces on hand.

    Pieces on hand are available, reserved, or sold but not shipped. With `expected`, the adjustment
    is made only if exactly so many are on hand before it.
    """

    kind: contract.AdjustmentKind
    reason: contract.AdjustmentReason
    delta: contract.Delta | None = None
    counted: contract.Counted | None = None
    expected: contract.Counted | None = None


@post(
    "/",
    guards=[admin],
    opt=described(
        asks=contract.AdjustStock,
        body=NewStockAdjustment(
            kind=examples.ADJUSTMENT.kind,
            reason=examples.ADJUSTMENT.reason,
            delta=examples.ADJUSTMENT.delta,
            expected=examples.ADJUSTMENT.before,
        ),
        answer=examples.ADJUSTMENT,
        returns="The adjustment.",
        headers=CREATED,
    )
    | card_free("reason"),
)
async def adjust_stock(
    product_id: FromPath[str],
    data: JSONBody[NewStockAdjustment],
    identity: SignedIn,
    bus: Bus,
    key: IdempotencyKey = None,
) -> Response[StockAdjustmentView]:
    """Adjust the stock of a product.

    For administrators. Reserved and sold pieces are never taken away. The stock of an archived
    product can be adjusted, too.
    """
    answer = await bus.request(
        contract.AdjustStock(
            request_id=request_id(identity, key),
            body_hash=body_hash(data),
            product_id=product_id,
            actor=identity.actor,
            **msgspec.structs.asdict(data),
        )
    )
    location = f"/api/v1/products/{product_id}/stock-adjustments/{answer.made.id}"
    return created(answer, location)


@get(
    "/",
    guards=[admin],
    opt=described(
        asks=contract.ListAdjustments,
        answer=Page(data=[examples.ADJUSTMENT]),
        returns="A page of adjustments, newest first.",
    ),
)
async def list_adjustments(
    product_id: FromPath[str],
    identity: SignedIn,
    bus: Bus,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response[Page[StockAdjustmentView]]:
    """List the stock adjustments of a product, newest first.

    For administrators. Adjustments are never changed or removed.
    """
    return await handed_on(
        contract.ListAdjustments(
            product_id=product_id, limit=limit, cursor=cursor, actor=identity.actor
        ),
        bus,
    )


@get(
    "/{adjustment_id:str}",
    guards=[admin],
    opt=described(
        asks=contract.GetAdjustment, answer=examples.ADJUSTMENT, returns="The adjustment."
    ),
)
async def get_adjustment(
    product_id: FromPath[str], adjustment_id: FromPath[str], identity: SignedIn, bus: Bus
) -> StockAdjustmentView:
    """Show a stock adjustment.

    For administrators.
    """
    return await bus.request(
        contract.GetAdjustment(
            product_id=product_id, adjustment_id=adjustment_id, actor=identity.actor
        )
    )


router = Router(
    "/products/{product_id:str}/stock-adjustments",
    route_handlers=[adjust_stock, list_adjustments, get_adjustment],
    tags=["products"],
)
