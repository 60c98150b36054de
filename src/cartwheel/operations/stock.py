"""`cartwheel stock`: what a product's stock adds up to, its repair, and adjustments.

A `product` is named by its id, or by its SKU.
"""

from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.text import Text

from cartwheel.contracts.products import (
    AdjustmentKind,
    AdjustStock,
    ExplainStock,
    RepairStock,
    StockAccount,
    StockAdjustmentView,
    StockRepair,
)
from cartwheel.operations import asking, typed
from cartwheel.operations.reaching import BusSettings

_REPAIRED = "cartwheel stock repair: the stock did not agree with its reservations"


async def explained(settings: BusSettings, product: str) -> StockAccount:
    """Return the account of the product's stock.

    Raises:
        ProductNotFound: there is no such product.
    """
    async with asking.bus(settings) as asks:
        return await asks.request(_explain(product))


def _explain(product: str) -> ExplainStock:
    sku = None if product.startswith("prd_") else product
    return ExplainStock(product_id="" if sku else product, sku=sku, actor=asking.operator())


async def repaired(
    settings: BusSettings,
    product: str,
    *,
    reason: str | None,
    agreed: Callable[[StockAccount], bool],
) -> StockRepair:
    """Repair the product's stock if it does not agree and `agreed` says so.

    Raises:
        ProductNotFound: there is no such product.
    """
    async with asking.bus(settings) as asks:
        account = await asks.request(_explain(product))
        if account.agrees or not agreed(account):
            return StockRepair(before=account, after=account)
        return await asks.request(
            RepairStock(
                product_id=account.product_id,
                reason=reason or _REPAIRED,
                actor=asking.operator(),
            )
        )


async def adjusted(
    settings: BusSettings,
    product: str,
    *,
    kind: AdjustmentKind,
    reason: str,
    delta: int | None,
    counted: int | None,
    expected: int | None,
    key: str | None,
) -> StockAdjustmentView:
    """Adjust the product's stock. The same `key` and values adjust it once.

    Raises:
        Refusal: as `AdjustStock` says.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        product_id = (await asks.request(_explain(product))).product_id
        values = (product_id, kind, reason, delta, counted, expected)
        answer = await asks.request(
            AdjustStock(
                request_id=asking.request_id(actor, key),
                body_hash=asking.body_hash(*values),
                product_id=product_id,
                kind=kind,
                reason=reason,
                delta=delta,
                counted=counted,
                expected=expected,
                actor=actor,
            )
        )
    return answer.made


def show_json(value: object, console: Console) -> None:
    console.out(msgspec.json.encode(value).decode(), highlight=False)


def account_as_json(account: StockAccount) -> dict[str, object]:
    """Return the account with its totals."""
    return {
        **msgspec.structs.asdict(account),
        "adjusted": account.adjusted,
        "total": account.stock.total,
        "on_hand": account.stock.on_hand,
        "agrees": account.agrees,
    }


def show_account(account: StockAccount, console: Console) -> None:
    """Print the totals line by line, each beside what it should be."""
    stock, right = account.stock, account.by_reservations
    console.print(Text(f"{account.product_id}  {account.sku}  {account.name}", style="bold"))
    _show_line(console, "", "initial stock", account.initial)
    for each in account.adjustments:
        count = f"{each.count} adjustment{'s' if each.count > 1 else ''}"
        _show_line(console, "+", f"{each.kind} ({count})", each.pieces)
    _show_line(console, "=", "should be there", account.adjusted)
    console.print()
    _show_line(console, "", "available", stock.available)
    _show_line(console, "+", "reserved", stock.reserved, by_reservations=right.reserved)
    _show_line(console, "+", "sold", stock.sold, by_reservations=right.sold)
    _show_line(console, "=", "is there", stock.total, should_be=account.adjusted)
    console.print()
    _show_line(console, "", "sold, not shipped", stock.unshipped, by_reservations=right.unshipped)
    _show_line(console, "", "on hand", stock.on_hand)
    if account.agrees:
        typed.say_done("everything agrees")


def _show_line(
    console: Console,
    sign: str,
    name: str,
    pieces: int,
    *,
    by_reservations: int | None = None,
    should_be: int | None = None,
) -> None:
    line = Text(f"{sign:1} {name:30}{pieces:>14,}")
    if by_reservations not in (None, pieces):
        line.append(f"  ✗ its reservations: {by_reservations:,}", style="red")
    if should_be not in (None, pieces):
        line.append(f"  ✗ should be {should_be:,}", style="red")
    console.print(line, soft_wrap=True, highlight=False)


def show_repair(repair: StockRepair, console: Console) -> None:
    if repair.correction is None:
        return
    show_account(repair.after, console)
    correction = repair.correction
    typed.say_done(f"repaired; correction of {correction.delta:+,} recorded as {correction.id}")
    console.print(
        "The available pieces were not changed. Count the shelf, and record the count with"
        " `cartwheel stock adjust --counted`.",
        soft_wrap=True,
        highlight=False,
    )


def show_adjustment(adjustment: StockAdjustmentView) -> None:
    typed.say_done(
        f"{adjustment.before:,} → {adjustment.after:,} pieces on hand"
        f" ({adjustment.delta:+,}, {adjustment.kind}), recorded as {adjustment.id}"
    )
