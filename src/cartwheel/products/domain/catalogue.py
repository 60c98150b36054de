"""The rules of the catalogue. Pure: values in, new values or a refusal out."""

from datetime import date, datetime
from functools import lru_cache

import msgspec
from babel.core import get_global
from babel.numbers import get_territory_currencies
from msgspec import UNSET

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.products import (
    CreateProduct,
    PriceNotPositive,
    ProductArchived,
    ProductChanged,
    ProductCreated,
    ProductRestored,
    ProductStatus,
    ProductUpdated,
    ProductView,
    Stock,
    StockView,
    UnknownCurrency,
    UpdateProduct,
)
from cartwheel.kernel import Change, Event
from cartwheel.kernel.errors import FieldError


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product. Its `events`, and the `change` that made them, are not stored yet."""

    id: str
    request_id: str
    body_hash: str
    sku: str
    name: str
    description: str
    category: str | None
    tags: list[str]
    image_url: str | None
    price: Money
    initial_stock: int
    stock: Stock
    status: ProductStatus
    version: int
    created_at: datetime
    updated_at: datetime
    low_stock_at: int | None = None
    sequence: int = 0
    events: tuple[Event, ...] = ()
    change: Change | None = None

    def view(self) -> ProductView:
        return ProductView(
            id=self.id,
            sku=self.sku,
            name=self.name,
            description=self.description,
            category=self.category,
            tags=self.tags,
            image_url=self.image_url,
            price=self.price,
            stock=msgspec.convert(self.stock, StockView, from_attributes=True),
            status=self.status,
            version=self.version,
            created_at=self.created_at,
            updated_at=self.updated_at,
            low_stock_at=self.low_stock_at,
        )


def create(request: CreateProduct, change: Change, *, product_id: str) -> Product:
    """Return the product that `request` asks for.

    Raises:
        PriceNotPositive, UnknownCurrency: nobody could pay the price.
    """
    _check_price(request.price, at=change.at)
    product = Product(
        id=product_id,
        request_id=request.request_id,
        body_hash=request.body_hash,
        sku=request.sku or product_id[-12:].upper(),
        name=request.name.strip(),
        description=request.description,
        category=request.category,
        tags=request.tags,
        image_url=request.image_url,
        price=request.price,
        initial_stock=request.stock,
        stock=Stock(available=request.stock),
        status=ProductStatus.ACTIVE,
        version=1,
        created_at=change.at,
        updated_at=change.at,
        low_stock_at=request.low_stock_at,
    )
    return _with_event(product, ProductCreated(product=product.view()), change)


def update(product: Product, request: UpdateProduct, change: Change) -> Product:
    """Return `product` with the fields that `request` gives.

    Raises:
        ProductChanged: the product is no longer at the version that the request names.
        PriceNotPositive, UnknownCurrency: nobody could pay the new price.
    """
    if request.if_version is not None and request.if_version != product.version:
        raise ProductChanged(f"The product is now at version {product.version}. Read it again.")
    if request.price is not UNSET:
        _check_price(request.price, at=change.at)
    given = {
        name: value
        for name in (
            "name",
            "description",
            "price",
            "sku",
            "category",
            "tags",
            "image_url",
            "low_stock_at",
        )
        if (value := getattr(request, name)) is not UNSET
    }
    if request.name is not UNSET:
        given["name"] = request.name.strip()
    if all(getattr(product, name) == value for name, value in given.items()):
        return product
    changed = msgspec.structs.replace(
        product, **given, version=product.version + 1, updated_at=change.at
    )
    return _with_event(changed, ProductUpdated(product=changed.view()), change)


def archive(product: Product, change: Change) -> Product:
    """Return `product` as ARCHIVED; unchanged if it is ARCHIVED already."""
    if product.status is ProductStatus.ARCHIVED:
        return product
    archived = msgspec.structs.replace(
        product, status=ProductStatus.ARCHIVED, version=product.version + 1, updated_at=change.at
    )
    return _with_event(archived, ProductArchived(product=archived.view()), change)


def restore(product: Product, change: Change) -> Product:
    """Return `product` back in the catalogue; unchanged if it is there."""
    if product.status is ProductStatus.ACTIVE:
        return product
    restored = msgspec.structs.replace(
        product, status=ProductStatus.ACTIVE, version=product.version + 1, updated_at=change.at
    )
    return _with_event(restored, ProductRestored(product=restored.view()), change)


def seen_by(actor: Actor | None, product: ProductView) -> ProductView:
    """Return `product` as `actor` may see it. How much is sold is the shop's own business.

    Without an actor, an older gateway asks, which shows everything.
    """
    if actor is None or actor.admin:
        return product
    stock = StockView(available=product.stock.available)
    return msgspec.structs.replace(product, stock=stock, low_stock_at=None)


@lru_cache(maxsize=2)
def currencies(on: date) -> frozenset[str]:
    """Return the currencies of ISO 4217 that are legal tender somewhere on that day.

    Excluded are former currencies (DEM), funds and metals (CLF, XAU), and the codes for tests and
    for no currency (XTS, XXX).
    """
    return frozenset(
        currency
        for territory in get_global("territory_currencies")
        for currency in get_territory_currencies(territory, on, on)
    )


def _check_price(price: Money, *, at: datetime) -> None:
    if price.amount == 0:
        detail = "`price.amount` must be at least 1."
        raise PriceNotPositive(detail, errors=[FieldError("price.amount", detail)])
    if price.currency not in currencies(at.date()):
        detail = "`price.currency` must be an ISO 4217 currency that is legal tender today."
        raise UnknownCurrency(detail, errors=[FieldError("price.currency", detail)])


def _with_event(product: Product, event: Event, change: Change) -> Product:
    return msgspec.structs.replace(product, events=(*product.events, event), change=change)
