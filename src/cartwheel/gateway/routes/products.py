"""The catalogue. Everybody reads it, administrators write it.

While it is public, nobody needs a token to read it, and who has none sees what customers see. How
much is reserved and sold, and what is archived, only administrators see.
"""

import contextlib
from typing import Annotated, TypeVar

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType, structs

from cartwheel.contracts import products as contract
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.products import ProductStatus, ProductView
from cartwheel.gateway import examples
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.described import described
from cartwheel.gateway.etags import ETAG, etag
from cartwheel.gateway.idempotency import (
    CREATED,
    IdempotencyKey,
    UnkeptKey,
    body_hash,
    created,
    request_id,
)
from cartwheel.gateway.identity import VISITED, Identity, SignedIn, Visitor, admin
from cartwheel.gateway.paging import Cursor, Limit
from cartwheel.gateway.strict import Price
from cartwheel.kernel import Page

Answer = TypeVar("Answer")

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match", description="The `ETag` of the version that the change is made for"
    ),
]

WithStatus = Annotated[
    ProductStatus | None,
    QueryParameter(
        name="status",
        description="Only products with this status; active ones by default. "
        "Archived ones are for administrators",
    ),
]

_PRICE = Price(1999, "USD")

_STORED = {"cache-control": "no-cache", "vary": "Authorization"}
"""May be kept, but is to be asked for again before it is used: stock changes all the time. Who is
asking may change it, too."""
_STORED_BY_ONE = {**_STORED, "cache-control": "private, no-cache"}
"""The same, of an answer to a token."""


class NewProduct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`stock` is the number of pieces there are at first.

    At `low_stock_at` available pieces, `stock.low.v1` is published.
    """

    name: contract.Name
    description: contract.Description = ""
    price: Price
    stock: contract.InitialStock
    sku: contract.Sku | None = None
    category: contract.Category | None = None
    tags: contract.Tags = msgspec.field(default_factory=list[str])
    image_url: contract.ImageUrl | None = None
    low_stock_at: contract.LowStockAt | None = None


class ProductChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Only what is given is changed."""

    name: contract.Name | UnsetType = UNSET
    description: contract.Description | UnsetType = UNSET
    price: Price | UnsetType = UNSET
    sku: contract.Sku | UnsetType = UNSET
    category: contract.Category | UnsetType | None = UNSET
    tags: contract.Tags | UnsetType = UNSET
    image_url: contract.ImageUrl | UnsetType | None = UNSET
    low_stock_at: contract.LowStockAt | UnsetType | None = UNSET


@post(
    "/",
    guards=[admin],
    opt=described(
        asks=contract.CreateProduct,
        body=NewProduct(
            name=examples.PRODUCT.name,
            description=examples.PRODUCT.description,
            price=_PRICE,
            stock=10,
            sku=examples.PRODUCT.sku,
            category=examples.PRODUCT.category,
            tags=examples.PRODUCT.tags,
            image_url=examples.PRODUCT.image_url,
            low_stock_at=examples.PRODUCT.low_stock_at,
        ),
        answer=examples.PRODUCT,
        returns="The product.",
        headers={**CREATED, **ETAG},
    ),
)
async def create_product(
    data: JSONBody[NewProduct], identity: SignedIn, bus: Bus, key: IdempotencyKey = None
) -> Response[ProductView]:
    """Add a product to the catalogue.

    For administrators.
    """
    answer = await bus.request(
        contract.CreateProduct(
            request_id=request_id(identity, key),
            body_hash=body_hash(data),
            actor=identity.actor,
            **msgspec.structs.asdict(data),
        )
    )
    response = created(answer, f"/api/v1/products/{answer.made.id}")
    response.headers["ETag"] = etag(answer.made.version)
    return response


@get(
    "/",
    opt={
        **VISITED,
        **described(
            asks=contract.ListProducts,
            answer=Page(data=[examples.PRODUCT_FOR_ALL]),
            returns="A page of products, newest first.",
        ),
    },
)
async def list_products(
    visitor: Visitor,
    bus: Bus,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: WithStatus = None,
) -> Response[Page[ProductView]]:
    """List the products, newest first.

    Only administrators see archived products, and how many pieces are reserved and sold.
    """
    request = contract.ListProducts(
        limit=limit,
        cursor=cursor,
        status=status or ProductStatus.ACTIVE,
        actor=_seen_by(visitor),
    )
    return _stored(await handed_on(request, bus), visitor)


@get(
    "/{product_id:str}",
    opt={
        **VISITED,
        **described(
            asks=contract.GetProduct,
            answer=examples.PRODUCT_FOR_ALL,
            returns="The product.",
            headers=ETAG,
        ),
    },
)
async def get_product(
    product_id: FromPath[str], visitor: Visitor, bus: Bus
) -> Response[ProductView]:
    """Show a product.

    Only administrators see an archived product, and how many pieces are reserved and sold.
    """
    request = contract.GetProduct(product_id=product_id, actor=_seen_by(visitor))
    return _stored(_tagged(await bus.request(request)), visitor)


def _seen_by(visitor: Identity | None) -> Actor:
    """Return the actor of a look at the catalogue: one for all who are no administrators."""
    return visitor.actor if visitor and visitor.admin else Actor.anybody()


def _stored(response: Response[Answer], visitor: Identity | None) -> Response[Answer]:
    """Return `response` with who may store it."""
    response.headers |= _STORED_BY_ONE if visitor else _STORED
    return response


@patch(
    "/{product_id:str}",
    guards=[admin],
    opt=described(
        asks=contract.UpdateProduct,
        body=ProductChanges(
            name=examples.PRODUCT.name,
            description=examples.PRODUCT.description,
            price=_PRICE,
            sku=examples.PRODUCT.sku,
            category=examples.PRODUCT.category,
            tags=examples.PRODUCT.tags,
            image_url=examples.PRODUCT.image_url,
            low_stock_at=examples.PRODUCT.low_stock_at,
        ),
        answer=examples.PRODUCT,
        returns="The changed product.",
        headers=ETAG,
    ),
)
async def update_product(
    product_id: FromPath[str],
    data: JSONBody[ProductChanges],
    identity: SignedIn,
    bus: Bus,
    if_match: IfMatch = None,
) -> Response[ProductView]:
    """Change a product.

    For administrators. Fields that are not sent stay as they are. With `If-Match`, the product is
    changed only if it is still at that version.
    """
    return _tagged(
        await bus.request(
            contract.UpdateProduct(
                product_id=product_id,
                if_version=_version(if_match),
                actor=identity.actor,
                **msgspec.structs.asdict(data),
            )
        )
    )


@delete(
    "/{product_id:str}",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.ArchiveProduct,
        answer=structs.replace(examples.PRODUCT, status=contract.ProductStatus.ARCHIVED),
        returns="The product, which is archived.",
        headers=ETAG,
    ),
)
async def archive_product(
    product_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[ProductView]:
    """Archive a product.

    For administrators. It is no longer listed and cannot be ordered. Orders that have it keep it.
    """
    request = contract.ArchiveProduct(product_id=product_id, actor=identity.actor)
    return _tagged(await bus.request(request))


@post(
    "/{product_id:str}/restore",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.RestoreProduct,
        answer=structs.replace(examples.PRODUCT, version=3),
        returns="The product, which is active.",
        headers=ETAG,
    ),
)
async def restore_product(
    product_id: FromPath[str], identity: SignedIn, bus: Bus, key: UnkeptKey = None
) -> Response[ProductView]:
    """Put an archived product back into the catalogue.

    For administrators. 409 `product_name_taken`: another product has its name by now; give one of
    the two another name. A repeat changes nothing, and gets the product as it is.
    """
    request = contract.RestoreProduct(product_id=product_id, actor=identity.actor)
    return _tagged(await bus.request(request))


def _tagged(product: ProductView) -> Response[ProductView]:
    return Response(product, headers={"ETag": etag(product.version)})


def _version(if_match: str | None) -> int | None:
    """Return the version that `if_match` demands, or one that no product has if it is not ours."""
    if if_match is None or if_match.strip() == "*":
        return None
    with contextlib.suppress(ValueError):
        return int(if_match.strip().strip('"'))
    return -1


router = Router(
    "/products",
    route_handlers=[
        create_product,
        list_products,
        get_product,
        update_product,
        archive_product,
        restore_product,
    ],
    tags=["products"],
)
