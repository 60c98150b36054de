"""The history of adjustments, the account of a product's stock, and its repair."""

from functools import partial

from cartwheel.contracts.identity import require_admin
from cartwheel.contracts.products import (
    ExplainStock,
    GetAdjustment,
    ListAdjustments,
    RepairStock,
    StockAccount,
    StockAdjustmentView,
    StockRepair,
)
from cartwheel.kernel import Clock, Page, new_id, utc_now
from cartwheel.products.domain import adjustments as rules
from cartwheel.products.ports import Adjustments


async def get_adjustment(
    request: GetAdjustment, *, adjustments: Adjustments
) -> StockAdjustmentView:
    require_admin(request.actor, "see stock adjustments")
    return await adjustments.get(request.product_id, request.adjustment_id)


async def list_adjustments(
    request: ListAdjustments, *, adjustments: Adjustments
) -> Page[StockAdjustmentView]:
    require_admin(request.actor, "see stock adjustments")
    return await adjustments.page(request)


async def explain_stock(request: ExplainStock, *, adjustments: Adjustments) -> StockAccount:
    require_admin(request.actor, "see the account of stock")
    product_id = request.product_id
    if request.sku is not None:
        product_id = await adjustments.product_with(request.sku)
    return await adjustments.account(product_id)


async def repair_stock(
    request: RepairStock, *, adjustments: Adjustments, now: Clock = utc_now
) -> StockRepair:
    require_admin(request.actor, "repair stock")
    decide = partial(rules.repair, request=request, at=now(), id=new_id("adj"))
    before, correction = await adjustments.repair(request.product_id, decide)
    if correction is None:
        return StockRepair(before=before, after=before)
    after = await adjustments.account(request.product_id)
    return StockRepair(before=before, after=after, correction=correction.view())
