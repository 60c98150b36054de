"""Products itself decides who may change the catalogue, whatever the gateway has checked."""

import pytest
from msgspec.structs import replace

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.products import ArchiveProduct, ProductView, Reservation, UpdateProduct
from cartwheel.kernel.errors import Forbidden
from cartwheel.products.handlers import catalogue

from .conftest import Products
from .examples import create, now, reserve

ADMIN = Actor(user_id="user-ada", admin=True)
ORDERS = Actor.service("orders")
NO_ADMINS = pytest.mark.parametrize("actor", [Actor(user_id="user-eve"), ORDERS])


async def change(products: Products, product_id: str, actor: Actor) -> list[ProductView]:
    """Create, update and archive a product as `actor`."""
    update = UpdateProduct(product_id=product_id, description="Big", actor=actor)
    archive = ArchiveProduct(product_id=product_id, actor=actor)
    return [
        (
            await catalogue.create_product(
                replace(create(), actor=actor), catalogue=products.catalogue, now=now
            )
        ).made,
        await catalogue.update_product(update, catalogue=products.catalogue, now=now),
        await catalogue.archive_product(archive, catalogue=products.catalogue, now=now),
    ]


async def test_an_admin_changes_the_catalogue(products: Products) -> None:
    created, updated, archived = await change(products, await products.stocked(1), ADMIN)

    assert created.version == 1
    assert updated.description == "Big"
    assert archived.status == "ARCHIVED"


@NO_ADMINS
async def test_nobody_else_creates_updates_or_archives_a_product(
    products: Products, actor: Actor
) -> None:
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
    )

    for request in requests:
        with pytest.raises(Forbidden):
            await request

    assert await products.document(product_id) == before


async def test_only_a_service_reserves_stock(products: Products) -> None:
    product_id = await products.stocked(5)

    with pytest.raises(Forbidden):
        await products.reserve(replace(reserve((product_id, 1)), actor=ADMIN))
    [reserved] = await products.reserve(replace(reserve((product_id, 1)), actor=ORDERS))

    assert isinstance(reserved, Reservation)
