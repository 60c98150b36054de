"""Rules that hold for every operation in the OpenAPI document."""

import secrets
from typing import Any

import pytest
from msgspec.structs import replace

from .operations import Api, Got, Operation
from .shop import ADDRESS, Customer, Shelf

CATALOGUE = {"list_products", "get_product"}
KEYLESS = {"cancel_order", "confirm_payment"}
"""They end something, once, and are older than the rule."""


async def bought_and_returned(admin: Customer, product: Any) -> dict[str, str]:
    """Return the ids of an order, and of its parcel and return. A part of it is not shipped."""
    order = (await admin.order(product, 2)).made
    await admin.pay(order)
    await admin.sees(order, "PAID")
    path = f"/orders/{order['id']}"
    lines = {"lines": [{"product_id": product["id"], "quantity": 1}]}
    parcel = (await admin.post(f"{path}/shipments", lines)).made
    await admin.post(f"{path}/shipments/{parcel['id']}/delivered")
    returned = (await admin.post(f"{path}/returns", {**lines, "reason": "It wobbles."})).made
    return {"order_id": order["id"], "shipment_id": parcel["id"], "return_id": returned["id"]}


@pytest.fixture
async def operations(
    api: Api, admin: Customer, customer: Customer, shelf: Shelf
) -> list[Operation]:
    """All operations, with ids of existing resources."""
    product = await shelf.put_up()
    payment = (await admin.pay((await admin.order(product)).made)).made
    cent = {"reason": "A test.", "amount": {"amount": 1, "currency": "USD"}}
    refund = (await admin.post(f"/payments/{payment['id']}/refunds", cent)).made
    goods = await bought_and_returned(admin, product)
    adjusted = (await shelf.adjust(product, 1)).made
    await admin.delete_addresses()
    address = (await admin.post("/addresses", ADDRESS)).made
    known = {
        "adjustment_id": adjusted["id"],
        "product_id": product["id"],
        **goods,
        "payment_id": payment["id"],
        "refund_id": refund["id"],
        "address_id": address["id"],
        "user_id": customer.id,
    }
    new = {"name": f"Robot {secrets.token_hex(6)}", "sku": secrets.token_hex(6)}
    return list(api.operations(email=admin.email, **known, **new))


def methods(got: Got) -> list[str]:
    return sorted(got.headers["Allow"].split(", "))


def told(got: Got) -> dict[str, str]:
    """Return the headers that depend only on the request."""
    return {
        name: value for name, value in got.headers.items() if name not in ("Date", "X-Request-ID")
    }


async def test_options_and_405_name_every_method_of_a_path(
    api: Api, operations: list[Operation]
) -> None:
    described: dict[str, set[str]] = {}
    for operation in operations:
        described.setdefault(operation.sent.path, {"OPTIONS"}).add(operation.sent.method)

    for path, those in described.items():
        sent = next(each.sent for each in operations if each.sent.path == path)
        options = await api.send(replace(sent, method="OPTIONS", body=None))
        refused = await api.send(replace(sent, method="TRACE", body=None))

        assert (options.status, options.text) == (204, "")
        assert refused.status == 405
        expected = sorted(those | ({"HEAD"} if "GET" in those else set()))
        assert (path, methods(options), methods(refused)) == (path, expected, expected)


async def test_every_post_with_a_token_takes_an_idempotency_key(
    api: Api, admin: Customer, operations: list[Operation]
) -> None:
    posts = [each for each in operations if each.sent.method == "POST" and not each.public]
    keyed = [each for each in posts if "Idempotency-Key" in each.sent.headers]

    assert {each.id for each in posts} - {each.id for each in keyed} <= KEYLESS
    for each in keyed:
        got = await api.send(
            replace(each.sent, headers={"Idempotency-Key": "x" * 256}), admin.token
        )
        assert got.fields(422, "invalid") == ["Idempotency-Key"]


async def test_head_answers_as_get_does_without_a_body(
    api: Api, admin: Customer, operations: list[Operation]
) -> None:
    gets = [each.sent for each in operations if each.sent.method == "GET"]
    assert len(gets) >= 9
    for sent in gets:
        lost = replace(sent, query={}, places=dict.fromkeys(sent.places, "nowhere"))
        for asked, token in (
            (replace(sent, query={}), admin.token),
            (replace(sent, query={"limit": "0"}), admin.token),
            (lost, admin.token),
            (lost, ""),
        ):
            got = await api.send(asked, token)
            head = await api.send(replace(asked, method="HEAD"), token)

            assert int(head.headers["Content-Length"]) == len(got.text.encode()) > 0
            assert (head.status, told(head), head.text) == (got.status, told(got), "")


async def test_every_operation_refuses_unknown_parameters(
    api: Api, admin: Customer, operations: list[Operation]
) -> None:
    for operation in operations:
        asked = replace(operation.sent, query={"limit": "5", "qq": "x"}, body=b"[")
        names = ["qq"] if "limit" in operation.sent.query else ["limit", "qq"]

        refused = await api.send(asked, admin.token)
        nobody = await api.send(asked)

        assert (operation.id, refused.fields(422, "unknown_parameter")) == (operation.id, names)
        # Without a token, the answer does not reveal this.
        open_to_all = operation.public or operation.visited
        assert (operation.id, nobody.status) == (operation.id, 422 if open_to_all else 401)


async def test_every_answer_has_its_media_type_and_only_the_catalogue_may_be_cached(
    api: Api, admin: Customer, operations: list[Operation]
) -> None:
    done: set[str] = set()
    for operation in operations:
        sent = replace(operation.sent, query={}, headers={})
        for asked, token in (
            (sent, admin.token),
            (sent, ""),
            (replace(sent, places=dict.fromkeys(sent.places, "nowhere")), admin.token),
            (replace(sent, body=b"["), admin.token),
            (replace(sent, method="OPTIONS", body=None), ""),
            (replace(sent, method="TRACE"), ""),
            (replace(sent, path=f"{sent.path}/nowhere"), ""),
        ):
            got = await api.send(asked, token)

            catalogue = operation.id in CATALOGUE and got.status == 200
            stored = ("private, no-cache" if token else "no-cache") if catalogue else "no-store"
            assert (got.headers.get("Vary") == "Authorization") == catalogue, str(got)
            assert got.headers.getall("X-Content-Type-Options") == ["nosniff"], str(got)
            assert got.headers.getall("Cache-Control") == [stored], str(got)
            if got.status < 300 and asked.method == sent.method:
                done.add(operation.id)

    assert {each.id for each in operations if each.sent.method == "GET"} <= done
    assert {"create_product", "place_order", "cancel_order", "archive_product"} <= done
