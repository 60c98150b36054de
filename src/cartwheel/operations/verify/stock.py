"""Promise 2. Never oversold: every piece is available, reserved or sold, and counted once."""

import msgspec

from cartwheel.operations.verify.records import Product
from cartwheel.operations.verify.violation import Violation


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of a product in all its reservations."""

    product_id: str
    held: int = 0
    committed: int = 0


def check(product: Product | None, reserved: Reserved) -> list[Violation]:
    """Return the violations in the stock of `product`, which is None if it does not exist."""
    if product is None:
        return [_wrong(reserved.product_id, "is reserved for orders, but does not exist")]
    stock = product.stock
    wrong: list[Violation] = []
    counted = stock.available + stock.reserved + stock.sold
    if counted != product.initial_stock:
        wrong.append(
            _wrong(
                product.id,
                f"began with {product.initial_stock} pieces, but now has {counted}: "
                f"{stock.available} available, {stock.reserved} reserved, {stock.sold} sold",
            )
        )
    for name, count in (
        ("available", stock.available),
        ("reserved", stock.reserved),
        ("sold", stock.sold),
    ):
        if count < 0:
            wrong.append(_wrong(product.id, f"has {count} pieces {name}"))
    for name, count, added_up in (
        ("reserved", stock.reserved, reserved.held),
        ("sold", stock.sold, reserved.committed),
    ):
        if count != added_up:
            wrong.append(
                _wrong(product.id, f"has {count} pieces {name}, but its reservations {added_up}")
            )
    return wrong


def _wrong(product_id: str, what: str) -> Violation:
    return Violation(promise=2, sentence=f"product {product_id} {what}", ids=(product_id,))
