"""Bad input gets a problem document that names the field, and changes nothing."""

import asyncio
import secrets
from typing import Any

import msgspec
import pytest

from .shop import ADDRESS, CARD, Customer, Shelf, Shop, by_card, new_product

UNKNOWN = "prd_" + "0" * 32
HOSTILE_IDS = ["nope", "", "0", "\x00", "$where", "a" * 10_000, "ord_" + "f" * 32]


@pytest.mark.parametrize(
    "quantity", [0, -1, -3, 0.5, 1.5, "2", None, True, 10**30, [1], {"$gt": 0}]
)
async def test_invalid_quantities_are_refused(
    customer: Customer, shelf: Shelf, quantity: object
) -> None:
    """The sample accepted -3, 0 and 0.5; a total of -31.50 could be paid."""
    product = await shelf.put_up(stock=10)

    refused = (await customer.order(product, quantity)).refused(422)

    assert refused == ["items[0].quantity"]
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}
    assert await customer.everything("/orders") == []


async def test_1000_pieces_of_5_are_sold(customer: Customer, shelf: Shelf) -> None:
    """The sentence of the sample; here the order is refused."""
    product = await shelf.put_up(stock=5)

    fields = (await customer.order(product, 1000)).refused(409, "insufficient_stock")

    assert fields == ["items[0].quantity"]
    assert await shelf.stock(product) == {"available": 5, "reserved": 0, "sold": 0}


async def test_two_lines_of_one_product_count_together(customer: Customer, shelf: Shelf) -> None:
    product = await shelf.put_up(stock=10)
    line = {"product_id": product["id"], "quantity": 6}

    fields = (await customer.post("/orders", {"items": [line, line]})).refused(409)

    assert fields == ["items[0].quantity"]
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}


@pytest.mark.parametrize("product_id", [UNKNOWN, *HOSTILE_IDS])
async def test_an_order_with_an_unknown_product_reserves_nothing(
    customer: Customer, shelf: Shelf, product_id: str
) -> None:
    product = await shelf.put_up(stock=10)
    items = [
        {"product_id": product["id"], "quantity": 1},
        {"product_id": product_id, "quantity": 1},
    ]

    fields = (await customer.post("/orders", {"items": items})).refused(422)

    assert fields == ["items[1].product_id"]
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}


async def test_an_archived_product_cannot_be_ordered(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    await admin.delete(f"/products/{product['id']}")

    fields = (await customer.order(product)).refused(422, "unknown_product")

    assert fields == ["items[0].product_id"]
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}


async def test_an_order_in_two_currencies_is_refused(customer: Customer, shelf: Shelf) -> None:
    dollars = await shelf.put_up(currency="USD")
    euros = await shelf.put_up(currency="EUR")
    items = [{"product_id": product["id"], "quantity": 1} for product in (dollars, euros)]

    fields = (await customer.post("/orders", {"items": items})).refused(422, "mixed_currencies")

    assert fields == ["items[1].product_id"]
    assert await shelf.stock(dollars) == {"available": 10, "reserved": 0, "sold": 0}
    assert await shelf.stock(euros) == {"available": 10, "reserved": 0, "sold": 0}


async def test_an_order_above_the_largest_total_is_refused(
    customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10, amount=10**12)

    fields = (await customer.order(product, 2)).refused(422, "order_too_large")

    assert fields == ["items"]
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": None}, "items"),
        ({"items": [None]}, "items[0]"),
        ({"items": [{"quantity": 1}]}, "items[0].product_id"),
        ({"items": [{"product_id": {"$ne": 1}, "quantity": 1}]}, "items[0].product_id"),
        ({"items": [{"product_id": UNKNOWN, "quantity": 1}] * 501}, "items"),
        ({"items": [{"product_id": UNKNOWN, "quantity": 1}], "shipping_address": {}}, None),
    ],
)
async def test_an_order_without_proper_lines_is_refused(
    customer: Customer, body: object, field: str | None
) -> None:
    fields = (await customer.post("/orders", body)).refused(422)

    assert len(fields) == 1
    assert field in (None, *fields)


@pytest.mark.parametrize(
    "name", ["_id", "id", "created_at", "createdAt", "total", "status", "user", "$set", "number"]
)
async def test_id_and_creation_time_can_be_set_by_the_client(
    customer: Customer, admin: Customer, shelf: Shelf, name: str
) -> None:
    """The sentence of the sample; here what clients may say is a closed list."""
    product = await shelf.put_up(stock=10)
    line = {"product_id": product["id"], "quantity": 1}

    in_order = await customer.post("/orders", {"items": [line], name: "x"})
    in_line = await customer.post("/orders", {"items": [{**line, name: "x"}]})
    in_product = await admin.post("/products", {**new_product(), name: "x"})
    in_change = await admin.patch(f"/products/{product['id']}", {name: "x"})

    # The error names the place and the known fields. The unknown field's name is the client's text.
    assert in_order.refused(422) == [""]
    assert in_line.refused(422) == ["items[0]"]
    assert in_product.refused(422) == [""]
    assert in_change.refused(422) == [""]
    assert await shelf.stock(product) == {"available": 10, "reserved": 0, "sold": 0}


@pytest.mark.parametrize("path", ["/orders", "/payments", "/products"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nul", b"items=1"])
async def test_a_body_that_is_not_json_is_refused(admin: Customer, path: str, body: bytes) -> None:
    (await admin.post(path, body)).refused(400, "malformed_json")


@pytest.mark.parametrize("path", ["/orders", "/payments", "/products"])
@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"name":' * 30_000, b'{"items": "\\ud800"}', b"{} {}", b"null", b'"x"'],
)
async def test_strange_json_is_refused(admin: Customer, path: str, body: bytes) -> None:
    answer = await admin.post(path, body)

    answer.refused(answer.status)
    assert answer.status in (400, 422)


async def test_null_is_no_way_to_leave_out_a_body(customer: Customer, shelf: Shelf) -> None:
    order = (await customer.order(await shelf.put_up())).made
    path = f"/orders/{order['id']}/cancel"

    (await customer.post(path, b"null")).refused(422, "invalid")

    assert (await customer.post(path)).found["status"] == "CANCELED"


async def test_ten_megabytes_of_json_are_refused_while_others_are_served(
    customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    line = {"product_id": product["id"], "quantity": 1}
    huge = msgspec.json.encode({"items": [line] * 150_000})

    refused, ordered = await asyncio.gather(customer.post("/orders", huge), customer.order(product))

    refused.refused(413, "body_too_large")
    assert ordered.made["total"] == product["price"]
    assert await shelf.stock(product) == {"available": 9, "reserved": 1, "sold": 0}


async def test_a_body_of_141_kb_answers_500(customer: Customer) -> None:
    """The sentence of the sample; here the field at fault is named."""
    lines = [{"product_id": UNKNOWN, "quantity": 1, "note": "x" * 141_000}]

    assert (await customer.post("/orders", {"items": lines})).refused(422) == ["items[0]"]


@pytest.mark.parametrize("thing", ["products", "orders", "payments"])
@pytest.mark.parametrize(
    "thing_id", ["nope", "0", "%00", "%24where", "a" * 4_000, "prd_" + "f" * 32, "%F0%9F%92%A9"]
)
async def test_unknown_ids_answer_500(customer: Customer, thing: str, thing_id: str) -> None:
    """The sentence of the sample; here they are not found."""
    (await customer.get(f"/{thing}/{thing_id}")).refused(404)


@pytest.mark.parametrize("path", ["/products", "/orders", "/payments"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=many", "limit"),
        ("limit=1.5", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "a" * 300, "cursor"),
    ],
)
async def test_invalid_list_parameters_are_refused(
    customer: Customer, path: str, query: str, field: str
) -> None:
    assert (await customer.get(f"{path}?{query}")).refused(422) == [field]


@pytest.mark.parametrize("path", ["/orders", "/payments"])
async def test_an_unknown_status_is_refused(customer: Customer, path: str) -> None:
    assert (await customer.get(f"{path}?status=LOST")).refused(422) == ["status"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": {"amount": -100, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 0, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 19.99, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": "1999", "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 10**12 + 1, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 10**30, "currency": "USD"}}, "price.amount"),
        ({"price": {"amount": 1999, "currency": "ZZZ"}}, "price.currency"),
        ({"price": {"amount": 1999, "currency": "XXX"}}, "price.currency"),
        ({"price": {"amount": 1999, "currency": "usd"}}, "price.currency"),
        ({"price": {"amount": 1999, "currency": "USD", "tax": 7}}, "price"),
        ({"price": {"amount": 1999}}, "price.currency"),
        ({"price": 19.99}, "price"),
        ({"stock": -5}, "stock"),
        ({"stock": 1.5}, "stock"),
        ({"stock": "5"}, "stock"),
        ({"stock": 10**10}, "stock"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"sku": "has space"}, "sku"),
        ({"sku": "line-break\n"}, "sku"),
        ({"tags": ["x"] * 21}, "tags"),
        ({"image_url": "javascript:alert(1)"}, "image_url"),
        ({"image_url": 'https://example.com/"><script>'}, "image_url"),
        ({"image_url": "https://example.com/a.png\n"}, "image_url"),
        ({"image_url": "https://example.com/\x1b[2J"}, "image_url"),
        ({"name": "\u200b"}, "name"),
        ({"name": "Robot\r\nBcc: all@example.com"}, "name"),
        ({"name": "Robot\x00"}, "name"),
        ({"description": "\x1b[2J"}, "description"),
        ({"category": "toys\u202e"}, "category"),
        ({"tags": ["tin\x7f"]}, "tags[0]"),
    ],
)
async def test_an_invalid_product_is_refused(
    admin: Customer, change: dict[str, Any], field: str
) -> None:
    """The sample accepted price -100 and stock -5."""
    body = {**new_product(), **change}

    assert (await admin.post("/products", body)).refused(422) == [field]


async def test_a_description_may_have_several_lines(admin: Customer) -> None:
    body = {**new_product(), "description": "Made of tin.\r\n\n\tWinds up.\n"}

    assert (await admin.post("/products", body)).made["description"] == body["description"]


@pytest.mark.parametrize("control", ["\x1b[2J", "\r\n", "\x00", "\x9b", "\u202e", "\u2028"])
async def test_control_characters_are_refused_in_all_text(
    customer: Customer, admin: Customer, shelf: Shelf, control: str
) -> None:
    """Otherwise they would appear in mail, in the log, and in the terminal of its reader."""
    order = (await customer.order(await shelf.put_up())).made
    reason = {"reason": f"Too late{control}"}

    for field in ("name", "street", "number", "city", "zip_code", "country"):
        address = {**ADDRESS, field: f"{ADDRESS[field]}{control}"}
        place = {"items": [{"product_id": UNKNOWN, "quantity": 1}], "shipping_address": address}
        pay = {"order_id": order["id"], "method": by_card(), "shipping_address": address}
        for path, body in (("/orders", place), ("/payments", pay)):
            refused = (await customer.post(path, body)).refused(422)
            assert refused == [f"shipping_address.{field}"]
    assert (await customer.pay(order, by_card(f"{CARD}{control}"))).refused(422) == ["method.token"]
    for who in (customer, admin):
        refused = (await who.post(f"/orders/{order['id']}/cancel", reason)).refused(422)
        assert refused == ["reason"]
    assert (await customer.get(f"/orders/{order['id']}")).found == order


@pytest.mark.parametrize("field", ["name", "price", "stock"])
async def test_each_field_of_a_product_is_required(admin: Customer, field: str) -> None:
    body = new_product()
    del body[field]

    assert (await admin.post("/products", body)).refused(422) == [field]


async def test_a_duplicate_product_name_answers_201_and_is_dropped(
    admin: Customer, shelf: Shelf
) -> None:
    """The sentence of the sample; here the name is refused, until it is free again."""
    product = await shelf.put_up()
    same = {**new_product(), "name": product["name"]}

    refused = await admin.post("/products", same)
    spaced = await admin.post("/products", {**same, "name": f" {product['name']} "})
    renamed = (await admin.post("/products", new_product())).made
    change = await admin.patch(f"/products/{renamed['id']}", {"name": product["name"]})
    spaced_change = await admin.patch(
        f"/products/{renamed['id']}", {"name": f" {product['name']} "}
    )
    await admin.delete(f"/products/{product['id']}")
    freed = await admin.post("/products", same)

    for answer in (refused, spaced, change, spaced_change):
        answer.refused(409, "product_name_taken")
    assert freed.made["name"] == product["name"]


async def test_two_products_cannot_share_a_sku(admin: Customer) -> None:
    sku = secrets.token_hex(8)

    first = await admin.post("/products", {**new_product(), "sku": sku})
    second = await admin.post("/products", {**new_product(), "sku": sku})

    assert first.made["sku"] == sku
    second.refused(409, "product_sku_taken")


async def test_unknown_paths_and_methods_are_refused(shop: Shop) -> None:
    (await shop.call("GET", "/nowhere")).refused(404, "no_such_route")
    (await shop.call("DELETE", "/auth/login")).refused(405, "method_not_allowed")
    (
        await shop.call("POST", "/auth/login", b"email=x", headers={"Content-Type": "text/plain"})
    ).refused(415, "unsupported_media_type")
