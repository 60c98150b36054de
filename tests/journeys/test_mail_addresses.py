"""The shop sends mail only to confirmed addresses, and only with clean text."""

import secrets
from typing import Any

import pytest

from cartwheel.contracts.identity import EMAIL_MARK, email_mark
from cartwheel.local.demo_users import CUSTOMER, PASSWORD
from cartwheel.local.up import System

from .shop import Customer, Shelf, Shop
from .strangers import change_behind_our_back, sign_up_at_cognito


@pytest.fixture
async def product(shelf: Shelf) -> Any:
    return await shelf.put_up()


async def test_a_customer_with_a_confirmed_address_may_order(
    customer: Customer, product: Any
) -> None:
    order = (await customer.order(product)).made

    assert order["user"] == {"id": customer.id, "name": customer.name, "email": customer.email}


async def test_a_demo_user_may_order(shop: Shop, product: Any) -> None:
    order = (await (await shop.log_in(CUSTOMER, PASSWORD)).order(product)).made

    assert order["user"]["email"] == CUSTOMER


@pytest.mark.parametrize(
    "claimed",
    [
        {},
        {"email_verified": "true"},
        {EMAIL_MARK: "0" * 64},
        {EMAIL_MARK: "Ü"},
        {EMAIL_MARK: email_mark("a key of their own", "victim@example.com")},
    ],
)
async def test_a_changed_address_cannot_be_used_for_an_order(
    system: System, customer: Customer, shelf: Shelf, product: Any, claimed: dict[str, str]
) -> None:
    victim = {"email": "victim@example.com", **claimed}
    changed = await change_behind_our_back(system, customer, **victim)

    (await changed.order(product)).refused(403, "email_not_verified")

    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}
    assert (await changed.get("/auth/me")).found["email"] == "victim@example.com"


async def test_after_changing_the_address_back_the_same_token_may_order(
    system: System, customer: Customer, product: Any
) -> None:
    changed = await change_behind_our_back(system, customer, email="victim@example.com")
    (await changed.order(product)).refused(403, "email_not_verified")

    await change_behind_our_back(system, changed, email=customer.email)

    assert (await changed.order(product)).made["user"]["email"] == customer.email


async def test_an_account_created_outside_the_shop_has_no_verified_address(
    system: System, shop: Shop, product: Any
) -> None:
    """This is so only in the emulator. On AWS, `email_verified` counts."""
    email = f"grace-{secrets.token_hex(6)}@example.com"
    await sign_up_at_cognito(system, email)
    made_elsewhere = await shop.log_in(email, PASSWORD)

    (await made_elsewhere.order(product)).refused(403, "email_not_verified")


@pytest.mark.parametrize(
    "email", ["a\r\nBcc: all@example.com", "a<b@x>y", "x@example..com", "\x1b[2J@example.com", ""]
)
async def test_an_invalid_address_cannot_be_used_for_an_order(
    system: System, customer: Customer, product: Any, email: str
) -> None:
    changed = await change_behind_our_back(system, customer, email=email)

    (await changed.order(product)).refused(403, "email_not_verified")


async def test_a_misleading_name_becomes_one_short_line_in_the_order(
    system: System, customer: Customer, product: Any
) -> None:
    name = "Grace\r\nBcc: all@example.com\x1b[2J\u202e " + "VISIT evil.example " * 50_000
    renamed = await change_behind_our_back(system, customer, name=name)

    order = (await renamed.order(product)).made

    assert order["user"]["name"].startswith("Grace Bcc: all@example.com [2J VISIT evil.example")
    assert len(order["user"]["name"]) <= 100
    assert (await renamed.get("/auth/me")).found["name"] == order["user"]["name"]
