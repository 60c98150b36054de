"""The requests and events of products: the catalogue, its stock, and reservations for orders."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from cartwheel.contracts import text
from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.kernel import Created, Event, Page, Request, event, request
from cartwheel.kernel.errors import BadCursor, Conflict, Forbidden, Invalid, NotFound, Stale

MAX_STOCK = 10**9

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=text.LINE)]
Description = Annotated[str, Meta(max_length=5_000, pattern=text.LINES)]
Sku = Annotated[str, Meta(min_length=1, max_length=64, pattern=text.SKU)]
Category = Annotated[str, Meta(min_length=1, max_length=100, pattern=text.LINE)]
Tag = Annotated[str, Meta(min_length=1, max_length=50, pattern=text.LINE)]
Tags = Annotated[list[Tag], Meta(max_length=20)]
ImageUrl = Annotated[str, Meta(max_length=2_000, pattern=text.URL)]
InitialStock = Annotated[int, Meta(ge=0, le=MAX_STOCK)]
LowStockAt = Annotated[int, Meta(ge=0, le=MAX_STOCK)]
Delta = Annotated[int, Meta(ge=-MAX_STOCK, le=MAX_STOCK)]
Counted = Annotated[int, Meta(ge=0, le=MAX_STOCK)]
AdjustmentReason = Annotated[str, Meta(min_length=1, max_length=500, pattern=text.LINE)]
Quantity = Annotated[int, Meta(ge=1, le=1_000_000)]


class ProductStatus(StrEnum):
    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of pieces: free to order, reserved for unpaid orders, and sold.

    Only a stock adjustment changes their sum. `unshipped` is the part of `sold` that still lies on
    the shelf. Pieces sold before this field existed count as shipped.
    """

    available: int
    reserved: int = 0
    sold: int = 0
    unshipped: int = 0

    @property
    def on_hand(self) -> int:
        """The pieces on the shelf, which somebody can count."""
        return self.available + self.reserved + self.unshipped

    @property
    def total(self) -> int:
        return self.available + self.reserved + self.sold


class AdjustmentKind(StrEnum):
    """Why the number of pieces on the shelf changes, other than by a sale."""

    RECEIVED = "received"
    DAMAGED = "damaged"
    LOST = "lost"
    CORRECTION = "correction"
    STOCKTAKE = "stocktake"


class StockAdjustmentView(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a product's stock that is not a sale.

    `before` and `after` are pieces on hand: available, reserved, and sold but not shipped. `delta`
    is their difference. `counted` is the count that led to the adjustment, if one did.
    """

    id: str
    product_id: str
    kind: AdjustmentKind
    reason: str
    delta: int
    before: int
    after: int
    by: str
    at: datetime
    counted: int | None = None


class StockView(msgspec.Struct, frozen=True, kw_only=True):
    """Stock as clients see it: admins all of it, everybody else only what is free to order."""

    available: int
    reserved: int | UnsetType = UNSET
    sold: int | UnsetType = UNSET
    unshipped: int | UnsetType = UNSET


class ProductView(msgspec.Struct, frozen=True, kw_only=True):
    """A product as clients see it. `version` counts catalogue changes, not sales.

    `low_stock_at` is the number of available pieces at which `stock.low.v1` is published.
    """

    id: str
    sku: str
    name: str
    description: str
    category: str | None
    tags: list[str]
    image_url: str | None
    price: Money
    stock: StockView
    status: ProductStatus
    version: int
    created_at: datetime
    updated_at: datetime
    low_stock_at: int | None = None


class ProductNotFound(NotFound):
    """There is no product with this id.

    Take the id from the list of products.
    """

    code = "product_not_found"


class NameTaken(Conflict):
    """Another active product has this name.

    Choose another name, or archive the other product.
    """

    code = "product_name_taken"


class SkuTaken(Conflict):
    """Another product has this `sku`.

    Choose another `sku`, or send none.
    """

    code = "product_sku_taken"


class ProductChanged(Stale):
    """The product has changed since the version in `If-Match`.

    Read the product, then repeat the change with its new `ETag`.
    """

    code = "product_changed"


class PriceNotPositive(Invalid):
    """The price is zero or negative.

    Send a price of at least one minor unit.
    """

    code = "price_not_positive"


class UnknownCurrency(Invalid):
    """The price is in a currency that is not legal tender today.

    Send a current code of ISO 4217, such as `USD`.
    """

    code = "unknown_currency"


class UnknownProduct(Invalid):
    """The order names a product that does not exist or is archived.

    Remove the items that `errors` names.
    """

    code = "unknown_product"


class MixedCurrencies(Invalid):
    """The order's products are priced in more than one currency.

    Place an order for each currency.
    """

    code = "mixed_currencies"


class InsufficientStock(Conflict):
    """Fewer pieces are available than the order or the stock adjustment takes. Nothing changes.

    Take no more than `errors` says is available.
    """

    code = "insufficient_stock"


class AdjustmentNotFound(NotFound):
    """The product has no such stock adjustment.

    Check both ids.
    """

    code = "adjustment_not_found"


class StockChanged(Conflict):
    """The number of pieces on hand is not the `expected` one.

    Look at the product's stock, and decide again.
    """

    code = "stock_changed"


class OrderTooLarge(Invalid):
    """The order's total is larger than an amount can be.

    Split the order.
    """

    code = "order_too_large"


class TooManyPieces(Invalid):
    """The order has more pieces of a product, or more pieces in all, than an order may have.

    Order no more than `errors` says, or split the order.
    """

    code = "too_many_pieces"


class PriceChanged(Conflict):
    """The order would not cost its `expected_total`. Nothing is reserved.

    Show the customer the new `total`, and send it as `expected_total` under a new
    `Idempotency-Key` if they agree.
    """

    code = "price_changed"


class TooManyOpenOrders(Conflict):
    """The customer has as many unpaid orders as one customer may have. Nothing is reserved.

    Pay or cancel one of them, then try again after the seconds in `Retry-After`.
    """

    code = "too_many_open_orders"


@request(
    "create_product",
    service="products",
    refusals=(
        Forbidden,
        IdempotencyKeyReused,
        NameTaken,
        SkuTaken,
        PriceNotPositive,
        UnknownCurrency,
    ),
)
class CreateProduct(Request[Created[ProductView]], frozen=True, kw_only=True):
    """Create a product. For admins.

    Repeatable: the same `request_id` and `body_hash` return the product made first.
    """

    request_id: str
    body_hash: str
    name: Name
    description: Description
    price: Money
    stock: InitialStock
    sku: Sku | None = None
    category: Category | None = None
    tags: Tags = msgspec.field(default_factory=list[str])
    image_url: ImageUrl | None = None
    low_stock_at: LowStockAt | None = None
    actor: Actor | None = None


@request(
    "update_product",
    service="products",
    refusals=(
        Forbidden,
        ProductNotFound,
        ProductChanged,
        NameTaken,
        SkuTaken,
        PriceNotPositive,
        UnknownCurrency,
    ),
)
class UpdateProduct(Request[ProductView], frozen=True, kw_only=True):
    """Change the given fields. For admins.

    Raises:
        ProductChanged: the product is no longer at `if_version`.
    """

    product_id: str
    if_version: int | None = None
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    price: Money | UnsetType = UNSET
    sku: Sku | UnsetType = UNSET
    category: Category | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    image_url: ImageUrl | UnsetType | None = UNSET
    low_stock_at: LowStockAt | UnsetType | None = UNSET
    actor: Actor | None = None


@request("archive_product", service="products", refusals=(Forbidden, ProductNotFound))
class ArchiveProduct(Request[ProductView], frozen=True, kw_only=True):
    """Take a product out of the catalogue; an archived one stays unchanged. For admins."""

    product_id: str
    actor: Actor | None = None


@request("restore_product", service="products", refusals=(Forbidden, ProductNotFound, NameTaken))
class RestoreProduct(Request[ProductView], frozen=True, kw_only=True):
    """Put an archived product back into the catalogue; an active one stays unchanged. For admins.

    Refuses with `NameTaken` if another active product has its name by now.
    """

    product_id: str
    actor: Actor


@request("get_product", service="products", read=True, refusals=(ProductNotFound,))
class GetProduct(Request[ProductView], frozen=True, kw_only=True):
    """Get a product. An archived one is `ProductNotFound`, except for an admin.

    `actor` is `Actor.anybody()` unless an admin asks.
    """

    product_id: str
    actor: Actor | None = None


@request("list_products", service="products", read=True, refusals=(Forbidden, BadCursor))
class ListProducts(Request[Page[ProductView]], frozen=True, kw_only=True):
    """List active products, newest first; admins may also list those with another `status`.

    `actor` is as in `GetProduct`.
    """

    limit: int
    cursor: str | None = None
    status: ProductStatus = ProductStatus.ACTIVE
    actor: Actor | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity of one product."""

    product_id: str
    quantity: Quantity


class ReservedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A reserved quantity, with the product's name and price at the first request."""

    product_id: str
    name: str
    quantity: int
    unit_price: Money


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """Stock reserved for one order. `body_hash` is the hash of the request that made it."""

    order_id: str
    body_hash: str
    lines: list[ReservedLine]


@request(
    "reserve_stock",
    service="products",
    refusals=(
        Forbidden,
        UnknownProduct,
        MixedCurrencies,
        TooManyPieces,
        OrderTooLarge,
        PriceChanged,
        InsufficientStock,
        TooManyOpenOrders,
    ),
)
class ReserveStock(Request[Reservation], frozen=True, kw_only=True):
    """Reserve all items or none.

    Repeatable: a known `request_id` returns the stored reservation, with its own order id and
    prices, whatever this request contains.

    `owner` is opaque. An owner has at most `max_live` reservations that are neither paid nor given
    up. `max_per_line` bounds the pieces of one product, `max_pieces` those of all. 0 is no bound.
    `expected_total` is what the items are expected to cost together.
    """

    request_id: str
    order_id: str
    body_hash: str
    items: list[Item]
    actor: Actor | None = None
    owner: str | None = None
    max_live: int = 0
    max_per_line: int = 0
    max_pieces: int = 0
    expected_total: Money | None = None


@request(
    "adjust_stock",
    service="products",
    refusals=(
        Forbidden,
        Invalid,
        IdempotencyKeyReused,
        ProductNotFound,
        InsufficientStock,
        StockChanged,
    ),
)
class AdjustStock(Request[Created[StockAdjustmentView]], frozen=True, kw_only=True):
    """Change the available pieces by `delta`, or so that `counted` pieces are on hand. For admins.

    Reserved and sold pieces are never taken. With `expected`, nothing changes unless exactly so
    many pieces are on hand.

    Repeatable: the same `request_id` and `body_hash` return the adjustment made first.
    """

    request_id: str
    body_hash: str
    product_id: str
    kind: AdjustmentKind
    reason: AdjustmentReason
    delta: Delta | None = None
    counted: Counted | None = None
    expected: Counted | None = None
    actor: Actor


@request(
    "get_adjustment",
    service="products",
    read=True,
    refusals=(Forbidden, AdjustmentNotFound),
)
class GetAdjustment(Request[StockAdjustmentView], frozen=True, kw_only=True):
    """Return an adjustment of a product. For admins."""

    product_id: str
    adjustment_id: str
    actor: Actor


@request(
    "list_adjustments",
    service="products",
    read=True,
    refusals=(Forbidden, ProductNotFound, BadCursor),
)
class ListAdjustments(Request[Page[StockAdjustmentView]], frozen=True, kw_only=True):
    """List a product's adjustments, newest first. For admins."""

    product_id: str
    limit: int
    cursor: str | None = None
    actor: Actor


class AdjustmentSum(msgspec.Struct, frozen=True, kw_only=True):
    """All adjustments of a product of one kind: their number, and the sum of their deltas."""

    kind: AdjustmentKind
    count: int
    pieces: int


class StockAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A product's stock, and what it should be, as of one moment.

    `initial` and the `adjustments` add up to what `stock` should hold in total. `by_reservations`
    is the stock that the orders' reservations add up to, with the `available` of `stock`.
    """

    product_id: str
    sku: str
    name: str
    initial: int
    adjustments: list[AdjustmentSum]
    stock: Stock
    by_reservations: Stock

    @property
    def adjusted(self) -> int:
        """The total that `stock` should have."""
        return self.initial + sum(each.pieces for each in self.adjustments)

    @property
    def agrees(self) -> bool:
        return self.stock == self.by_reservations and self.adjusted == self.stock.total


@request("explain_stock", service="products", read=True, refusals=(Forbidden, ProductNotFound))
class ExplainStock(Request[StockAccount], frozen=True, kw_only=True):
    """Return the account of a product's stock. For admins.

    With `sku`, that names the product.
    """

    product_id: str
    actor: Actor
    sku: str | None = None


class StockRepair(msgspec.Struct, frozen=True, kw_only=True):
    """The account before and after a repair. `correction` is None if nothing had to change."""

    before: StockAccount
    after: StockAccount
    correction: StockAdjustmentView | None = None


@request("repair_stock", service="products", refusals=(Forbidden, ProductNotFound))
class RepairStock(Request[StockRepair], frozen=True, kw_only=True):
    """Set reserved and sold to what the reservations say, and record the difference. For admins.

    The available pieces stay: pieces that nobody has counted must not be sold.

    Repeatable: if everything agrees, nothing changes.
    """

    product_id: str
    reason: AdjustmentReason
    actor: Actor


@event("product.created.v1")
class ProductCreated(Event, frozen=True, kw_only=True):
    product: ProductView


@event("product.updated.v1")
class ProductUpdated(Event, frozen=True, kw_only=True):
    product: ProductView


@event("product.archived.v1")
class ProductArchived(Event, frozen=True, kw_only=True):
    product: ProductView


@event("product.restored.v1")
class ProductRestored(Event, frozen=True, kw_only=True):
    product: ProductView


@event("stock.shortage.v1", consumers=("orders",))
class StockShortage(Event, frozen=True, kw_only=True):
    """A paid order has no stock: its reservation was released before the payment."""

    order_id: str


@event("stock.adjusted.v1")
class StockAdjusted(Event, frozen=True, kw_only=True):
    """The number of pieces on the shelf has changed, other than by a sale."""

    adjustment: StockAdjustmentView


@event("stock.low.v1", consumers=("notifications",))
class StockLow(Event, frozen=True, kw_only=True):
    """The available pieces fell from above `low_stock_at` to it or below.

    Published once for each fall, whether an order or an adjustment took the pieces.
    """

    product_id: str
    sku: str
    name: str
    available: int
    low_stock_at: int


EVENTS: tuple[type[Event], ...] = (
    ProductCreated,
    ProductUpdated,
    ProductArchived,
    ProductRestored,
    StockShortage,
    StockAdjusted,
    StockLow,
)
