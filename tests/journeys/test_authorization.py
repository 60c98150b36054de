"""Who may do what."""

import asyncio

from .shop import Customer, Shelf, new_product


async def test_anybody_creates_products(customer: Customer, admin: Customer, shelf: Shelf) -> None:
    """The sentence of the sample; here nobody but an administrator does."""
    product = await shelf.put_up()
    path = f"/products/{product['id']}"

    answers = [
        await customer.post("/products", new_product()),
        await customer.patch(path, {"price": {"amount": 1, "currency": "USD"}}),
        await customer.delete(path),
    ]

    for answer in answers:
        answer.refused(403, "forbidden")
    assert (await admin.get(path)).found == product


async def test_a_customer_cannot_confirm_a_payment(customer: Customer, shelf: Shelf) -> None:
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order, {"type": "cash_on_delivery"})).made

    (await customer.post(f"/payments/{payment['id']}/confirm")).refused(403, "forbidden")

    seen = (await customer.get(f"/payments/{payment['id']}")).found
    assert seen["status"] == "AWAITING_PAYMENT"


async def test_another_customers_order_is_readable_with_name_and_mail_address(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    """The sentence of the sample; here it is as if there were none."""
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order)).made

    answers = {
        path: await other.get(path)
        for path in (
            f"/orders/{order['id']}",
            f"/orders/{order['id']}/timeline",
            f"/payments/{payment['id']}",
        )
    }
    lists = await asyncio.gather(
        *(
            other.everything(path)
            for path in ("/orders", "/payments", f"/payments?order_id={order['id']}")
        )
    )

    for answer in answers.values():
        answer.refused(404)
        assert customer.email not in answer.text
    assert lists == [[], [], []]
    (await other.get(f"/orders?user_id={customer.id}")).refused(403, "forbidden")


async def test_anybody_pays_anybodys_order(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    """The sentence of the sample; here only whose order it is."""
    order = (await customer.order(await shelf.put_up())).made

    (await other.pay(order)).refused(404, "order_not_found")

    assert (await customer.get(f"/orders/{order['id']}")).found["status"] == "AWAITING_PAYMENT"
    assert (await customer.everything(f"/payments?order_id={order['id']}")) == []


async def test_anybody_sets_anybodys_order_to_paid(
    customer: Customer, other: Customer, shelf: Shelf
) -> None:
    """The sentence of the sample; here money decides, and its provider signs what it reports."""
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order, {"type": "cash_on_delivery"})).made
    report = {"type": "payment_intent.succeeded", "payment_id": payment["id"]}

    for somebody in (customer, other):
        for method, path in (
            ("PUT", f"/orders/{order['id']}/status"),
            ("PATCH", f"/orders/{order['id']}"),
            ("POST", f"/orders/{order['id']}/status"),
        ):
            answer = await somebody.shop.call(
                method, path, {"status": "PAID"}, token=somebody.token
            )
            assert answer.status in (403, 404, 405)
        unsigned = await somebody.post("/webhooks/simulator", report)
        unsigned.refused(401)
    signed_by_nobody = await customer.shop.call(
        "POST",
        "/webhooks/simulator",
        report,
        headers={"Simulator-Signature": f"t=1,v1={'0' * 64}"},
    )

    signed_by_nobody.refused(401, "bad_signature")
    assert (await customer.get(f"/orders/{order['id']}")).found["status"] == "AWAITING_PAYMENT"
    seen = (await customer.get(f"/payments/{payment['id']}")).found
    assert seen["status"] == "AWAITING_PAYMENT"


async def test_an_admin_sees_everybodys_orders_and_payments_and_filters_them(
    admin: Customer, customer: Customer, other: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    first, second = [(await who.order(product)).made for who in (customer, other)]
    payment = (await customer.pay(first)).made
    await customer.sees(first, "PAID")

    newest = (await admin.get("/orders?limit=2")).found["data"]
    of_customer = await admin.everything(f"/orders?user_id={customer.id}")
    paid = await admin.everything(f"/orders?user_id={customer.id}&status=PAID")
    waiting = await admin.everything(f"/orders?user_id={customer.id}&status=AWAITING_PAYMENT")
    payments = await admin.everything(f"/payments?order_id={first['id']}")
    declined = await admin.everything(f"/payments?order_id={first['id']}&status=REJECTED")

    assert [order["id"] for order in newest] == [second["id"], first["id"]]
    assert [order["id"] for order in of_customer] == [first["id"]]
    assert [order["id"] for order in paid] == [first["id"]]
    assert waiting == []
    assert [each["id"] for each in payments] == [payment["id"]]
    assert declined == []
    assert (await admin.get(f"/orders/{second['id']}")).found["user"]["email"] == other.email
    assert (await admin.get(f"/payments/{payment['id']}")).found["order_id"] == first["id"]
