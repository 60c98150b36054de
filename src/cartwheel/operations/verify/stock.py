"""Promises 2 and 11: each piece is counted once, and each slot of a customer is one order's."""

from collections.abc import Iterator

import msgspec

from cartwheel.operations.verify.records import Product
from cartwheel.operations.verify.violation import Violation


class SharedSlot(msgspec.Struct, frozen=True, kw_only=True):
    """Orders of one owner whose live reservations have the same slot."""

    owner: str
    slot: int
    order_ids: list[str]


def shared_slot(shared: SharedSlot) -> Violation:
    """Return that an owner has more live reservations than slots, which bound their number."""
    sentence = (
        f"{len(shared.order_ids)} unpaid orders of customer {shared.owner} have slot {shared.slot}"
    )
    return Violation(promise=11, sentence=sentence, ids=tuple(shared.order_ids))


class AddedUp(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of a product's reservations and adjustments.

    `committed` leaves out what was called off and what came back to the shelf. `unshipped` counts
    the pieces of sold orders that are marked as unshipped, without those that have left.
    `marked_unshipped` counts those of all orders with the mark: a process of an older version
    returns pieces and leaves the mark. `inconsistent` lists adjustments whose levels do not differ
    by their delta, and `untold` those that were stored without their event.
    """

    product_id: str
    held: int = 0
    committed: int = 0
    unshipped: int = 0
    marked_unshipped: int = 0
    adjusted: int = 0
    inconsistent: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


def check(product: Product | None, added_up: AddedUp) -> list[Violation]:
    """Return the violations in the stock of `product`, which is None if it does not exist."""
    if product is None:
        return [_wrong(added_up.product_id, "is reserved or adjusted, but does not exist")]
    return [
        *_adds_up(product, added_up),
        *_agrees(product, added_up),
        *_adjustments(added_up),
    ]


def _adds_up(product: Product, added_up: AddedUp) -> Iterator[Violation]:
    stock = product.stock
    counted = stock.available + stock.reserved + stock.sold
    if counted != product.initial_stock + added_up.adjusted:
        yield _wrong(
            product.id,
            f"began with {product.initial_stock} pieces and was adjusted by {added_up.adjusted}, "
            f"but now has {counted}: {stock.available} available, {stock.reserved} reserved, "
            f"{stock.sold} sold",
        )
    for name, count in (
        ("available", stock.available),
        ("reserved", stock.reserved),
        ("sold", stock.sold),
        ("unshipped", stock.unshipped),
    ):
        if count < 0:
            yield _wrong(product.id, f"has {count} pieces {name}")


def _agrees(product: Product, added_up: AddedUp) -> Iterator[Violation]:
    stock = product.stock
    for name, count, least, most in (
        ("reserved", stock.reserved, added_up.held, added_up.held),
        ("sold", stock.sold, added_up.committed, added_up.committed),
        ("unshipped", stock.unshipped, added_up.unshipped, added_up.marked_unshipped),
    ):
        if not least <= count <= most:
            yield _wrong(product.id, f"has {count} pieces {name}, but its reservations {least}")


def _adjustments(added_up: AddedUp) -> Iterator[Violation]:
    for name in added_up.inconsistent:
        yield Violation(
            promise=2,
            sentence=f"the levels before and after adjustment {name} do not differ by its delta",
            ids=(added_up.product_id, name),
        )
    for name in added_up.untold:
        yield Violation(
            promise=5,
            sentence=f"adjustment {name} was stored without its event",
            ids=(added_up.product_id, name),
        )


def _wrong(product_id: str, what: str) -> Violation:
    return Violation(promise=2, sentence=f"product {product_id} {what}", ids=(product_id,))
