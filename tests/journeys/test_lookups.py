"""The catalogue without an account, and finding orders, payments and addresses again."""

import asyncio
import secrets
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from .shop import ADDRESS, Answer, Customer, Shelf, Shop


async def look(shop: Shop, path: str) -> Answer:
    """Read without a token."""
    return await shop.call("GET", path)


async def test_the_catalogue_is_read_without_an_account(
    shop: Shop, shelf: Shelf, customer: Customer
) -> None:
    product = await shelf.put_up(stock=5)
    (await customer.order(product, 2)).made  # noqa: B018 it checks

    found = await look(shop, f"/products/{product['id']}")
    listed = await look(shop, "/products?limit=100")

    assert found.found == {**product, "stock": {"available": 3}}
    assert found.found in listed.found["data"]
    for answer in (found, listed):
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Vary"] == "Authorization"
        assert customer.id not in answer.text
        assert customer.email not in answer.text
    assert (await customer.get(f"/products/{product['id']}")).found == found.found


async def test_a_token_that_is_not_valid_does_not_pass_for_none(shop: Shop, shelf: Shelf) -> None:
    product = await shelf.put_up()

    refused = await shop.call("GET", f"/products/{product['id']}", token="a.b.c")

    refused.refused(401, "invalid_token")


async def test_an_archived_product_is_gone_for_all_but_admins_until_it_is_restored(
    shop: Shop, shelf: Shelf, admin: Customer, customer: Customer
) -> None:
    product = await shelf.put_up()
    path = f"/products/{product['id']}"
    (await admin.delete(path)).found  # noqa: B018 it checks

    (await look(shop, path)).refused(404, "product_not_found")
    (await customer.get(path)).refused(404, "product_not_found")
    assert (await admin.get(path)).found["status"] == "ARCHIVED"
    (await look(shop, "/products?status=ARCHIVED")).refused(403, "forbidden")
    (await customer.get("/products?status=ARCHIVED")).refused(403, "forbidden")
    archived = (await admin.get("/products?status=ARCHIVED&limit=100")).found["data"]
    assert product["id"] in [each["id"] for each in archived]

    (await customer.post(f"{path}/restore")).refused(403, "forbidden")
    for _ in range(2):
        restored = await admin.post(f"{path}/restore", key="restore")
        assert restored.found["status"] == "ACTIVE"
        assert restored.headers["ETag"] == '"3"'
    assert (await look(shop, path)).found["id"] == product["id"]


async def test_a_sku_is_changed_and_a_taken_one_is_not(admin: Customer, shelf: Shelf) -> None:
    first, second = await shelf.put_up(), await shelf.put_up()
    sku = f"NEW-{secrets.token_hex(6)}"

    changed = await admin.patch(f"/products/{first['id']}", {"sku": sku})
    taken = await admin.patch(f"/products/{second['id']}", {"sku": sku})

    assert changed.found["sku"] == sku
    assert taken.refused(409, "product_sku_taken") == ["sku"]


async def test_an_order_is_unchanged_until_something_happens_to_it(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    order = await customer.order(await shelf.put_up())
    path = f"/orders/{order.made['id']}"
    tag = order.headers["ETag"]

    async def again(who: Customer, known: str) -> Answer:
        headers = {"If-None-Match": known}
        return await who.shop.call("GET", path, token=who.token, headers=headers)

    assert (await customer.get(path)).headers["ETag"] == tag
    for known in (tag, f"W/{tag}", f'"0", {tag}', "*"):
        answer = await again(customer, known)
        assert (answer.status, answer.text, answer.headers["ETag"]) == (304, "", tag), known
    for known in ('"0"', tag.strip('"'), f"{tag}x"):
        assert (await again(customer, known)).found["id"] == order.made["id"], known
    (await again(other, "*")).refused(404, "order_not_found")

    await customer.pay(order.made)
    await customer.sees(order.made, "PAID")
    changed = await again(customer, tag)
    assert changed.found["status"] == "PAID"
    assert changed.headers["ETag"] != tag


async def test_an_order_is_found_by_its_number_as_people_say_it(
    admin: Customer, customer: Customer, other: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    number: str = order["number"]
    said = number.lower().replace("-", " ").replace("0", "o").replace("1", "l")

    for given in (number, said):
        for who in (customer, admin):
            found = (await who.get(f"/orders?number={quote(given)}")).found["data"]
            assert [each["id"] for each in found] == [order["id"]]
    assert (await other.get(f"/orders?number={number}")).found["data"] == []
    assert (await admin.get("/orders?number=nonsense")).refused(422, "invalid") == ["number"]


async def test_an_admin_finds_orders_by_mail_address_and_date(
    admin: Customer, customer: Customer, other: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    first, second, hers = [(await who.order(product)).made for who in (customer, customer, other)]
    email = quote(customer.email.upper())

    async def found(**filters: str) -> list[str]:
        path = f"/orders?email={email}&{urlencode(filters)}"
        return [each["id"] for each in await admin.everything(path)]

    at = datetime.fromisoformat(second["created_at"])
    later = (at + timedelta(hours=1)).isoformat()
    assert await found() == [second["id"], first["id"]]
    assert await found(status="AWAITING_PAYMENT", placed_before=later) == [
        second["id"],
        first["id"],
    ]
    assert await found(status="PAID") == []
    assert await found(placed_after=later) == []
    assert hers["id"] not in await found()
    (await customer.get(f"/orders?email={email}")).refused(403, "forbidden")


async def test_an_admin_finds_payments_by_customer_method_and_date(
    admin: Customer, customer: Customer, other: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    orders = [(await who.order(product)).made for who in (customer, customer, other)]
    cash = {"type": "cash_on_delivery"}
    by_card = (await customer.pay(orders[0])).made
    in_cash = (await customer.pay(orders[1], cash)).made
    await other.pay(orders[2], cash)

    async def found(who: Customer, **filters: str) -> list[str]:
        return [each["id"] for each in await who.everything(f"/payments?{urlencode(filters)}")]

    assert await found(admin, user_id=customer.id) == [in_cash["id"], by_card["id"]]
    assert await found(admin, user_id=customer.id, method="card") == [by_card["id"]]
    later = (datetime.fromisoformat(in_cash["created_at"]) + timedelta(hours=1)).isoformat()
    assert await found(admin, user_id=customer.id, created_after=later) == []
    assert await found(customer, method="cash_on_delivery", created_before=later) == [in_cash["id"]]
    (await other.get(f"/payments?user_id={customer.id}")).refused(403, "forbidden")


@pytest.mark.parametrize("path", ["/orders?placed_after=", "/payments?created_before="])
@pytest.mark.parametrize("moment", ["2026-11-30T10:00:00", "yesterday", "1"])
async def test_a_time_without_its_zone_is_refused(
    customer: Customer, path: str, moment: str
) -> None:
    name = path.partition("?")[2].rstrip("=")
    assert (await customer.get(path + moment)).refused(422, "invalid") == [name]


async def test_addresses_are_ones_own_and_at_most_twenty(
    customer: Customer, other: Customer
) -> None:
    made = await customer.post("/addresses", ADDRESS, key="home")
    again = await customer.post("/addresses", ADDRESS, key="home")
    changed = {**ADDRESS, "city": "Berlin"}
    (await customer.post("/addresses", changed, key="home")).refused(422, "idempotency_key_reused")
    path = f"/addresses/{made.made['id']}"

    assert again.made == made.made
    assert again.replayed
    assert made.made["address"] == ADDRESS
    for answer in (
        await other.get(path),
        await other.delete(path),
        await other.shop.call("PUT", path, changed, token=other.token),
    ):
        answer.refused(404, "address_not_found")
    moved = await customer.shop.call("PUT", path, changed, token=customer.token)
    assert moved.found["address"] == changed
    assert (await customer.get(path)).found == moved.found

    tried = await asyncio.gather(*(customer.post("/addresses", ADDRESS) for _ in range(25)))
    assert [each.status for each in tried].count(201) == 19
    for answer in tried:
        if answer.status != 201:
            answer.refused(409, "too_many_addresses")
    assert len((await customer.get("/addresses")).found["data"]) == 20
    assert (await customer.delete(path)).status == 204
    (await customer.get(path)).refused(404, "address_not_found")
    assert (await other.get("/addresses")).found == {"data": [], "next_cursor": None}


def incomplete() -> list[dict[str, Any]]:
    return [{**ADDRESS, "zip_code": ""}, {**ADDRESS, "planet": "Earth"}, {"name": "Ada"}]


async def test_an_address_is_as_strict_as_that_of_an_order(customer: Customer) -> None:
    for body in incomplete():
        (await customer.post("/addresses", body)).refused(422, "invalid")
    assert (await customer.get("/addresses")).found["data"] == []
