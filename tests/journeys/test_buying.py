"""A purchase: sign up, place an order, pay, get the mail."""

import msgspec

from cartwheel.local.up import System

from .command_line import cartwheel
from .outside import charges, mailed, mails, tokenized
from .shop import ADDRESS, Customer, Shelf, Shop, by_card


async def test_a_customer_signs_up_orders_pays_and_gets_one_mail(
    system: System, shop: Shop, shelf: Shelf
) -> None:
    top = await shelf.put_up(stock=10, amount=1999, name="Wooden top")
    robot = await shelf.put_up(stock=5, amount=4250, name="Tin robot")
    customer = await shop.sign_up("Grace Hopper")

    listed = (await customer.get("/products?limit=2")).found["data"]
    items = [
        {"product_id": top["id"], "quantity": 2},
        {"product_id": robot["id"], "quantity": 1},
    ]
    order = (await customer.post("/orders", {"items": items})).made
    held = await shelf.stock(top)
    payment = (await customer.pay(order, by_card(await tokenized(system)))).made
    paid = await customer.sees(order, "PAID")

    assert [product["id"] for product in listed] == [robot["id"], top["id"]]
    assert order["status"] == "AWAITING_PAYMENT"
    assert order["total"] == {"amount": 8248, "currency": "USD"}
    assert order["user"] == {"id": customer.id, "name": "Grace Hopper", "email": customer.email}
    assert [(line["name"], line["quantity"], line["unit_price"]) for line in order["lines"]] == [
        (top["name"], 2, top["price"]),
        (robot["name"], 1, robot["price"]),
    ]
    assert held == {"available": 8, "reserved": 2, "sold": 0}
    assert payment["status"] == "PAID"
    assert payment["card"] == {"brand": "visa", "last4": "4242"}
    assert paid["shipping_address"] == ADDRESS
    await shelf.comes_to(top, available=8, sold=2)
    await shelf.comes_to(robot, available=4, sold=1)
    [mail] = await mailed(system, customer.email)
    for part in (mail["BodyText"], mail["BodyHtml"]):
        for said in ("Grace Hopper", order["number"], top["name"], robot["name"], "$82.48"):
            assert said in part
    assert await charges(system, [payment])
    # It was listed after SES had accepted it, and it was not handed to SES again since.
    ran = await cartwheel(system, "mail", "--json", "--order", order["id"])
    [noted] = msgspec.json.decode(ran.output)
    assert noted["status"] == "SENT"
    assert noted["sends"] == 1
    assert noted["to"] == customer.email
    assert noted["reason"] == "order.paid.v1"
    assert noted["order_number"] == order["number"]
    assert noted["text"] == mail["BodyText"]
    assert noted["message_id"] == mail["MessageId"]
    assert await mails(system, customer.email) == [mail]
    # The order number works as well as the id, even in the form typed after a phone call.
    heard = order["number"].replace("-", "").lower()
    by_number = await cartwheel(system, "mail", "--json", "--order", heard)
    assert by_number.output == ran.output


async def test_the_timeline_shows_what_happened_to_an_order(
    customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    await customer.pay(order)
    await customer.sees(order, "PAID")

    timeline = (await customer.get(f"/orders/{order['id']}/timeline")).found

    assert [(entry["type"], entry["by"]) for entry in timeline] == [
        ("order.placed.v1", customer.id),
        ("order.paid.v1", "payments"),
    ]


async def test_a_change_must_name_the_products_last_version(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(amount=1000)
    path = f"/products/{product['id']}"
    order = (await customer.order(product)).made
    seen = (await admin.get(path)).headers["ETag"]

    price = {"price": {"amount": 1200, "currency": "USD"}}
    changed = (await admin.patch(path, price, if_match=seen)).found
    stale = await admin.patch(path, {"description": "late"}, if_match=seen)

    assert changed["price"]["amount"] == 1200
    assert changed["version"] == product["version"] + 1
    stale.refused(412, "product_changed")
    # Earlier orders keep their price.
    assert (await customer.get(f"/orders/{order['id']}")).found["total"]["amount"] == 1000
    assert (await customer.order(product)).made["total"]["amount"] == 1200


async def test_an_archived_product_can_be_read_but_is_not_listed(
    admin: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()

    archived = (await admin.delete(f"/products/{product['id']}")).found

    assert archived["status"] == "ARCHIVED"
    assert (await admin.get(f"/products/{product['id']}")).found["status"] == "ARCHIVED"
    newest = (await admin.get("/products?limit=100")).found["data"]
    assert product["id"] not in [listed["id"] for listed in newest]
