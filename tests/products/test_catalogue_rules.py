"""The rules of the catalogue, without a database."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from cartwheel.contracts.money import Money
from cartwheel.contracts.products import (
    PriceNotPositive,
    ProductArchived,
    ProductChanged,
    ProductCreated,
    ProductStatus,
    ProductUpdated,
    Stock,
    UnknownCurrency,
    UpdateProduct,
)
from cartwheel.kernel import Change
from cartwheel.products.domain import catalogue

from .examples import AT, LATER, create, product


def by(at: datetime) -> Change:
    return Change(by="admin", at=at)


def test_a_new_product_is_active_with_all_its_stock_available() -> None:
    made = catalogue.create(create("Mug", stock=7), by(AT), product_id="prd_1")

    assert made.stock == Stock(available=7, reserved=0, sold=0)
    assert (made.status, made.version) == (ProductStatus.ACTIVE, 1)
    assert made.events == (ProductCreated(product=made.view()),)


def test_a_product_without_a_sku_gets_one_from_its_id() -> None:
    product_id = "prd_0197a0b1c2d3e4f5a6b7c8d9e0f1a2b3"

    made = catalogue.create(create("Mug"), by(AT), product_id=product_id)

    assert made.sku == "C8D9E0F1A2B3"


@pytest.mark.parametrize(
    ("price", "refusal", "field"),
    [
        (Money(0, "USD"), PriceNotPositive, "price.amount"),
        (Money(100, "XYZ"), UnknownCurrency, "price.currency"),
        (Money(100, "XXX"), UnknownCurrency, "price.currency"),
        (Money(100, "XTS"), UnknownCurrency, "price.currency"),
        (Money(100, "XAU"), UnknownCurrency, "price.currency"),
        (Money(100, "DEM"), UnknownCurrency, "price.currency"),
    ],
)
def test_a_price_that_nobody_could_pay_is_refused(
    price: Money, refusal: type[PriceNotPositive | UnknownCurrency], field: str
) -> None:
    with pytest.raises(refusal) as on_create:
        catalogue.create(create(price=price), by(AT), product_id="prd_1")
    with pytest.raises(refusal) as on_update:
        catalogue.update(product(), UpdateProduct(product_id="prd_1", price=price), by(LATER))

    for refused in (on_create, on_update):
        assert [error.field for error in refused.value.errors] == [field]


def test_a_currency_is_accepted_until_the_day_it_is_replaced() -> None:
    """Croatia paid in kuna until the end of 2022, and has the euro since."""
    in_kuna = create(price=Money(100, "HRK"))
    then, now = datetime(2022, 6, 1, tzinfo=UTC), datetime(2023, 6, 1, tzinfo=UTC)

    assert catalogue.create(in_kuna, by(then), product_id="prd_1").price == in_kuna.price
    with pytest.raises(UnknownCurrency):
        catalogue.create(in_kuna, by(now), product_id="prd_1")


def test_a_product_in_a_former_currency_can_still_be_changed() -> None:
    old = msgspec.structs.replace(product(), price=Money(100, "DEM"))

    changed = catalogue.update(
        old, UpdateProduct(product_id="prd_1", price=Money(51, "EUR")), by(LATER)
    )
    described = catalogue.update(
        old, UpdateProduct(product_id="prd_1", description="Big"), by(LATER)
    )

    assert changed.price == Money(51, "EUR")
    assert described.price == Money(100, "DEM")


def test_only_the_given_fields_change() -> None:
    before = product()

    after = catalogue.update(
        before, UpdateProduct(product_id="prd_1", description="Big"), by(LATER)
    )

    assert (after.description, after.name, after.price) == ("Big", before.name, before.price)
    assert (after.version, after.updated_at) == (2, LATER)
    assert after.events == (ProductUpdated(product=after.view()),)


@pytest.mark.parametrize(("category", "expected"), [(UNSET, "kitchen"), (None, None)])
def test_none_clears_a_field_and_a_missing_field_keeps_it(
    category: UnsetType | None, expected: str | None
) -> None:
    before = catalogue.update(
        product(), UpdateProduct(product_id="prd_1", category="kitchen"), by(AT)
    )

    after = catalogue.update(
        before, UpdateProduct(product_id="prd_1", category=category, description="Big"), by(LATER)
    )

    assert after.category == expected


def test_a_change_to_the_same_values_is_no_change() -> None:
    before = product()

    after = catalogue.update(before, UpdateProduct(product_id="prd_1", name=before.name), by(LATER))

    assert after is before


def test_a_change_made_for_an_older_version_is_refused() -> None:
    with pytest.raises(ProductChanged):
        catalogue.update(product(), UpdateProduct(product_id="prd_1", if_version=2), by(LATER))


def test_spaces_around_a_name_are_removed() -> None:
    made = catalogue.create(create("  Mug "), by(AT), product_id="prd_1")
    renamed = catalogue.update(made, UpdateProduct(product_id="prd_1", name=" Cup  "), by(LATER))

    assert (made.name, renamed.name) == ("Mug", "Cup")


def test_a_product_is_archived_once() -> None:
    archived = catalogue.archive(product(), by(LATER))

    assert (archived.status, archived.version) == (ProductStatus.ARCHIVED, 2)
    assert archived.events == (ProductArchived(product=archived.view()),)
    assert catalogue.archive(archived, by(LATER)) is archived
