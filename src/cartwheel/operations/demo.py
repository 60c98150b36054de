"""`cartwheel demo`: a purchase on a running system, as a customer would make it."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import msgspec
from rich.console import Console

from cartwheel.contracts.notifications import MailView
from cartwheel.kernel.settings import AmqpUrl, HttpUrl
from cartwheel.local import ports
from cartwheel.local.demo_users import SIGN_UP_CODE
from cartwheel.operations import mail
from cartwheel.operations.reaching import BusSettings, NotRunning

Result = TypeVar("Result")

PATIENCE_SECONDS = 30.0
"""How long to wait for the effects of events: the order becomes PAID, the mail is sent."""

ADDRESS = {
    "name": "Grace Hopper",
    "street": "Harbour Street",
    "number": "9",
    "city": "Arlington",
    "zip_code": "22201",
    "country": "US",
}
CARD = {"number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": 2034, "cvc": "123"}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    rabbitmq_url: AmqpUrl
    host: str = "127.0.0.1"
    port: int = 8000
    aws_endpoint_url: str | None = None
    simulator_url: HttpUrl
    simulator_publishable_key: str


class DemoFailed(Exception):
    """A step failed. The message is the answer."""


class _Api:
    """A client of an API that prints each step and its answer."""

    def __init__(self, http: aiohttp.ClientSession, below: str, console: Console) -> None:
        self._http = http
        self._below = below
        self._console = console

    async def get(self, path: str, token: str) -> Any:
        """Send a GET request without printing it."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.get(f"{self._below}{path}", headers=headers) as response:
            return await response.json(content_type=None)

    async def step(
        self,
        title: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str | None = None,
        show: Callable[[Any], str],
    ) -> Any:
        """Send a request and print it.

        Raises:
            DemoFailed: the answer is not a success.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        began = time.perf_counter()
        async with self._http.request(
            method, f"{self._below}{path}", json=body, headers=headers
        ) as response:
            answer = await response.json(content_type=None) if response.status != 204 else None
        took = (time.perf_counter() - began) * 1000
        if not response.ok:
            raise DemoFailed(f"{title}: {method} {path} answered {response.status}: {answer}")
        self._console.print(
            f"[green]✓[/] [bold]{title}[/]  [dim]{method} {path} → {response.status}, "
            f"{took:.0f} ms[/]\n    {show(answer)}",
            highlight=False,
            soft_wrap=True,
        )
        return answer


async def demo(settings: Settings, *, admin: tuple[str, str], console: Console) -> None:
    """Sign up, place an order, pay, and wait for the mail.

    Raises:
        DemoFailed: a step failed.
        NotRunning: nothing answers.
    """
    url = f"http://{ports.in_url(settings.host)}:{settings.port}"
    console.print(f"Cartwheel at [bold]{url}[/]\n", highlight=False)
    limit = aiohttp.ClientTimeout(total=20)
    async with (
        aiohttp.ClientSession(url, timeout=limit) as http,
        aiohttp.ClientSession(settings.simulator_url, timeout=limit) as provider_http,
    ):
        shop = _Api(http, "/api/v1", console)
        provider = _Api(provider_http, "/v1", console)
        try:
            order = await _buy(shop, provider, settings, admin, console)
        except aiohttp.ClientConnectionError as error:
            raise NotRunning(f"nothing answers ({error}): is the system up?") from None
    with console.status("waiting for the mail"):
        sent = await _eventually(lambda: _mail_for(order["id"], settings), "the mail was not sent")
    console.print("[green]✓[/] [bold]The mail[/]")
    mail.show_whole(sent, console)
    console.print(f"\nOrder {order['number']} is [bold green]PAID[/] and the customer knows.")


async def _buy(
    shop: _Api, provider: _Api, settings: Settings, admin: tuple[str, str], console: Console
) -> dict[str, Any]:
    """Make a purchase, step by step; return the PAID order."""
    tag = secrets.token_hex(3)
    token = await _sign_up(shop, tag, settings, console)
    admin_token = await _log_in_as_admin(shop, admin)
    products = await _create_products(shop, tag, admin_token)
    await shop.step(
        "List the products",
        "GET",
        "/products?limit=5",
        token=token,
        show=lambda page: ", ".join(product["name"] for product in page["data"]),
    )
    order = await _place_order(shop, products, token)
    card_token = await _make_card_token(provider, settings.simulator_publishable_key)
    payment = await _pay(shop, order, card_token, token)
    if payment["status"] == "AUTHORIZED":  # this shop charges at shipment
        await _comes_to(shop, order, "AUTHORIZED", token)
        await _ship(shop, order, admin_token)
    await _comes_to(shop, order, "PAID", token)
    return await shop.step(
        "Watch the order",
        "GET",
        f"/orders/{order['id']}",
        token=token,
        show=lambda made: f"{made['number']} is {made['status']}",
    )


async def _sign_up(shop: _Api, tag: str, settings: Settings, console: Console) -> str:
    """Create an account; return its access token."""
    customer = {"email": f"demo-{tag}@example.com", "password": f"Demo-{secrets.token_hex(8)}"}
    await shop.step(
        "Sign up",
        "POST",
        "/auth/signup",
        {"name": ADDRESS["name"], **customer},
        show=lambda made: f"user {made['id']}, {made['email']}",
    )
    code = SIGN_UP_CODE
    if settings.aws_endpoint_url is None:
        code = await asyncio.to_thread(console.input, "    The code that was mailed: ")
    await shop.step(
        "Confirm the address",
        "POST",
        "/auth/confirm",
        {"email": customer["email"], "code": code},
        show=lambda _: f"with the code {code}",
    )
    tokens = await shop.step(
        "Log in",
        "POST",
        "/auth/login",
        customer,
        show=lambda made: f"a bearer token for {made['expires_in']} s",
    )
    return tokens["access_token"]


async def _log_in_as_admin(shop: _Api, admin: tuple[str, str]) -> str:
    email, password = admin
    tokens = await shop.step(
        "Log in as admin",
        "POST",
        "/auth/login",
        {"email": email, "password": password},
        show=lambda _: email,
    )
    return tokens["access_token"]


async def _create_products(shop: _Api, tag: str, token: str) -> list[dict[str, Any]]:
    return [
        await shop.step(
            f"Create a product ({name})",
            "POST",
            "/products",
            {
                "name": f"{name} {tag}",
                "description": "Made for the demo.",
                "price": {"amount": amount, "currency": "USD"},
                "stock": 10,
            },
            token=token,
            show=lambda made: (
                f"{made['id']}, {_money(made['price'])}, {made['stock']['available']} available"
            ),
        )
        for name, amount in (("Wooden top", 1999), ("Tin robot", 4250))
    ]


async def _place_order(shop: _Api, products: list[dict[str, Any]], token: str) -> dict[str, Any]:
    items = [
        {"product_id": product["id"], "quantity": quantity}
        for product, quantity in zip(products, (2, 1), strict=True)
    ]
    return await shop.step(
        "Place an order",
        "POST",
        "/orders",
        {"items": items},
        token=token,
        show=lambda made: f"{made['number']}: {_money(made['total'])}, {made['status']}",
    )


async def _make_card_token(provider: _Api, publishable_key: str) -> str:
    # As in a shop's page: the card is sent to the provider, never to the shop.
    made = await provider.step(
        "Make a token of the card, at its provider",
        "POST",
        "/payment_methods",
        {"type": "card", "card": CARD},
        token=publishable_key,
        show=lambda made: f"{made['id']}, {made['card']['brand']} {made['card']['last4']}",
    )
    return made["id"]


async def _pay(shop: _Api, order: dict[str, Any], card_token: str, token: str) -> dict[str, Any]:
    return await shop.step(
        "Pay by card",
        "POST",
        "/payments",
        {
            "order_id": order["id"],
            "method": {"type": "card", "token": card_token},
            "shipping_address": ADDRESS,
        },
        token=token,
        show=lambda made: (
            f"{made['id']}: {made['status']}, {made['card']['brand']} {made['card']['last4']}"
        ),
    )


async def _ship(shop: _Api, order: dict[str, Any], token: str) -> None:
    lines = [
        {"product_id": line["product_id"], "quantity": line["quantity"]} for line in order["lines"]
    ]
    await shop.step(
        "Ship the order, which charges the card",
        "POST",
        f"/orders/{order['id']}/shipments",
        {"lines": lines},
        token=token,
        show=lambda made: f"{made['id']}: {made['status']}",
    )


async def _comes_to(shop: _Api, order: dict[str, Any], status: str, token: str) -> None:
    """Wait until the order has the status. An event gives it that a moment after the payment."""
    path = f"/orders/{order['id']}"

    async def reached() -> bool | None:
        return (await shop.get(path, token)).get("status") == status or None

    await _eventually(reached, f"the order did not become {status}")


async def _mail_for(order_id: str, settings: Settings) -> MailView | None:
    page = await mail.listed(
        BusSettings(rabbitmq_url=settings.rabbitmq_url), limit=5, order=order_id
    )
    return next((sent for sent in page.data if sent.message_id is not None), None)


async def _eventually(look: Callable[[], Awaitable[Result | None]], otherwise: str) -> Result:
    """Poll until there is a result, for PATIENCE_SECONDS."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if (found := await look()) is not None:
            return found
        await asyncio.sleep(0.2)
    raise DemoFailed(otherwise)


def _money(money: dict[str, Any]) -> str:
    return f"{money['amount'] / 100:.2f} {money['currency']}"
