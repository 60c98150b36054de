"""Customers who behave like good clients, and record everything.

They repeat a request with the same key until there is an answer.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from ..journeys.shop import (
    ADDRESS,
    CHALLENGED_CARD,
    DECLINED_CARD,
    Customer,
    Shop,
    by_card,
    open_shop,
)
from ..simulator.browsing import browse
from .history import Call, History
from .lookups import BY_NUMBER

PATIENCE = 150.0
"""Seconds for which a customer repeats a request. After that the system counts as stuck."""

ANSWER_LIMIT = 30.0
"""Seconds until a customer closes the connection. The system promises an answer long before."""

PAUSE = 0.4
SETTLED = 3.0
"""RabbitMQ writes declarations a little later (docs/operations.md). Until then it must stay up."""

GREEDY = 8
"""Pieces of a product that some ask for, and do not get."""

_UNDECIDED = "payment_in_progress"


class Buyer:
    """One customer with their own random choices. Several may share an account."""

    def __init__(
        self,
        account: Customer,
        history: History,
        *,
        name: str,
        products: list[Any],
        admin: "Buyer | None" = None,
        stranger: "Buyer | None" = None,
        forgotten: list[Any] | None = None,
        older: bool = False,
        seed: str = "",
    ) -> None:
        self.name = name
        self._account = account
        self._history = history
        self._products = products
        self._admin = admin
        self._stranger = stranger
        self._older = older
        self._forgotten = [] if forgotten is None else forgotten
        self._reserved = False
        self._random = random.Random(f"{seed}/{name}")  # noqa: S311 repeatable, not secret

    async def buy_until(self, closing: asyncio.Event, *, most: int, think: float) -> None:
        """Buy repeatedly, at most `most` times, and finish the last purchase."""
        for _ in range(most):
            if closing.is_set():
                return
            await self.buy()
            await asyncio.sleep(self._random.uniform(0.2, 1.8) * think)

    async def buy(self) -> None:
        order = await self._place_order()
        if order is None:
            return
        endings = {
            end: share for end, share in _ENDINGS.items() if not self._older or end in _OLDER
        }
        [end] = self._random.choices([*endings], [*endings.values()])
        self._reserved = False
        await end(self, order)
        if self._reserved:
            await self._end_reserved(order)
        if self._random.random() < 0.3:
            await self._insist("GET", f"/orders/{order['id']}")
        if not self._older and self._random.random() < 0.1:
            await self._insist("GET", f"{BY_NUMBER}{order['number']}")
        if not self._older and self._random.random() < 0.15:
            await self.keep_addresses()

    async def pay(self, order: Any) -> None:
        await self._pay(order, by_card())

    async def _end_reserved(self, order: Any) -> None:
        """Have an order sent whose money is only reserved, or cancel it, or both at once.

        Sometimes a piece is called off at the same moment. An order that is left reserved would
        keep its customer's place for an open order.
        """
        if self._admin is None:
            return
        lines = _parcels(order["lines"], 1)[0]
        drawn = self._random.random()
        doing: list[Awaitable[Any]] = []
        if _pieces(order["lines"]) > 1 and self._random.random() < 0.2:
            first, *others = lines
            rest = {**first, "quantity": first["quantity"] - 1}
            lines = [rest, *others] if rest["quantity"] else others
            doing.append(self._admin.call_off(order, [{**first, "quantity": 1}]))
        if drawn < 0.75:
            doing.append(self._admin.ship(order, lines))
        if drawn > 0.6:
            doing.append(self.cancel(order))
        await asyncio.gather(*doing)

    async def pay_with_another_card(self, order: Any) -> None:
        await self._pay(order, by_card(DECLINED_CARD))
        await self._pay(order, by_card())

    async def be_declined(self, order: Any) -> None:
        for _ in range(3):
            await self._pay(order, by_card(DECLINED_CARD))

    async def approve(self, order: Any) -> None:
        """Pay with a card or a wallet that asks first; approve it, refuse it, or do neither."""
        chosen: list[dict[str, Any]] = [by_card(CHALLENGED_CARD), {"type": "wallet"}]
        payment = await self._pay(order, self._random.choice(chosen))
        if payment is None or payment["next_action"] is None:
            return
        url = payment["next_action"]["url"]
        what = self._random.random()
        if what < 0.5:
            await self._say(url, "approve")
        elif what < 0.65:
            await self._say(url, "refuse")
            await self._pay(order, by_card())
        elif what < 0.8:
            await asyncio.gather(self._say(url, "approve"), self._cancel(order))
        elif what < 0.9:
            await asyncio.gather(self._say(url, "approve"), self._give_up(payment))
        else:
            await (self.forget if self._random.random() < 0.5 else self.cancel)(order)

    async def _say(self, url: str, said: str) -> None:
        """Answer on the provider's page, which may be down: try for a while."""
        for _ in range(_TRIES):
            await asyncio.sleep(self._random.uniform(0, 0.5))
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                status, _, _ = await browse(url, said)
                if status < 500:
                    return

    async def pay_cash(self, order: Any) -> None:
        payment = await self._pay(order, {"type": "cash_on_delivery"})
        if payment is not None and self._admin is not None:
            await self._admin.confirm_cash(payment)

    async def cancel(self, order: Any) -> None:
        await self._cancel(order)

    async def pay_and_cancel_at_once(self, order: Any) -> None:
        await asyncio.gather(self.pay(order), self.cancel(order))

    async def pay_by_mistake(self, order: Any) -> None:
        await self.pay(order)
        if self._admin is not None:
            await self._admin.cancel_sale(order)

    async def get_some_back(self, order: Any) -> None:
        """Pay, and have an administrator refund some of it, again and again, perhaps at once."""
        payment = await self._pay(order, by_card())
        if payment is None or self._admin is None:
            return
        for _ in range(self._random.choice([1, 1, 2])):
            await self._admin.refund(payment, self._refund(payment, order))
        if self._random.random() < 0.4:
            part = {
                "amount": {**payment["amount"], "amount": payment["amount"]["amount"] * 6 // 10}
            }
            await asyncio.gather(*(self._admin.refund(payment, part) for _ in range(2)))
        if self._random.random() < 0.3:
            rest = self._admin.refund(payment, {})
            await asyncio.gather(rest, self._admin.cancel_sale(order))

    def _refund(self, payment: Any, order: Any) -> dict[str, Any]:
        if self._random.random() < 0.5:
            line = self._random.choice(order["lines"])
            return {"lines": [{"product_id": line["product_id"], "quantity": 1}]}
        percent = self._random.choice([1, 10, 40])
        amount = max(payment["amount"]["amount"] * percent // 100, 1)
        return {"amount": {**payment["amount"], "amount": amount}}

    async def refund(self, payment: Any, what: dict[str, Any]) -> None:
        """As an administrator, refund `what` of somebody's payment."""
        path, key = f"/payments/{payment['id']}/refunds", f"{self.name}-{secrets.token_hex(6)}"
        body = {"reason": "a broken piece", **what}
        answered = await self._insist("POST", path, body, key=key)
        if answered is None or answered.status != 201:
            return
        if self._random.random() < 0.2:
            await self._insist("POST", path, body, key=key)
        if self._random.random() < 0.1:
            await self.reuse(key, path, {**body, "reason": "another one"})

    async def pay_and_get_parcels(self, order: Any) -> None:
        """Get the order in one parcel or two, and perhaps return a piece or all of it."""
        await self.pay(order)
        if self._admin is None:
            return
        parcels = _parcels(order["lines"], 2 if self._random.random() < 0.5 else 1)
        for lines in parcels:
            parcel = await self._admin.ship(order, lines)
            if parcel is not None:
                await self._admin.report(order, parcel, "delivered")
        returned = self._random.random()
        if returned < 0.2:
            await self._return(order, _parcels(order["lines"], 1)[0])
        elif _pieces(order["lines"]) > 1 and returned < 0.7:
            await self._return(order, [{**parcels[0][0], "quantity": 1}])

    async def pay_and_be_called_off(self, order: Any) -> None:
        """Get a part of the order; the shop calls off the rest."""
        await self.pay(order)
        parcels = _parcels(order["lines"], 2)
        if self._admin is not None and await self._admin.ship(order, parcels[0]) is not None:
            await self._admin.cancel_sale(order)

    async def be_shipped_and_canceled_at_once(self, order: Any) -> None:
        await self.pay(order)
        if self._admin is not None:
            lines = _parcels(order["lines"], 1)[0]
            await asyncio.gather(self._admin.ship(order, lines), self._admin.cancel_sale(order))

    async def pay_at_the_door(self, order: Any) -> None:
        """Have the order sent, and pay when it comes, refuse it, or try to give it up before."""
        payment = await self._pay(order, {"type": "cash_on_delivery"})
        if payment is None or self._admin is None:
            return
        lines = _parcels(order["lines"], 1)[0]
        doing = [self._admin.ship(order, lines)]
        if self._random.random() < 0.3:
            doing.append(self._give_up(payment))
        parcel, *_ = await asyncio.gather(*doing)
        if parcel is None:
            return
        if self._random.random() < 0.4:
            await self._admin.report(order, parcel, "delivery-failed", reason="refused")
        else:
            await self._admin.report(order, parcel, "delivered")
            await self._admin.confirm_cash(payment)

    async def ship(self, order: Any, lines: list[Any]) -> Any | None:
        """As an administrator, ship these lines as soon as the order is paid or authorized."""
        path, key = f"/orders/{order['id']}/shipments", f"{self.name}-{secrets.token_hex(6)}"
        answered = await self._insist("POST", path, {"lines": lines}, key=key)
        for _ in range(_LOOKS):
            if answered is None or answered.code != "not_paid":
                break
            seen = await self._insist("GET", f"/orders/{order['id']}")
            if seen is None or seen.answer["status"] in ("CANCELED", "REJECTED", "REFUNDED"):
                break
            await asyncio.sleep(PAUSE)
            answered = await self._insist("POST", path, {"lines": lines}, key=key)
        if answered is None or answered.status != 201:
            return None
        if self._random.random() < 0.2:
            await self._insist("POST", path, {"lines": lines}, key=key)
        if self._random.random() < 0.1:
            await self.reuse(key, path, {"lines": lines, "carrier": "another one"})
        return answered.answer

    async def call_off(self, order: Any, lines: list[Any]) -> None:
        """As an administrator, call off pieces of an order whose money is reserved."""
        path, key = f"/orders/{order['id']}/call-offs", f"{self.name}-{secrets.token_hex(6)}"
        body = {"lines": lines, "reason": "out of print"}
        for _ in range(2 if self._random.random() < 0.2 else 1):
            await self._insist("POST", path, body, key=key)

    async def report(self, order: Any, parcel: Any, what: str, **body: str) -> None:
        """As an administrator, say what became of a parcel, sometimes twice."""
        path = f"/orders/{order['id']}/shipments/{parcel['id']}/{what}"
        key = f"{self.name}-{secrets.token_hex(6)}"
        for _ in range(2 if self._random.random() < 0.2 else 1):
            await self._insist("POST", path, body or None, key=key)

    async def _return(self, order: Any, lines: list[Any]) -> None:
        path, key = f"/orders/{order['id']}/returns", f"{self.name}-{secrets.token_hex(6)}"
        body = {"lines": lines, "reason": "it wobbles"}
        asked = await self._insist("POST", path, body, key=key)
        if asked is None or asked.status != 201 or self._admin is None:
            return
        if self._random.random() < 0.2:
            await self._insist("POST", path, body, key=key)
        await self._admin.take_back(order, asked.answer)

    async def take_back(self, order: Any, returned: Any) -> None:
        """As an administrator, accept a return and receive its pieces, at two desks at once."""
        path = f"/orders/{order['id']}/returns/{returned['id']}"
        await self._insist("POST", f"{path}/accept", key=f"{self.name}-{secrets.token_hex(6)}")
        where = self._random.choice(["restocked", "written_off"])
        lines = [
            {"product_id": line["product_id"], where: line["quantity"]}
            for line in returned["lines"]
        ]
        desks = 2 if self._random.random() < 0.3 else 1
        await asyncio.gather(
            *(
                self._insist(
                    "POST",
                    f"{path}/receive",
                    {"lines": lines},
                    key=f"{self.name}-{secrets.token_hex(6)}",
                )
                for _ in range(desks)
            )
        )

    async def forget(self, order: Any) -> None:
        """Do nothing more about the order, until there are too many of them."""
        self._forgotten.append(order)

    async def change_from_cash(self, order: Any) -> None:
        """Choose cash, give it up, and pay by card; or forget the order then."""
        payment = await self._pay(order, {"type": "cash_on_delivery"})
        if payment is None:
            return
        await self._give_up(payment)
        await (self.pay if self._random.random() < 0.5 else self.forget)(order)

    async def pay_and_give_up_at_once(self, order: Any) -> None:
        """Pay in one tab, and cancel whatever payment another one shows; then pay, if need be."""
        await asyncio.gather(self.pay(order), self._give_up_all(order))
        await self.pay(order)

    async def _give_up_all(self, order: Any) -> None:
        await asyncio.sleep(self._random.uniform(0, 0.3))
        seen = await self._insist("GET", f"/payments?order_id={order['id']}")
        payments: list[Any] = seen.answer["data"] if seen is not None else []
        for payment in payments:
            await self._give_up(payment)

    async def _give_up(self, payment: Any) -> None:
        path, key = f"/payments/{payment['id']}/cancel", f"{self.name}-{secrets.token_hex(6)}"
        await self._insist("POST", path, key=key)
        if self._random.random() < 0.2:
            await self._insist("POST", path, key=key)

    async def keep_addresses(self) -> None:
        """Keep two addresses at once, and delete some of them."""
        made = await asyncio.gather(self._keep_address("Quay Street"), self._keep_address("Pier"))
        for address in made:
            if address is not None and self._random.random() < 0.75:
                await self._insist("DELETE", f"/addresses/{address['id']}")

    async def look_after_the_shop(self, closing: asyncio.Event, products: list[Any]) -> None:
        """As an administrator, change descriptions and prices from time to time."""
        while not closing.is_set():
            product = self._random.choice(products)
            body: dict[str, Any] = {"description": f"described at {time.time():.0f}"}
            if self._random.random() < 0.3:
                price = {"amount": 1000 + self._random.randrange(500), "currency": "USD"}
                body["price"] = price
            await self._insist("PATCH", f"/products/{product['id']}", body)
            await asyncio.sleep(1)

    async def adjust_the_stock(self, closing: asyncio.Event, products: list[Any]) -> None:
        """Receive, lose and count pieces, as an administrator. Some products are sold out."""
        while not closing.is_set():
            product = self._random.choice(products)
            await self._adjust(product, await self._adjustment(product))
            await asyncio.sleep(0.5)

    async def _adjustment(self, product: Any) -> dict[str, Any]:
        if self._random.random() < 0.7:
            delta = self._random.choice([-3, -2, -1, -1, 1, 2, 5])
            kind = "lost" if delta < 0 else "received"
            return {"delta": delta, "kind": kind, "reason": "a round"}
        shown = await self._insist("GET", f"/products/{product['id']}")
        stock: dict[str, int] = shown.answer["stock"] if shown else {}
        on_hand = sum(stock.get(where, 0) for where in ("available", "reserved", "unshipped"))
        counted = max(on_hand + self._random.choice([-1, 0, 0, 1]), 0)
        return {"counted": counted, "expected": on_hand, "kind": "stocktake", "reason": "a round"}

    async def _adjust(self, product: Any, body: dict[str, Any]) -> None:
        path = f"/products/{product['id']}/stock-adjustments"
        key = f"{self.name}-{secrets.token_hex(6)}"
        answered = await self._insist("POST", path, body, key=key)
        if answered is None or answered.status != 201:
            return
        if self._random.random() < 0.2:
            await self._insist("POST", path, body, key=key)
        if self._random.random() < 0.1:
            await self.reuse(key, path, {**body, "reason": "another one"})

    async def cancel_sale(self, order: Any) -> None:
        """As an administrator, cancel somebody's paid order."""
        await self._cancel(order, reason="sold by mistake")

    async def confirm_cash(self, payment: Any) -> None:
        """As an administrator, confirm that the cash was received."""
        await self._insist("POST", f"/payments/{payment['id']}/confirm")

    async def _place_order(self) -> Any | None:
        chosen = self._random.sample(self._products, self._random.choice([1, 1, 1, 2]))
        items = [
            {"product_id": product["id"], "quantity": self._random.choice([1, 1, 2, 3])}
            for product in chosen
        ]
        key = f"{self.name}-{secrets.token_hex(6)}"
        body: dict[str, Any] = {"items": items}
        if not self._older and self._random.random() < 0.05:  # one who wants more than is allowed
            greedy = {**items[0], "quantity": GREEDY // 2}
            await self.reuse(f"{key}-greedy", "/orders", {"items": [greedy, greedy]})
        if not self._older and self._random.random() < 0.2:  # one who has seen the prices
            body["expected_total"] = {
                "amount": sum(
                    product["price"]["amount"] * item["quantity"]
                    for product, item in zip(chosen, items, strict=True)
                ),
                "currency": "USD",
            }
        if self._random.random() < 0.08:  # an impatient customer, who clicks twice
            first, second = await asyncio.gather(
                self._insist("POST", "/orders", body, key=key),
                self._insist("POST", "/orders", body, key=key),
            )
            answered = first or second
        else:
            answered = await self._insist("POST", "/orders", body, key=key)
        if answered is not None and answered.code == "price_changed":
            body, key = {**body, "expected_total": answered.answer["total"]}, f"{key}-agreed"
            answered = await self._insist("POST", "/orders", body, key=key)
        if answered is not None and answered.code == "too_many_open_orders" and self._forgotten:
            await self.cancel(self._forgotten.pop())
        if answered is None or answered.status != 201:
            return None
        if self._random.random() < 0.1:
            await self._insist("POST", "/orders", body, key=key)
        if self._random.random() < 0.05:  # somebody else drew the same key
            await (self._stranger or self).reuse(key, "/orders", body)
        if self._random.random() < 0.05:  # a client that uses one key for two orders
            await self.reuse(key, "/orders", {"items": [{**items[0], "quantity": 4}]})
        return answered.answer

    async def reuse(self, key: str, path: str, body: Any) -> None:
        """Send `body` with a key that this customer or another has used before.

        An order that this makes is forgotten.
        """
        answered = await self._insist("POST", path, body, key=key)
        if answered is not None and answered.status == 201 and path == "/orders":
            self._forgotten.append(answered.answer)

    async def _pay(self, order: Any, method: Mapping[str, Any]) -> Any | None:
        key = f"{self.name}-{secrets.token_hex(6)}"
        body = {"order_id": order["id"], "method": dict(method), "shipping_address": ADDRESS}
        answered = await self._insist("POST", "/payments", body, key=key)
        if answered is None or answered.status != 201:
            return None
        self._reserved = self._reserved or answered.answer["status"] == "AUTHORIZED"
        if self._random.random() < 0.1:
            await self._insist("POST", "/payments", body, key=key)
        if self._random.random() < 0.05:
            elsewhere = {**body, "shipping_address": {**ADDRESS, "street": "Quay Street"}}
            await self.reuse(key, "/payments", elsewhere)
        return answered.answer

    async def _keep_address(self, street: str) -> Any | None:
        key = f"{self.name}-{secrets.token_hex(6)}"
        body = {**ADDRESS, "street": street}
        answered = await self._insist("POST", "/addresses", body, key=key)
        if answered is None or answered.status != 201:
            return None
        if self._random.random() < 0.2:
            await self._insist("POST", "/addresses", body, key=key)
        return answered.answer

    async def _cancel(self, order: Any, reason: str | None = None) -> None:
        body = {"reason": reason} if reason else {}
        await self._insist("POST", f"/orders/{order['id']}/cancel", body)

    async def _insist(
        self, method: str, path: str, body: Any = None, *, key: str | None = None
    ) -> Call | None:
        """Repeat the request until there is a final answer; None if there is none."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            call = await self._call(method, path, body, key)
            final = call.status is not None and call.status < 500
            if final and call.code != _UNDECIDED:
                return call
            if call.code == _UNDECIDED and call.answer["detail"].startswith("The order"):
                return call  # another payment of the order, not this one
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * PAUSE)
        return None

    async def _call(self, method: str, path: str, body: Any, key: str | None) -> Call:
        sent = time.time()
        status, answer, error, trace = None, None, None, None
        try:
            reply = await self._account.shop.call(
                method,
                path,
                body,
                token=self._account.token,
                headers={"Idempotency-Key": key} if key else {},
                timeout=ANSWER_LIMIT,
            )
            status, answer = reply.status, reply.body
            trace = reply.headers.get("X-Request-Id")
        except TimeoutError:
            error = "no answer"
        except (aiohttp.ClientError, OSError) as failure:
            error = repr(failure)
        call = Call(
            at=sent,
            took=time.time() - sent,
            who=self._account.id,
            method=method,
            path=path,
            key=key,
            body=body,
            status=status,
            answer=answer,
            error=error,
            trace=trace,
        )
        self._history.add(call)
        return call


_TRIES = 20
"""How often a customer tries to answer on the provider's page."""

_LOOKS = 60
"""How often an administrator looks whether an order is paid."""


def _pieces(lines: list[Any]) -> int:
    return sum(line["quantity"] for line in lines)


def _parcels(lines: list[Any], most: int) -> list[list[Any]]:
    """Return what is in each parcel of an order with these lines, `most` parcels at most."""
    whole = [{"product_id": each["product_id"], "quantity": each["quantity"]} for each in lines]
    if most == 1 or _pieces(lines) == 1:
        return [whole]
    first, *others = whole
    if not others:
        return [[{**first, "quantity": 1}], [{**first, "quantity": first["quantity"] - 1}]]
    return [[first], others]


_ENDINGS = {
    Buyer.pay: 20,
    Buyer.pay_with_another_card: 9,
    Buyer.be_declined: 6,
    Buyer.pay_cash: 9,
    Buyer.cancel: 7,
    Buyer.pay_and_cancel_at_once: 6,
    Buyer.pay_by_mistake: 6,
    Buyer.forget: 5,
    Buyer.change_from_cash: 6,
    Buyer.pay_and_give_up_at_once: 4,
    Buyer.get_some_back: 8,
    Buyer.pay_and_get_parcels: 6,
    Buyer.pay_and_be_called_off: 2,
    Buyer.be_shipped_and_canceled_at_once: 3,
    Buyer.pay_at_the_door: 3,
    Buyer.approve: 12,
}
"""How often each is chosen, out of the sum of these."""
_OLDER = [*_ENDINGS][:8]
"""Those that an older version knows how to answer."""


async def put_up_products(admin: Customer, *, adjusting: bool) -> list[Any]:
    """Return new products: some with much stock, some that will sell out.

    If stock is adjusted, those that sell out have a threshold, which is crossed again and again.
    """
    stocks = (100_000, 100_000, 100_000, 5_000, 100, 10)
    return [
        (
            await admin.post(
                "/products",
                {
                    "name": f"Thing {number} {secrets.token_hex(4)}",
                    "price": {"amount": 1000 + 37 * number, "currency": "USD"},
                    "stock": stock,
                    **({"low_stock_at": 5} if adjusting and stock < 1_000 else {}),
                },
            )
        ).made
        for number, stock in enumerate(stocks)
    ]


async def accounts(shop: Shop, count: int) -> list[Customer]:
    return [await shop.sign_up(f"Customer {number}") for number in range(count)]


@asynccontextmanager
async def trading(
    url: str,
    history: History,
    *,
    seed: int,
    customers: int,
    purchases: int,
    think: float,
    older: bool = False,
) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Let customers buy, and an administrator run the shop, while the body runs.

    Yields a function that lets them finish their purchases, and returns when they have.

    Args:
        purchases: the largest number for each customer.
        think: average seconds between two purchases.
        older: request nothing that an older version does not know.
    """
    async with open_shop(url) as shop:
        admin = await shop.admin()
        people = await accounts(shop, 4)
        products = await put_up_products(admin, adjusting=not older)
        boss = Buyer(admin, history, name="admin", products=[])
        forgotten: list[list[Any]] = [[] for _ in people]
        strangers = [
            Buyer(each, history, name="stranger", products=[], forgotten=orders)
            for each, orders in zip(people, forgotten, strict=True)
        ]
        buyers = [
            Buyer(
                people[number % len(people)],
                history,
                name=f"customer-{number}",
                products=products,
                admin=boss,
                stranger=strangers[(number + 1) % len(people)],
                forgotten=forgotten[number % len(people)],
                older=older,
                seed=str(seed),
            )
            for number in range(customers)
        ]
        await asyncio.sleep(SETTLED)
        closing = asyncio.Event()
        keepers = [
            Buyer(admin, history, name=f"keeper-{number}", products=[], seed=str(seed))
            for number in range(0 if older else 2)
        ]
        buying = asyncio.gather(
            boss.look_after_the_shop(closing, products),
            *(each.adjust_the_stock(closing, products) for each in keepers),
            *(buyer.buy_until(closing, most=purchases, think=think) for buyer in buyers),
        )

        async def finish() -> None:
            closing.set()
            async with asyncio.timeout(PATIENCE + 60):
                await buying

        try:
            yield finish
        finally:
            buying.cancel()
