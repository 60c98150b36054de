"""Which tokens are accepted."""

import pytest

from cartwheel.local.demo_users import CUSTOMER, PASSWORD

from .shop import Customer, Shop
from .strangers import Strange, forged


@pytest.mark.parametrize("path", ["/orders", "/payments", "/addresses", "/auth/me"])
async def test_without_a_token_every_request_is_refused(shop: Shop, path: str) -> None:
    answer = await shop.call("GET", path)

    answer.refused(401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_forged_token_is_refused(shop: Shop, admin: Customer) -> None:
    token = forged(admin.token, sub="somebody", **{"cognito:groups": ["admin"]})

    (await shop.call("GET", "/orders", token=token)).refused(401, "invalid_token")


async def test_a_token_for_another_app_is_refused(shop: Shop, strange: Strange) -> None:
    answer = await shop.call("GET", "/orders", token=strange.for_another_app)

    answer.refused(401, "invalid_token")


async def test_an_expired_token_is_refused(shop: Shop, strange: Strange) -> None:
    token = await strange.expired()

    (await shop.call("GET", "/orders", token=token)).refused(401, "invalid_token")


async def test_an_id_token_is_refused(shop: Shop) -> None:
    logged_in = await shop.call("POST", "/auth/login", {"email": CUSTOMER, "password": PASSWORD})

    (await shop.call("GET", "/orders", token=logged_in.found["id_token"])).refused(401)
