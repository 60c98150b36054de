"""Evidence from outside the shop: the provider's charges, and the mail handed to SES."""

from typing import Any

import aiohttp
import msgspec

from cartwheel.local.up import System

from ..waiting import eventually


def provider(system: System) -> aiohttp.ClientSession:
    """Return a client of the payment simulator, with its key."""
    environment = system.environment
    headers = {"Authorization": f"Bearer {environment['SIMULATOR_API_KEY']}"}
    return aiohttp.ClientSession(environment["SIMULATOR_URL"], headers=headers)


async def tokenized(system: System, number: str = "4242 4242 4242 4242", cvc: str = "917") -> str:
    """Return a card's token, made as the shop's page makes it."""
    status, made = await tokenizing(system, number, cvc=cvc)
    assert status == 200, made
    return msgspec.json.decode(made)["id"]


async def tokenizing(system: System, number: str, **otherwise: object) -> tuple[int, bytes]:
    """Return the provider's answer to the shop's page that requests a card's token."""
    key = system.environment["SIMULATOR_PUBLISHABLE_KEY"]
    card = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "917", **otherwise}
    async with (
        aiohttp.ClientSession(
            system.environment["SIMULATOR_URL"], headers={"Authorization": f"Bearer {key}"}
        ) as page,
        page.post("/v1/payment_methods", json={"type": "card", "card": card}) as response,
    ):
        return response.status, await response.read()


async def ledger(system: System) -> list[Any]:
    """Return every line of the payment simulator's ledger."""
    lines: list[Any] = []
    after: int | None = 0
    async with provider(system) as http:
        while after is not None:
            async with http.get(f"/v1/ledger?limit=1000&after={after}") as response:
                page = await response.json()
            lines += page["data"]
            after = page["next_after"]
    return lines


async def charges(system: System, payments: list[Any]) -> list[Any]:
    """Return the charges of these payments."""
    ids = {payment["id"] for payment in payments}
    return [
        line
        for line in await ledger(system)
        if line["kind"] == "charge" and line["payment_id"] in ids
    ]


async def mails(system: System, to: str) -> list[Any]:
    """Return the shop's mails to `to` that SES has accepted, oldest first."""
    async with (
        aiohttp.ClientSession(system.environment["AWS_ENDPOINT_URL"]) as http,
        http.get("/_ministack/ses/messages") as response,
    ):
        accounts: dict[str, list[Any]] = (await response.json())["messages"]
    return [
        message
        for messages in accounts.values()
        for message in messages
        if to in message["To"] and message["Type"] == "v2.SendEmail"
    ]


async def mailed(system: System, to: str, *, count: int = 1, within: float = 15) -> list[Any]:
    """Return the shop's mails to `to` when there are `count`."""

    async def look() -> list[Any]:
        found = await mails(system, to)
        assert len(found) == count, [message["Subject"] for message in found]
        return found

    return await eventually(look, within=within)
