"""Examples of products and requests."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.products import (
    AdjustmentKind,
    AdjustStock,
    CreateProduct,
    Item,
    ReserveStock,
    Stock,
)
from cartwheel.kernel import Change, new_id
from cartwheel.products.domain import catalogue
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.domain.stock import Goods

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
CHANGE = Change(by="admin", at=AT)
ADMIN = Actor(user_id="boss", admin=True)
DOLLARS = Money(1999, "USD")


def now() -> datetime:
    return AT


def create(
    name: str | None = None,
    *,
    request_id: str | None = None,
    body_hash: str = "hash",
    price: Money = DOLLARS,
    stock: int = 10,
    sku: str | None = None,
    low_stock_at: int | None = None,
) -> CreateProduct:
    return CreateProduct(
        request_id=request_id or str(uuid4()),
        body_hash=body_hash,
        name=name or f"Product {uuid4()}",
        description="",
        price=price,
        stock=stock,
        sku=sku,
        low_stock_at=low_stock_at,
    )


def product(
    product_id: str = "prd_1",
    *,
    stock: int = 10,
    price: Money = DOLLARS,
    low_stock_at: int | None = None,
) -> Product:
    """Return a stored product, with no events left to publish."""
    wanted = create(stock=stock, price=price, low_stock_at=low_stock_at)
    made = catalogue.create(wanted, CHANGE, product_id=product_id)
    return msgspec.structs.replace(made, sequence=1, events=(), change=None)


def goods(*products: Product) -> dict[str, Goods]:
    """Return the fields of `products` that matter when they are bought, by id."""
    return {each.id: msgspec.convert(each, Goods, from_attributes=True) for each in products}


def reserve(
    *items: tuple[str, int],
    request_id: str | None = None,
    order_id: str | None = None,
    body_hash: str = "hash",
    owner: str | None = None,
    max_live: int = 0,
    max_per_line: int = 0,
    max_pieces: int = 0,
    expected_total: Money | None = None,
) -> ReserveStock:
    return ReserveStock(
        request_id=request_id or str(uuid4()),
        order_id=order_id or new_id("ord"),
        body_hash=body_hash,
        items=[Item(product_id=product_id, quantity=quantity) for product_id, quantity in items],
        owner=owner,
        max_live=max_live,
        max_per_line=max_per_line,
        max_pieces=max_pieces,
        expected_total=expected_total,
    )


def adjust(
    product_id: str = "prd_1",
    delta: int | None = None,
    *,
    counted: int | None = None,
    expected: int | None = None,
    kind: AdjustmentKind = AdjustmentKind.CORRECTION,
    request_id: str | None = None,
    body_hash: str = "hash",
    actor: Actor = ADMIN,
) -> AdjustStock:
    return AdjustStock(
        request_id=request_id or str(uuid4()),
        body_hash=body_hash,
        product_id=product_id,
        kind=kind,
        reason="A test.",
        delta=delta,
        counted=counted,
        expected=expected,
        actor=actor,
    )


def total(stock: Stock) -> int:
    return stock.available + stock.reserved + stock.sold
