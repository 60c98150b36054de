"""Somebody guesses a password at two gateways, one of which is killed meanwhile."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from ..journeys.shop import Shop, open_shop
from ..long_form import long_form
from .faults import kill
from .rig import rigged

ALLOWED = 10
"""Wrong passwords for an account, from one address, in five minutes."""

AT_ONCE = 20


@long_form
async def test_no_more_guesses_are_compared_whichever_gateway_dies(tmp_path: Path) -> None:
    assert await guess(tmp_path / "system") <= ALLOWED


async def guess(home: Path, settings: Mapping[str, str] = {}) -> int:
    """Return how many wrong passwords were compared with the right one."""
    async with (
        rigged(home, settings={"RATE_LIMITS": "on", **settings}, numbers={"gateway": 2}) as rig,
        open_shop(rig.system.url) as shop,
    ):
        victim = await shop.sign_up()
        found: list[int | None] = []
        for doomed in ("gateway", "gateway.2"):
            guesses = [
                asyncio.create_task(_answer(shop, victim.email, f"Wrong-Pass-{number}"))
                for number in range(AT_ONCE)
            ]
            await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
            await kill(doomed).run(rig)
            found += await asyncio.gather(*guesses)
    return found.count(401)


async def _answer(shop: Shop, email: str, password: str) -> int | None:
    """Return the status of a log-in; None if its gateway died."""
    try:
        body = {"email": email, "password": password}
        return (await shop.call("POST", "/auth/login", body)).status
    except (aiohttp.ClientError, OSError):
        return None
