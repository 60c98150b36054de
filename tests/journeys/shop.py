"""The shop as its customers and its administrator use it: only through HTTP."""

import io
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from cartwheel.local.demo_users import ADMIN, PASSWORD, SIGN_UP_CODE

from ..waiting import eventually
from .document import Document, read_document

CARD = "pm_card_visa"
DECLINED_CARD = "pm_card_chargeDeclined"
CHALLENGED_CARD = "pm_card_threeDSecure2Required"
ADDRESS = {
    "name": "Grace Hopper",
    "street": "Harbour Street",
    "number": "9",
    "city": "Arlington",
    "zip_code": "22201",
    "country": "US",
}


def by_card(card: object = CARD) -> dict[str, Any]:
    """Return the payment method for a card's token."""
    return {"type": "card", "token": card}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    text: str
    body: Any

    @property
    def made(self) -> Any:
        """Return the created resource, after checking its Location header."""
        assert self.status == 201, self.text
        assert self.headers["Location"].endswith(f"/{self.body['id']}")
        return self.body

    @property
    def found(self) -> Any:
        assert self.status == 200, self.text
        return self.body

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotency-Replayed") == "true"

    def refused(self, status: int, code: str | None = None) -> list[str]:
        """Check that this is a valid problem document; return the fields it names."""
        assert self.status == status, self.text
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.body["status"] == status
        assert self.body["title"]
        assert self.body["detail"]
        assert self.body["trace_id"] == self.headers["X-Request-Id"]
        assert code is None or self.body["code"] == code, self.text
        assert "Traceback" not in self.text
        return [error["field"] for error in self.body.get("errors", [])]


class Customer:
    """A user who is logged in. Administrators are customers, too."""

    def __init__(self, shop: "Shop", *, user_id: str, name: str, email: str, token: str) -> None:
        self.shop = shop
        self.id = user_id
        self.name = name
        self.email = email
        self.token = token

    async def get(self, path: str) -> Answer:
        return await self.shop.call("GET", path, token=self.token)

    async def post(
        self, path: str, body: object = None, *, key: str | None = None, timeout: float = 20
    ) -> Answer:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.shop.call(
            "POST", path, body, token=self.token, headers=headers, timeout=timeout
        )

    async def patch(self, path: str, body: object, *, if_match: str | None = None) -> Answer:
        headers = {"If-Match": if_match} if if_match else {}
        return await self.shop.call("PATCH", path, body, token=self.token, headers=headers)

    async def delete(self, path: str) -> Answer:
        return await self.shop.call("DELETE", path, token=self.token)

    async def order(
        self, product: Any, quantity: object = 1, *, key: str | None = None, timeout: float = 20
    ) -> Answer:
        body = {"items": [{"product_id": product["id"], "quantity": quantity}]}
        return await self.post("/orders", body, key=key, timeout=timeout)

    async def pay(
        self,
        order: Any,
        method: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        timeout: float = 20,
        return_url: str | None = None,
    ) -> Answer:
        body: dict[str, Any] = {
            "order_id": order["id"],
            "method": method or by_card(),
            "shipping_address": ADDRESS,
        }
        if return_url is not None:
            body["return_url"] = return_url
        return await self.post("/payments", body, key=key, timeout=timeout)

    async def sees(self, order: Any, status: str, *, within: float = 15) -> Any:
        """Return the order when it has `status`."""

        async def look() -> Any:
            found = (await self.get(f"/orders/{order['id']}")).found
            assert found["status"] == status
            return found

        return await eventually(look, within=within)

    async def everything(self, path: str, *, limit: int = 100) -> list[Any]:
        """Return a whole list, page by page."""
        between = "&" if "?" in path else "?"
        page = (await self.get(f"{path}{between}limit={limit}")).found
        items: list[Any] = page["data"]
        while page["next_cursor"]:
            cursor = f"&cursor={page['next_cursor']}"
            page = (await self.get(f"{path}{between}limit={limit}{cursor}")).found
            items += page["data"]
        return items

    async def cancel_open_orders(self) -> None:
        """Cancel all that is unpaid: tests share users, and a user has only so many of those."""
        mine = f"status=AWAITING_PAYMENT&user_id={self.id}"
        for order in await self.everything(f"/orders?{mine}"):
            await self.post(f"/orders/{order['id']}/cancel", {})

    async def delete_addresses(self) -> None:
        """Delete all addresses: tests share users, and a user keeps only so many."""
        for address in (await self.get("/addresses")).found["data"]:
            await self.delete(f"/addresses/{address['id']}")


class Shop:
    """`document` is the API's, if every answer is to be checked against it."""

    def __init__(self, http: aiohttp.ClientSession, document: Document | None = None) -> None:
        self._http = http
        self._document = document

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> Answer:
        """Send a request below /api/v1. `body` is sent as JSON; bytes are sent unchanged."""
        content = (
            body
            if isinstance(body, bytes)
            else msgspec.json.encode(body)
            if body is not None
            else None
        )
        sent = {"Content-Type": "application/json"} if content is not None else {}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        async with self._http.request(
            method,
            f"/api/v1{path}",
            data=io.BytesIO(content) if content else content,
            headers={**sent, **(headers or {})},
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as response:
            text = await response.text()
        if self._document:
            self._document.check_answer(
                method, f"/api/v1{path}", response.status, response.headers, text
            )
            if response.ok and content:
                self._document.check_taken(method, f"/api/v1{path}", msgspec.json.decode(content))
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(
            status=response.status,
            headers=response.headers,
            text=text,
            body=msgspec.json.decode(text) if is_json else None,
        )

    async def probe(self, path: str) -> int:
        """Return the status of a page outside /api/v1."""
        async with self._http.get(path) as response:
            return response.status

    async def log_in(self, email: str, password: str) -> Customer:
        tokens = (
            await self.call("POST", "/auth/login", {"email": email, "password": password})
        ).found
        token = tokens["access_token"]
        me = (await self.call("GET", "/auth/me", token=token)).found
        return Customer(self, user_id=me["id"], name=me["name"], email=me["email"], token=token)

    async def sign_up(self, name: str = "Grace Hopper") -> Customer:
        """Create an account, confirm it and log in."""
        email = f"grace-{secrets.token_hex(6)}@example.com"
        signed_up = await self.call(
            "POST", "/auth/signup", {"name": name, "email": email, "password": PASSWORD}
        )
        assert signed_up.status == 201, signed_up.text
        given = {"email": email, "code": SIGN_UP_CODE}
        confirmed = await self.call("POST", "/auth/confirm", given)
        assert confirmed.status == 204, confirmed.text
        return await self.log_in(email, PASSWORD)

    async def admin(self) -> Customer:
        return await self.log_in(ADMIN, PASSWORD)


class Shelf:
    """The catalogue: creates products and reads their stock."""

    def __init__(self, admin: Customer) -> None:
        self._admin = admin

    async def put_up(
        self, *, stock: int = 10, amount: int = 1999, currency: str = "USD", name: str = "Robot"
    ) -> Any:
        """Return a new product, whose name begins with `name`."""
        return (
            await self._admin.post("/products", new_product(stock, amount, currency, name))
        ).made

    async def stock(self, product: Any) -> dict[str, int]:
        stock = (await self._admin.get(f"/products/{product['id']}")).found["stock"]
        assert stock.pop("unshipped") == stock["sold"], "nothing has been shipped"
        return stock

    async def adjust(self, product: Any, delta: int, *, key: str | None = None) -> Answer:
        body = {"delta": delta, "kind": "correction", "reason": "A test."}
        return await self._admin.post(adjustments(product), body, key=key)

    async def comes_to(self, product: Any, **stock: int) -> None:
        """Wait until the product's stock is `stock`. Numbers that are not given must be 0."""

        async def look() -> None:
            wanted = {"available": 0, "reserved": 0, "sold": 0, **stock}
            assert await self.stock(product) == wanted

        await eventually(look)


def adjustments(product: Any) -> str:
    """Return where the product's stock is adjusted."""
    return f"/products/{product['id']}/stock-adjustments"


def new_product(
    stock: int = 10, amount: int = 1999, currency: str = "USD", name: str = "Robot"
) -> dict[str, Any]:
    return {
        "name": f"{name} {secrets.token_hex(6)}",
        "price": {"amount": amount, "currency": currency},
        "stock": stock,
    }


@asynccontextmanager
async def open_shop(url: str, *, checked: bool = False) -> AsyncGenerator[Shop]:
    """Open the shop at `url`; if `checked`, everything it answers must be in its document."""
    async with aiohttp.ClientSession(
        url, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        yield Shop(http, await read_document(http) if checked else None)
