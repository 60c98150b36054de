"""Creating, changing and reading products."""

from cartwheel.contracts.idempotency import check_repeated
from cartwheel.contracts.identity import Actor, require_admin
from cartwheel.contracts.products import (
    ArchiveProduct,
    CreateProduct,
    GetProduct,
    ListProducts,
    ProductNotFound,
    ProductStatus,
    ProductView,
    RestoreProduct,
    UpdateProduct,
)
from cartwheel.kernel import Change, Clock, Created, Page, new_id, utc_now
from cartwheel.kernel.errors import Forbidden, Refusal
from cartwheel.products.domain import catalogue as rules
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.ports import Catalogue


async def create_product(
    request: CreateProduct, *, catalogue: Catalogue, now: Clock = utc_now
) -> Created[ProductView]:
    require_admin(request.actor, "change the catalogue")
    change = _change(request.actor, now)
    product = rules.create(request, change, product_id=new_id("prd"))
    earlier = await catalogue.add(product)
    if earlier is None:
        return Created(made=product.view())
    check_repeated(earlier.body_hash, request.body_hash, made="product")
    return Created(made=earlier.view(), replayed=True)


async def update_product(
    request: UpdateProduct, *, catalogue: Catalogue, now: Clock = utc_now
) -> ProductView:
    require_admin(request.actor, "change the catalogue")
    by = _change(request.actor, now)
    product = await catalogue.change(request.product_id, rules.update, request, by=by)
    return product.view()


async def archive_product(
    request: ArchiveProduct, *, catalogue: Catalogue, now: Clock = utc_now
) -> ProductView:
    require_admin(request.actor, "change the catalogue")
    by = _change(request.actor, now)
    return (await catalogue.change(request.product_id, rules.archive, by=by)).view()


async def restore_product(
    request: RestoreProduct, *, catalogue: Catalogue, now: Clock = utc_now
) -> ProductView:
    require_admin(request.actor, "change the catalogue")
    by = _change(request.actor, now)
    return (await catalogue.change(request.product_id, rules.restore, by=by)).view()


async def get_products(
    requests: list[GetProduct], *, catalogue: Catalogue
) -> list[ProductView | Refusal]:
    found = await catalogue.get_many([request.product_id for request in requests])
    return [_shown(found.get(request.product_id), request.actor) for request in requests]


def _shown(product: Product | None, actor: Actor | None) -> ProductView | Refusal:
    if product is None or not _may_see(product.status, actor):
        return ProductNotFound("There is no such product.")
    return rules.seen_by(actor, product.view())


async def list_products(request: ListProducts, *, catalogue: Catalogue) -> Page[ProductView]:
    if not _may_see(request.status, request.actor):
        raise Forbidden("Only an administrator sees archived products.")
    page = await catalogue.listing(request.status, limit=request.limit, cursor=request.cursor)
    seen = [rules.seen_by(request.actor, product) for product in page.data]
    return Page(data=seen, next_cursor=page.next_cursor)


def _may_see(status: ProductStatus, actor: Actor | None) -> bool:
    return status is ProductStatus.ACTIVE or actor is None or actor.admin


def _change(actor: Actor | None, now: Clock) -> Change:
    return Change(by=actor.user_id if actor else "admin", at=now())
