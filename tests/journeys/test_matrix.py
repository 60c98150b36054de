"""Who may call which operation, for every operation of the API's description."""

import secrets
from typing import Any

import pytest
from msgspec import json

from .matrix import MATRIX, Outcome, Row
from .operations import Api, Got
from .shop import ADDRESS, Customer, Shelf, new_product

DENIED = {
    (401, "unauthenticated"): Outcome.UNAUTHENTICATED,
    (401, "bad_signature"): Outcome.UNAUTHENTICATED,
    (403, "forbidden"): Outcome.FORBIDDEN,
    (404, "order_not_found"): Outcome.HIDDEN,
    (404, "payment_not_found"): Outcome.HIDDEN,
    (404, "product_not_found"): Outcome.HIDDEN,
    (404, "address_not_found"): Outcome.HIDDEN,
}
DONE_ALL_THE_SAME = {"email_taken", "already_confirmed", "wrong_code", "wrong_password"}
"""Refusals that say that the operation was tried: a code that was mailed is not known here."""

TRIED = {"call_off_pieces": "invalid_transition"}
"""What an operation answers here to who may call it: this shop charges at once, so no order's money
is reserved."""


OF_GOODS = {
    "ship_order",
    "get_shipment",
    "report_delivered",
    "report_delivery_failed",
    "request_return",
    "get_return",
    "accept_return",
    "decline_return",
    "receive_return",
}
"""Operations on a paid order's goods."""


class Things:
    """Makes things of the customer's own for each operation, so that none is in another's way."""

    def __init__(
        self, api: Api, admin: Customer, customer: Customer, shelf: Shelf, refresh_token: str
    ) -> None:
        self._api = api
        self._admin = admin
        self._customer = customer
        self._shelf = shelf
        self._known = {
            "email": customer.email,
            "user_id": customer.id,
            "refresh_token": refresh_token,
            "code": "000000",
            "currency": "USD",
            # On the shelf: what `made` puts up and adds.
            "expected": 101,
        }

    async def made(self, operation_id: str) -> dict[str, object]:
        if operation_id == "create_address":
            await self._admin.delete_addresses()  # other tests have made some, too
        product = await self._shelf.put_up(stock=100)
        order = (await self._customer.order(product)).made
        cash = (await self._customer.order(product)).made
        payment = (await self._customer.pay(cash, {"type": "cash_on_delivery"})).made
        adjusted = {"delta": 1, "kind": "received", "reason": "Found."}
        path = f"/products/{product['id']}/stock-adjustments"
        goods = await self._goods(operation_id, product)
        adjustment = (await self._admin.post(path, adjusted)).made
        ids = {
            "product_id": product["id"],
            "adjustment_id": adjustment["id"],
            "address_id": (await self._customer.post("/addresses", ADDRESS)).made["id"],
            "order_id": order["id"],
            "payment_id": payment["id"],
        }
        return {**self._known, **ids, **goods, **self.new()}

    async def _goods(self, operation_id: str, product: Any) -> dict[str, object]:
        """Return the ids of a paid order of two, and of the parcel and the return that the
        operation needs. What is sent is about one piece."""
        if operation_id not in OF_GOODS:
            return {}
        order = (await self._customer.order(product, 2)).made
        await self._customer.pay(order)
        await self._customer.sees(order, "PAID")
        known: dict[str, object] = {"order_id": order["id"], "quantity": 1}
        if operation_id == "ship_order":
            return known
        lines = [{"product_id": product["id"], "quantity": 1}]
        path = f"/orders/{order['id']}"
        parcel = (await self._admin.post(f"{path}/shipments", {"lines": lines})).made
        known["shipment_id"] = parcel["id"]
        if operation_id in ("get_shipment", "report_delivered", "report_delivery_failed"):
            return known
        await self._admin.post(f"{path}/shipments/{parcel['id']}/delivered")
        if operation_id == "request_return":
            return known
        asked = {"lines": lines, "reason": "It wobbles."}
        returned = (await self._customer.post(f"{path}/returns", asked)).made
        if operation_id == "receive_return":
            await self._admin.post(f"{path}/returns/{returned['id']}/accept")
        return {**known, "return_id": returned["id"]}

    def new(self) -> dict[str, object]:
        """What no two requests may have in common."""
        named = new_product(name="Robot")
        return {
            "name": named["name"],
            "sku": secrets.token_hex(6),
            "Idempotency-Key": secrets.token_hex(8),
        }

    async def _refunded(self) -> dict[str, object]:
        """Return the ids of a payment that was captured, and of a refund of a part of it."""
        order = (await self._customer.order(await self._shelf.put_up())).made
        payment = (await self._customer.pay(order)).made
        cent = {"reason": "A test.", "amount": {"amount": 1, "currency": "USD"}}
        refund = (await self._admin.post(f"/payments/{payment['id']}/refunds", cent)).made
        return {"payment_id": payment["id"], "refund_id": refund["id"], "amount": cent["amount"]}

    async def send(self, operation_id: str, known: dict[str, object], token: str) -> Got:
        if operation_id in ("create_refund", "get_refund"):
            known = known | await self._refunded()
        found = self._api.operations(**(known | self.new()))
        sent = next(each.sent for each in found if each.id == operation_id)
        for name in ("cursor", "status", "email"):  # only administrators look for addresses
            sent.query.pop(name, None)
        if sent.path.endswith("/payments") and sent.method == "POST":
            sent.body["method"] = {"type": "cash_on_delivery"}
        return await self._api.send(sent, token)


@pytest.fixture
async def things(api: Api, admin: Customer, customer: Customer, shelf: Shelf) -> Things:
    await admin.cancel_open_orders()
    await customer.cancel_open_orders()
    body = {"email": customer.email, "password": "Cartwheel-Demo-1"}
    tokens = (await customer.shop.call("POST", "/auth/login", body)).found
    return Things(api, admin, customer, shelf, tokens["refresh_token"])


def outcome(operation_id: str, got: Got) -> Outcome:
    if got.status < 400:
        return Outcome.DONE
    code = json.decode(got.text)["code"]
    if code in DONE_ALL_THE_SAME or code == TRIED.get(operation_id):
        return Outcome.DONE
    assert (got.status, code) in DENIED, str(got)
    return DENIED[got.status, code]


async def test_every_operation_is_in_the_matrix(api: Api) -> None:
    assert {each.id for each in api.operations()} == MATRIX.keys()


@pytest.mark.parametrize("operation_id", MATRIX)
async def test_an_operation_is_for_those_whom_the_matrix_names(
    operation_id: str, things: Things, customer: Customer, other: Customer, admin: Customer
) -> None:
    found: list[Outcome] = []
    for who in (None, other, customer, admin):
        # What one has done, an order canceled say, would be in the next one's way.
        known = await things.made(operation_id)
        got = await things.send(operation_id, known, who.token if who else "")
        found.append(outcome(operation_id, got))

    nobody, of_other, of_customer, of_admin = found
    assert Row(nobody, of_customer, of_other, of_admin) == MATRIX[operation_id]
