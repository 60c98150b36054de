"""Products itself decides who may change the catalogue, whatever the gateway has checked."""

import pytest
from msgspec.structs import replace

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.products import (
    ArchiveProduct,
    GetProduct,
    ListProducts,
    ProductNotFound,
    ProductStatus,
    ProductView,
    Reservation,
    RestoreProduct,
    StockView,
    UpdateProduct,
)
from cartwheel.kernel.errors import Forbidden, Refusal
from cartwheel.products.handlers import catalogue

from .conftest import Products
from .examples import create, now, reserve

ADMIN = Actor(user_id="user-ada", admin=True)
ORDERS = Actor.service("orders")
EVERYBODY = pytest.mark.parametrize("actor", [Actor(user_id="user-eve"), Actor.anybody()])
NO_ADMINS = pytest.mark.parametrize("actor", [Actor(user_id="user-eve"), ORDERS])


async def change(products: Products, product_id: str, actor: Actor) -> list[ProductView]:
    """Create, update, archive and restore a product as `actor`."""
    update = UpdateProduct(product_id=product_id, description="Big", actor=actor)
    archive = ArchiveProduct(product_id=product_id, actor=actor)
    restore = RestoreProduct(product_id=product_id, actor=actor)
    return [
        (
            await catalogue.create_product(
                replace(create(), actor=actor), catalogue=products.catalogue, now=now
            )
        ).made,
        await catalogue.update_product(update, catalogue=products.catalogue, now=now),
        await catalogue.archive_product(archive, catalogue=products.catalogue, now=now),
        await catalogue.restore_product(restore, catalogue=products.catalogue, now=now),
    ]


async def test_an_admin_changes_the_catalogue(products: Products) -> None:
    created, updated, archived, restored = await change(products, await products.stocked(1), ADMIN)

    assert created.version == 1
    assert updated.description == "Big"
    assert archived.status == "ARCHIVED"
    assert restored.status == "ACTIVE"


@NO_ADMINS
async def test_nobody_else_changes_the_catalogue(products: Products, actor: Actor) -> None:
    product_id = await products.stocked(1)
    before = await products.document(product_id)
    requests = (
        catalogue.create_product(
            replace(create(), actor=actor), catalogue=products.catalogue, now=now
        ),
        catalogue.update_product(
            UpdateProduct(product_id=product_id, description="Big", actor=actor),
            catalogue=products.catalogue,
            now=now,
        ),
        catalogue.archive_product(
            ArchiveProduct(product_id=product_id, actor=actor),
            catalogue=products.catalogue,
            now=now,
        ),
        catalogue.restore_product(
            RestoreProduct(product_id=product_id, actor=actor),
            catalogue=products.catalogue,
            now=now,
        ),
    )

    for request in requests:
        with pytest.raises(Forbidden):
            await request

    assert await products.document(product_id) == before


async def look(products: Products, product_id: str, actor: Actor | None) -> ProductView | Refusal:
    [answer] = await catalogue.get_products(
        [GetProduct(product_id=product_id, actor=actor)], catalogue=products.catalogue
    )
    return answer


async def listed(
    products: Products, actor: Actor | None, status: ProductStatus = ProductStatus.ACTIVE
) -> list[ProductView]:
    request = ListProducts(limit=10, status=status, actor=actor)
    return (await catalogue.list_products(request, catalogue=products.catalogue)).data


@EVERYBODY
async def test_an_archived_product_does_not_exist_but_for_admins(
    products: Products, actor: Actor
) -> None:
    kept, gone = await products.stocked(1), await products.stocked(1)
    archive = ArchiveProduct(product_id=gone, actor=ADMIN)
    archived = await catalogue.archive_product(archive, catalogue=products.catalogue, now=now)

    hidden, never = await look(products, gone, actor), await look(products, "prd_none", actor)
    assert isinstance(hidden, ProductNotFound)
    assert isinstance(never, ProductNotFound)
    assert hidden.detail == never.detail
    assert [each.id for each in await listed(products, actor)] == [kept]
    with pytest.raises(Forbidden):
        await listed(products, actor, ProductStatus.ARCHIVED)

    assert await look(products, gone, ADMIN) == archived
    assert await listed(products, ADMIN, ProductStatus.ARCHIVED) == [archived]


@EVERYBODY
async def test_only_admins_see_how_much_is_reserved_and_sold(
    products: Products, actor: Actor
) -> None:
    product_id = await products.stocked(5)
    await products.reserve(reserve((product_id, 2)))

    seen = await look(products, product_id, actor)

    assert isinstance(seen, ProductView)
    assert seen.stock == StockView(available=3)
    assert await listed(products, actor) == [seen]
    everything = await look(products, product_id, ADMIN)
    assert isinstance(everything, ProductView)
    assert everything.stock == StockView(available=3, reserved=2, sold=0, unshipped=0)
    assert await listed(products, ADMIN) == [everything]


async def test_a_gateway_of_an_older_version_sees_what_it_saw(products: Products) -> None:
    product_id = await products.stocked(5)
    archive = ArchiveProduct(product_id=product_id, actor=ADMIN)
    archived = await catalogue.archive_product(archive, catalogue=products.catalogue, now=now)

    assert await look(products, product_id, None) == archived


async def test_only_a_service_reserves_stock(products: Products) -> None:
    product_id = await products.stocked(5)

    with pytest.raises(Forbidden):
        await products.reserve(replace(reserve((product_id, 1)), actor=ADMIN))
    [reserved] = await products.reserve(replace(reserve((product_id, 1)), actor=ORDERS))

    assert isinstance(reserved, Reservation)
