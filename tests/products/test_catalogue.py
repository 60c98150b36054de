"""The catalogue's handlers on the real MongoDB."""

import asyncio
import base64

import msgspec
import pytest

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.products import (
    ArchiveProduct,
    GetProduct,
    NameTaken,
    ProductChanged,
    ProductNotFound,
    ProductView,
    Reservation,
    RestoreProduct,
    SkuTaken,
    UpdateProduct,
)
from cartwheel.kernel import Created
from cartwheel.kernel.mongodb import BadCursor, Outboxes
from cartwheel.products.domain import catalogue as rules
from cartwheel.products.handlers import catalogue as catalogue_handlers
from cartwheel.products.mongo.catalogue import MongoCatalogue

from .conftest import Products
from .examples import CHANGE, now, reserve

ADMIN = Actor(user_id="user-ada", admin=True)


async def archive(products: Products, product_id: str) -> ProductView:
    request = ArchiveProduct(product_id=product_id)
    return await catalogue_handlers.archive_product(request, catalogue=products.catalogue, now=now)


async def restore(products: Products, product_id: str) -> ProductView:
    request = RestoreProduct(product_id=product_id, actor=ADMIN)
    return await catalogue_handlers.restore_product(request, catalogue=products.catalogue, now=now)


async def test_a_stored_product_is_read_unchanged(products: Products) -> None:
    created = await products.make(name="Mug", sku="MUG-1", stock=3)

    assert created.replayed is False
    assert await products.view(created.made.id) == created.made


async def test_a_product_in_a_former_currency_is_still_read(
    products: Products,
) -> None:
    made = (await products.make(name="Mug")).made
    old = {"amount": 100, "currency": "DEM", "of": "a later version"}
    await products.database["products"].update_one({"_id": made.id}, {"$set": {"price": old}})

    assert (await products.view(made.id)).price == Money(100, "DEM")


async def test_the_same_request_again_answers_the_first_product(products: Products) -> None:
    first = await products.make(name="Mug", request_id="5c0e")

    again = await products.make(name="Mug", request_id="5c0e")

    assert again == Created(made=first.made, replayed=True)


async def test_the_same_request_twenty_times_at_once_makes_one_product(products: Products) -> None:
    made = await asyncio.gather(*(products.make(name="Mug", request_id="5c0e") for _ in range(20)))

    assert len({each.made.id for each in made}) == 1
    assert [each.replayed for each in made].count(False) == 1
    assert await products.database["products"].count_documents({}) == 1


async def test_the_same_key_with_another_body_is_refused(products: Products) -> None:
    await products.make(name="Mug", request_id="5c0e", body_hash="one")

    with pytest.raises(IdempotencyKeyReused):
        await products.make(name="Cup", request_id="5c0e", body_hash="other")


async def test_two_active_products_cannot_share_a_name(products: Products) -> None:
    await products.make(name="Mug")

    with pytest.raises(NameTaken) as refused:
        await products.make(name=" Mug ")

    assert [error.field for error in refused.value.errors] == ["name"]


async def test_two_products_cannot_share_a_sku(products: Products) -> None:
    await products.make(name="Mug", sku="M-1")

    with pytest.raises(SkuTaken) as refused:
        await products.make(name="Cup", sku="M-1")

    assert [error.field for error in refused.value.errors] == ["sku"]


async def test_a_products_sku_is_changed_unless_another_has_it(products: Products) -> None:
    await products.make(sku="M-1")
    cup = (await products.make(sku="C-1")).made

    changed = await products.update(UpdateProduct(product_id=cup.id, sku="C-2"))
    with pytest.raises(SkuTaken) as refused:
        await products.update(UpdateProduct(product_id=cup.id, sku="M-1"))

    assert [error.field for error in refused.value.errors] == ["sku"]
    assert (changed.sku, changed.version) == ("C-2", 2)
    assert await products.view(cup.id) == changed


async def test_a_restored_product_is_listed_and_sold_again(products: Products) -> None:
    mug = (await products.make(name="Mug", stock=3)).made
    await archive(products, mug.id)

    restored = await restore(products, mug.id)

    assert (restored.status, restored.version) == ("ACTIVE", 3)
    assert await restore(products, mug.id) == restored
    assert (await products.page(10)).data == [restored]
    [reserved] = await products.reserve(reserve((mug.id, 1)))
    assert isinstance(reserved, Reservation)
    outbox = (await products.document(mug.id))["outbox"]
    assert [event["type"] for event in outbox][-1] == "product.restored.v1"


async def test_a_product_whose_name_is_taken_meanwhile_is_not_restored(products: Products) -> None:
    first = (await products.make(name="Mug")).made
    await archive(products, first.id)
    second = (await products.make(name="Mug")).made

    with pytest.raises(NameTaken):
        await restore(products, first.id)

    assert (await products.view(first.id)).status == "ARCHIVED"
    await archive(products, second.id)
    assert (await restore(products, first.id)).status == "ACTIVE"


async def test_of_many_restored_at_once_under_one_name_one_is_active(products: Products) -> None:
    made: list[str] = []
    for _ in range(6):
        made.append((await products.make(name="Mug")).made.id)
        await archive(products, made[-1])

    tried = await asyncio.gather(
        *(restore(products, each) for each in made), return_exceptions=True
    )

    assert sum(isinstance(each, ProductView) for each in tried) == 1
    assert sum(isinstance(each, NameTaken) for each in tried) == 5
    assert len((await products.page(10)).data) == 1


async def test_an_archived_products_name_can_be_used_again(products: Products) -> None:
    first = await products.make(name="Mug")
    await archive(products, first.made.id)

    second = await products.make(name="Mug")

    assert second.made.id != first.made.id


async def test_a_product_cannot_be_renamed_to_a_name_that_is_taken(products: Products) -> None:
    await products.make(name="Mug")
    cup = await products.make(name="Cup")

    with pytest.raises(NameTaken):
        await products.update(UpdateProduct(product_id=cup.made.id, name="Mug"))

    assert (await products.view(cup.made.id)).name == "Cup"


async def test_a_change_increments_the_version(products: Products) -> None:
    mug = (await products.make(name="Mug")).made

    changed = await products.update(
        UpdateProduct(product_id=mug.id, if_version=1, price=Money(2500, "USD"))
    )

    assert (changed.version, changed.price) == (2, Money(2500, "USD"))
    assert await products.view(mug.id) == changed


async def test_a_change_made_for_an_older_version_is_refused(products: Products) -> None:
    mug = (await products.make(name="Mug")).made
    await products.update(UpdateProduct(product_id=mug.id, description="Big"))

    with pytest.raises(ProductChanged):
        await products.update(UpdateProduct(product_id=mug.id, if_version=1, description="Small"))

    assert (await products.view(mug.id)).description == "Big"


async def test_of_two_changes_to_one_version_only_one_is_made(products: Products) -> None:
    mug = (await products.make(name="Mug")).made
    changes = (
        UpdateProduct(product_id=mug.id, if_version=1, description=f"No. {number}")
        for number in range(8)
    )

    results = await asyncio.gather(*map(products.update, changes), return_exceptions=True)

    assert sum(isinstance(result, ProductView) for result in results) == 1
    assert sum(isinstance(result, ProductChanged) for result in results) == 7
    assert (await products.view(mug.id)).version == 2


async def test_concurrent_changes_without_a_version_are_all_made(products: Products) -> None:
    mug = (await products.make(name="Mug")).made
    changes = [
        UpdateProduct(product_id=mug.id, description="Big"),
        UpdateProduct(product_id=mug.id, category="kitchen"),
        UpdateProduct(product_id=mug.id, tags=["blue"]),
        UpdateProduct(product_id=mug.id, price=Money(1, "USD")),
    ]

    await asyncio.gather(*map(products.update, changes))

    after = await products.view(mug.id)
    assert (after.description, after.category, after.tags) == ("Big", "kitchen", ["blue"])
    assert (after.price, after.version) == (Money(1, "USD"), 5)


async def test_a_sale_does_not_make_an_admins_change_stale(products: Products) -> None:
    mug = (await products.make(name="Mug", stock=5)).made
    await products.reserve(reserve((mug.id, 2)))

    changed = await products.update(
        UpdateProduct(product_id=mug.id, if_version=mug.version, description="Big")
    )

    assert changed.version == 2
    stored = await products.view(mug.id)
    assert (stored.stock.available, stored.stock.reserved) == (3, 2)


async def test_a_change_during_sales_loses_no_sale(products: Products) -> None:
    mug = (await products.make(name="Mug", stock=20)).made

    await asyncio.gather(
        *(products.reserve(reserve((mug.id, 1))) for _ in range(10)),
        *(
            products.update(UpdateProduct(product_id=mug.id, description=f"No. {number}"))
            for number in range(10)
        ),
    )

    stored = await products.view(mug.id)
    assert (stored.stock.available, stored.stock.reserved) == (10, 10)


async def test_an_unknown_product_is_not_found(products: Products) -> None:
    mug = (await products.make()).made

    found = await catalogue_handlers.get_products(
        [GetProduct(product_id=mug.id), GetProduct(product_id="prd_none")],
        catalogue=products.catalogue,
    )

    assert found[0] == mug
    assert isinstance(found[1], ProductNotFound)
    with pytest.raises(ProductNotFound):
        await products.update(UpdateProduct(product_id="prd_none", name="Mug"))


async def test_an_archived_product_can_be_read_but_is_not_listed(products: Products) -> None:
    kept = (await products.make()).made
    gone = (await products.make()).made

    await archive(products, gone.id)

    assert (await products.view(gone.id)).status == "ARCHIVED"
    assert (await products.page(10)).data == [kept]


async def test_pages_list_every_product_once_newest_first(products: Products) -> None:
    made = [(await products.make()).made for _ in range(7)]

    seen: list[ProductView] = []
    cursor: str | None = None
    while True:
        page = await products.page(3, cursor)
        assert len(page.data) <= 3
        seen += page.data
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == made[::-1]


async def test_a_product_created_between_pages_does_not_shift_the_next_page(
    products: Products,
) -> None:
    made = [(await products.make()).made for _ in range(4)]
    first = await products.page(2)
    await products.make()

    second = await products.page(2, first.next_cursor)

    assert first.data + second.data == made[::-1]
    assert second.next_cursor is None


@pytest.mark.parametrize("cursor", ["no cursor", "ü", "A", "_w", "{}", "aaaa"], ids=ascii)
async def test_an_invalid_cursor_is_refused(products: Products, cursor: str) -> None:
    with pytest.raises(BadCursor) as refused:
        await products.page(3, cursor)

    assert [error.field for error in refused.value.errors] == ["cursor"]


async def test_a_cursor_is_never_used_as_a_query(products: Products) -> None:
    await products.make()
    cursor = base64.urlsafe_b64encode(b'{"$gt": ""}').decode()

    assert (await products.page(3, cursor)).next_cursor is None


async def test_the_outbox_has_each_change_in_order(products: Products) -> None:
    mug = (await products.make(name="Mug")).made
    await products.update(UpdateProduct(product_id=mug.id, description="Big"))
    await products.update(UpdateProduct(product_id=mug.id, description="Big"))
    archived = await archive(products, mug.id)

    document = await products.document(mug.id)

    told = [(each["sequence"], each["type"]) for each in document["outbox"]]
    assert told == [
        (1, "product.created.v1"),
        (2, "product.updated.v1"),
        (3, "product.archived.v1"),
    ]
    assert {each["subject"] for each in document["outbox"]} == {mug.id}
    last = msgspec.json.decode(document["outbox"][-1]["data"])
    assert msgspec.convert(last["product"], ProductView) == archived


async def test_the_publisher_is_notified_of_each_change_at_once(products: Products) -> None:
    async def told_of() -> None:
        document = await products.database["products"].find_one({"_id": mug.id})
        assert document
        [told] = products.outboxes.take().items()
        assert told == (("products", mug.id), document["outbox"][-1:])
        products.outboxes.done(("products", mug.id))

    mug = (await products.make(name="Mug")).made
    await told_of()

    await products.update(UpdateProduct(product_id=mug.id, description="Big"))
    await told_of()

    await products.update(UpdateProduct(product_id=mug.id, description="Big"))
    assert not products.outboxes


async def test_a_rejected_change_leaves_no_event(products: Products) -> None:
    mug = (await products.make(name="Mug")).made
    catalogue = MongoCatalogue(products.database, Outboxes())
    read = (await catalogue.get_many([mug.id]))[mug.id]
    await products.update(UpdateProduct(product_id=mug.id, description="Big"))

    late = rules.update(read, UpdateProduct(product_id=mug.id, description="Small"), CHANGE)
    stored = await catalogue.save(late, expected=read)

    assert stored is False
    document = await products.document(mug.id)
    assert (document["description"], document["sequence"]) == ("Big", 2)
    assert len(document["outbox"]) == 2
