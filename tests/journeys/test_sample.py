"""Faults of the sample from which Cartwheel started, as far as no other file tests them."""

import asyncio
import secrets
import time

from cartwheel.local.demo_users import PASSWORD
from cartwheel.local.up import System

from ..waiting import eventually
from .broker import left_messages, prefetch_counts, queues
from .outside import mailed
from .shop import DECLINED_CARD, Customer, Shelf, Shop, by_card
from .strangers import add_nameless_user


async def test_creating_answers_201_with_nothing_and_orders_cannot_be_listed(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    newest = (await admin.get("/products?limit=1")).found["data"]

    placed = await customer.order(product)
    paid = await customer.pay(placed.made)

    for answer in (placed, paid):
        address = answer.headers["Location"].removeprefix("/api/v1")
        assert (await customer.get(address)).found["id"] == answer.made["id"]
    listed = await customer.everything("/orders")
    assert [order["id"] for order in listed] == [placed.made["id"]]
    assert newest == [product]


async def test_a_customers_name_goes_into_the_mails_html_as_it_is(
    system: System, shop: Shop, shelf: Shelf
) -> None:
    name = """<img src=x onerror="alert(1)"> & {{ 7*7 }} 'Ü'"""
    customer = await shop.sign_up(name)
    order = (await customer.order(await shelf.put_up(name="<script>top</script>"))).made

    await customer.pay(order)

    [mail] = await mailed(system, customer.email)
    assert "<img" not in mail["BodyHtml"]
    assert "<script" not in mail["BodyHtml"]
    assert "&lt;img src=x onerror=&#34;alert(1)&#34;&gt; &amp; {{ 7*7 }}" in mail["BodyHtml"]
    assert name in mail["BodyText"]
    assert order["user"]["name"] == name


async def test_a_token_without_a_name(system: System, shop: Shop, shelf: Shelf) -> None:
    """In the sample its message stayed unacknowledged forever."""
    email = f"nameless-{secrets.token_hex(4)}@example.com"
    await add_nameless_user(system, email)
    customer = await shop.log_in(email, PASSWORD)

    order = (await customer.order(await shelf.put_up())).made
    await customer.pay(order)

    [mail] = await mailed(system, email)
    assert order["user"]["name"] == email.partition("@")[0]
    assert f"Hello {order['user']['name']}" in mail["BodyText"]


async def test_poison_stays_unacknowledged_for_ever(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """Unknown and malformed products, repeated payments, orders that are over: every queue is empty
    afterwards, also those for what failed."""
    product = await shelf.put_up()
    order = (await customer.order(product)).made
    for product_id in ("nope", "prd_0", "\x00", "{}"):
        (await customer.order({"id": product_id})).refused(422)
    for _ in range(3):
        await customer.pay(order, by_card(DECLINED_CARD))
    await customer.sees(order, "REJECTED")
    await asyncio.gather(*(customer.pay(order) for _ in range(3)))

    async def all_empty() -> None:
        assert await left_messages(system) == {}

    await eventually(all_empty)


async def test_waiting_messages_vanish_with_a_restart_and_pile_up_in_memory(
    system: System,
) -> None:
    """In the sample, by queues that forget and consumers without a limit."""
    declared, consumers = await asyncio.gather(
        queues(system, "type", "durable"),
        prefetch_counts(system),
    )

    of_events = [name for name in declared if not name.startswith("rpc.")]
    assert len(of_events) == 4 * (1 + 2 + 1)  # events, two delays of retries, dead
    assert all("quorum" in declared[name]["type"] for name in of_events)
    assert all(declared[name]["durable"] for name in of_events)
    limits = {
        name.partition("_")[0]: count  # without a replica's own id
        for name, count in consumers
        if name in declared or name.startswith("rpc.")
    }
    assert {"rpc.orders", "rpc.products", "events.orders", "events.notifications"} <= set(limits)
    assert all(0 < limit <= 256 for limit in limits.values())


async def test_800_lines_take_over_15_s(customer: Customer, shelf: Shelf) -> None:
    """The sample sent a request per line. Here 500 lines are one request."""
    products = await asyncio.gather(*(shelf.put_up(stock=10) for _ in range(100)))
    items = [{"product_id": product["id"], "quantity": 1} for product in products * 5]

    began = time.monotonic()
    order = (await customer.post("/orders", {"items": items})).made
    took = time.monotonic() - began

    assert took < 5
    assert len(order["lines"]) == 100
    assert order["total"]["amount"] == 500 * 1999
    assert await shelf.stock(products[99]) == {"available": 5, "reserved": 5, "sold": 0}


async def test_a_stall_of_40_ms_in_every_request(customer: Customer, shelf: Shelf) -> None:
    """The cause was Nagle's algorithm with delayed acknowledgements. It affected every request."""
    path = f"/products/{(await shelf.put_up())['id']}"

    async def one_is_quick() -> None:
        began = time.perf_counter()
        await customer.get(path)
        assert time.perf_counter() - began < 0.03

    await eventually(one_is_quick)
