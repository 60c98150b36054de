"""Outages of processes and dependencies: the others stay up, and waiting work is completed."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import aiohttp
import pytest

from cartwheel.kernel import utc_now
from cartwheel.local.supervisor import Supervisor
from cartwheel.local.up import System

from ..waiting import eventually
from .outside import charges, mailed, mails
from .shop import Answer, Customer, Shelf, Shop, new_product

CASH = {"type": "cash_on_delivery"}
DEADLINE = 10.0


def pids(supervisor: Supervisor) -> dict[str, int]:
    """Return the process ids of all that run, by name."""
    found: dict[str, int] = {}
    for name in supervisor.names:
        with suppress(ProcessLookupError):
            found[name] = supervisor.pid(name)
    return found


@asynccontextmanager
async def without(system: System, name: str) -> AsyncGenerator[None]:
    """Stop a process, and start it again at the end. The others must run all the time."""
    supervisor = system.supervisor
    before = {other: pid for other, pid in pids(supervisor).items() if other != name}
    await supervisor.stop(name)
    try:
        yield
        assert {other: supervisor.pid(other) for other in before} == before
    finally:
        await supervisor.start(name)


async def nobody_answers(*requests: Awaitable[Answer]) -> None:
    """Check that all get 503 or 504 in time."""
    began = time.monotonic()
    answers = await asyncio.gather(*requests)
    assert time.monotonic() - began < DEADLINE + 5
    for answer in answers:
        assert answer.status in (503, 504), answer.text
        answer.refused(answer.status)


async def all_served(*requests: Awaitable[Answer]) -> list[Answer]:
    """Check that all are served at once."""
    async with asyncio.timeout(DEADLINE - 2):
        answers = await asyncio.gather(*requests)
    assert all(answer.status in (200, 201) for answer in answers), answers
    return list(answers)


async def test_while_products_is_down_the_rest_is_served_and_a_paid_order_gets_its_stock_later(
    system: System, customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    path = f"/products/{product['id']}"
    order = (await customer.order(product)).made
    key = secrets.token_hex(8)

    async def the_rest() -> None:
        await all_served(
            customer.get("/orders"), customer.get("/payments"), customer.get("/auth/me")
        )
        [payment] = await all_served(customer.pay(order))
        assert payment.made["status"] == "PAID"
        await customer.sees(order, "PAID")

    async with without(system, "products"):
        await asyncio.gather(
            nobody_answers(
                customer.order(product, 3, key=key),
                customer.get(path),
                customer.get("/products"),
                admin.post("/products", new_product()),
                admin.patch(path, {"description": "new"}),
            ),
            the_rest(),
        )

    again = await asyncio.gather(*(customer.order(product, 3, key=key) for _ in range(3)))
    assert len({answer.made["id"] for answer in again}) == 1
    await shelf.comes_to(product, available=6, reserved=3, sold=1)
    assert len(await customer.everything("/orders")) == 2


async def test_while_orders_is_down_cash_is_confirmed_and_the_order_is_paid_later(
    system: System, customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order, unpaid = [(await customer.order(product)).made for _ in range(2)]
    pending = (await customer.pay(order, CASH)).made
    await eventually_waits_for_cash(customer, order)
    order_key, payment_key = secrets.token_hex(8), secrets.token_hex(8)

    async def the_rest() -> None:
        await all_served(customer.get("/products"), admin.post("/products", new_product()))
        [confirmed] = await all_served(admin.post(f"/payments/{pending['id']}/confirm"))
        assert confirmed.found["status"] == "PAID"
        await all_served(customer.get("/payments"), customer.get(f"/payments/{pending['id']}"))

    async with without(system, "orders"):
        await asyncio.gather(
            nobody_answers(
                customer.order(product, key=order_key),
                customer.get("/orders"),
                customer.get(f"/orders/{order['id']}"),
                customer.get(f"/orders/{order['id']}/timeline"),
                customer.pay(unpaid, key=payment_key),
            ),
            the_rest(),
        )

    await customer.sees(order, "PAID")
    await mailed(system, customer.email, count=1)
    assert (await customer.order(product, key=order_key)).made["status"] == "AWAITING_PAYMENT"
    paid = (await customer.pay(unpaid, key=payment_key)).made
    assert len(await charges(system, [paid])) == 1
    await shelf.comes_to(product, available=7, reserved=1, sold=2)


async def eventually_waits_for_cash(customer: Customer, order: object) -> None:
    """Wait until orders knows of the cash payment and has given it the deadline of cash."""

    async def look() -> None:
        found = (await customer.sees(order, "AWAITING_PAYMENT"))["expires_at"]
        assert datetime.fromisoformat(found) > utc_now() + timedelta(days=1)

    await eventually(look)


async def test_while_payments_is_down_orders_are_placed_and_paid_once_later(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product)).made
    key = secrets.token_hex(8)

    async with without(system, "payments"):
        await asyncio.gather(
            nobody_answers(customer.pay(order, key=key), customer.get("/payments")),
            all_served(customer.order(product), customer.get("/orders"), customer.get("/products")),
        )

    answers = await asyncio.gather(*(customer.pay(order, key=key) for _ in range(3)))
    assert {answer.made["status"] for answer in answers} == {"PAID"}
    assert len(await charges(system, await customer.everything("/payments"))) == 1
    await customer.sees(order, "PAID")
    await shelf.comes_to(product, available=8, reserved=1, sold=1)
    await mailed(system, customer.email, count=1)


async def test_while_notifications_is_down_everything_is_served_and_the_mail_follows(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)

    async with without(system, "notifications"):
        [placed] = await all_served(customer.order(product))
        await all_served(customer.pay(placed.made), customer.get("/products"))
        await customer.sees(placed.made, "PAID")
        await shelf.comes_to(product, available=9, sold=1)
        assert await mails(system, customer.email) == []

    await mailed(system, customer.email, count=1)


async def test_while_the_gateway_is_down_connections_are_refused_and_the_rest_runs_on(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product)).made
    await customer.pay(order)

    async with without(system, "gateway"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await customer.get("/products")
        await mailed(system, customer.email, count=1)

    await customer.sees(order, "PAID")


async def test_a_mail_server_that_is_down_kills_the_process_and_loses_the_mail(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """The sentence of the sample; here the mail waits, and the process lives."""
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product)).made

    async with without(system, "ministack"):  # which is SES here
        await all_served(customer.pay(order))
        await customer.sees(order, "PAID")
        await shelf.comes_to(product, available=9, sold=1)

    await mailed(system, customer.email, count=1)
    assert (await customer.order(product)).made["user"]["email"] == customer.email


async def test_with_the_broker_away_the_gateway_answers_201_and_loses_the_order(
    system: System, shop: Shop, customer: Customer, shelf: Shelf
) -> None:
    """The sentence of the sample, where waiting orders vanished with a broker restart, too. Here
    the answer is 503, at once; what waits in a queue stays; and all is well when it is back."""
    supervisor = system.supervisor
    product = await shelf.put_up(stock=10)
    paid = (await customer.order(product)).made
    key = secrets.token_hex(8)
    before = pids(supervisor)

    await supervisor.stop("notifications")
    try:
        await customer.pay(paid)
        await customer.sees(paid, "PAID")
        await shelf.comes_to(product, available=9, sold=1)
        await supervisor.kill("rabbitmq")
        async with asyncio.timeout(DEADLINE - 2):
            answers = await asyncio.gather(
                customer.order(product, key=key),
                customer.get("/products"),
                customer.get("/orders"),
                customer.pay(paid),
            )
        ready = await shop.probe("/health/ready")
        await supervisor.ready("rabbitmq")
    finally:
        await supervisor.start("notifications")

    for answer in answers:
        answer.refused(503)
        assert int(answer.headers["Retry-After"]) >= 1
    assert ready == 503

    async def is_back() -> None:
        assert await shop.probe("/health/ready") == 200
        assert (await customer.order(product, key=key)).status == 201

    await eventually(is_back)
    await shelf.comes_to(product, available=8, reserved=1, sold=1)
    assert len(await customer.everything("/orders")) == 2
    await mailed(system, customer.email, count=1)
    spared = set(before) - {"rabbitmq", "notifications"}
    assert {name: supervisor.pid(name) for name in spared} == {
        name: before[name] for name in spared
    }


@pytest.mark.parametrize("victim", ["orders", "products"])
async def test_kill_9_under_load_stores_an_order_twice_and_takes_its_stock_twice(
    system: System, crowd: list[Customer], shelf: Shelf, victim: str
) -> None:
    """The sentence of the sample, of 66 to 74 in 3,000 orders; here clients repeat their key."""
    product = await shelf.put_up(stock=100)
    ids: list[str] = []
    under_way = asyncio.Event()

    async def order_ten(customer: Customer) -> None:
        for _ in range(10):
            ids.append(await insist(customer, product))
            if len(ids) == 20:
                under_way.set()

    async def kill() -> None:
        await under_way.wait()
        await system.supervisor.kill(victim)

    await asyncio.gather(kill(), *(order_ten(customer) for customer in crowd))

    assert len(set(ids)) == 100
    assert await shelf.stock(product) == {"available": 0, "reserved": 100, "sold": 0}
    stored = await asyncio.gather(*(customer.everything("/orders") for customer in crowd))
    of_product = [
        order["id"]
        for orders in stored
        for order in orders
        if order["lines"][0]["product_id"] == product["id"]
    ]
    assert sorted(of_product) == sorted(ids)


async def test_requests_lost_with_a_killed_process_do_not_delay_later_ones(
    system: System, customer: Customer, other: Customer, shelf: Shelf
) -> None:
    """Only the requests that it was handling wait for their deadline, not those behind them."""
    supervisor = system.supervisor
    product = await shelf.put_up(stock=10)
    await other.order(product)
    products = supervisor.pid("products")
    os.kill(products, signal.SIGSTOP)  # so that orders is still handling a request
    try:
        lost: list[asyncio.Task[Answer]] = []
        for _ in range(4):
            lost.append(asyncio.create_task(customer.order(product)))
            await asyncio.sleep(0.1)
        await supervisor.kill("orders")
    finally:
        os.kill(products, signal.SIGCONT)
    await supervisor.ready("orders")

    began = time.monotonic()
    answer = await other.order(product)
    took = time.monotonic() - began

    for request in lost:
        request.cancel()
    await asyncio.wait(lost)
    assert answer.made["status"] == "AWAITING_PAYMENT"
    assert took < DEADLINE / 2


async def insist(customer: Customer, product: object) -> str:
    """Send the same order with the same key until there is an answer, as clients do."""
    key = secrets.token_hex(8)
    while True:
        try:
            answer = await customer.order(product, key=key, timeout=2)
        except (TimeoutError, aiohttp.ClientError):
            continue
        if answer.status == 201:
            return answer.made["id"]
        assert answer.status in (503, 504), answer.text
        await asyncio.sleep(0.2)
