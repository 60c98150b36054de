"""The running shop, its administrator and its customers."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import pytest

from cartwheel.local.up import System

from .operations import Api, read_api
from .shop import Customer, Shelf, Shop, open_shop
from .strangers import Strange, strange_tokens


@pytest.fixture(scope="session")
async def shop(system: System) -> AsyncGenerator[Shop]:
    async with open_shop(system.url, checked=True) as opened:
        yield opened


@pytest.fixture(scope="session")
async def api(system: System) -> AsyncGenerator[Api]:
    async with aiohttp.ClientSession(system.url, cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield await read_api(http)


@pytest.fixture(scope="session")
async def admin(shop: Shop) -> Customer:
    return await shop.admin()


@pytest.fixture(scope="session")
async def shelf(admin: Customer) -> Shelf:
    return Shelf(admin)


@pytest.fixture
async def customer(shop: Shop) -> Customer:
    """Somebody new."""
    return await shop.sign_up()


@pytest.fixture
async def other(shop: Shop) -> Customer:
    """A second customer."""
    return await shop.sign_up("Ada Lovelace")


@pytest.fixture
async def crowd(shop: Shop) -> list[Customer]:
    """Ten new customers, who have no unpaid orders yet."""
    return await asyncio.gather(*(shop.sign_up(f"Number {n}") for n in range(10)))


@pytest.fixture(scope="session", autouse=True)
async def strange(system: System) -> Strange:
    """Tokens made at the very start, so that the short-lived one has expired when it is used."""
    return await strange_tokens(system)
