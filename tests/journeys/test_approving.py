"""Payments that their customer has to approve on the provider's page: 3-D Secure, and a wallet.

`test_verify` compares what they leave behind with the provider's ledger.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cartwheel.local.up import System

from ..simulator.browsing import browse
from ..waiting import eventually
from .outside import ledger, provider
from .shop import CHALLENGED_CARD, Customer, Shelf, Shop, by_card
from .test_webhooks import about, spoil, tell

SHOP = "http://localhost:3000/paid"
CARD, WALLET = by_card(CHALLENGED_CARD), {"type": "wallet"}

both = pytest.mark.parametrize("method", [CARD, WALLET], ids=["card", "wallet"])


async def begun(
    customer: Customer,
    shelf: Shelf,
    method: dict[str, Any] = CARD,
    *,
    return_url: str | None = None,
) -> tuple[Any, Any]:
    """Return an order, and its payment that waits for the customer."""
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order, method, return_url=return_url)).made
    assert payment["status"] == "REQUIRES_ACTION"
    assert payment["next_action"]["type"] == "redirect"
    return order, payment


async def says(payment: Any, said: str) -> str | None:
    """Answer on the provider's page; return where the browser is sent."""
    _, _, back = await browse(payment["next_action"]["url"], said)
    return back


async def ends(customer: Customer, payment: Any, *statuses: str, within: float = 15) -> Any:
    async def look() -> Any:
        found = (await customer.get(f"/payments/{payment['id']}")).found
        assert found["status"] in statuses, found
        return found

    ended = await eventually(look, within=within)
    assert ended["next_action"] is None
    return ended


async def kinds(system: System, payment: Any) -> list[str]:
    """Return what the provider has recorded about the payment."""
    return [line["kind"] for line in await ledger(system) if line["payment_id"] == payment["id"]]


@pytest.fixture(autouse=True)
async def _clean(system: System) -> AsyncGenerator[None]:
    yield
    async with provider(system) as http:
        await http.delete("/v1/faults", raise_for_status=True)


@both
async def test_an_approved_payment_pays_the_order(
    system: System, customer: Customer, shelf: Shelf, method: dict[str, Any]
) -> None:
    order, payment = await begun(customer, shelf, method, return_url=SHOP)
    seen = (await customer.get(f"/payments/{payment['id']}")).found

    back = await says(payment, "approve")

    paid = await ends(customer, payment, "PAID")
    await customer.sees(order, "PAID")
    assert seen == payment
    assert str(back).startswith(f"{SHOP}?payment_id={payment['id']}&")
    assert paid["method"] == method["type"]
    assert paid["card"] == ({"brand": "visa", "last4": "3220"} if method is CARD else None)
    assert await kinds(system, payment) == ["challenge", "charge"]


@both
async def test_a_refused_payment_is_no_attempt(
    system: System, customer: Customer, shelf: Shelf, method: dict[str, Any]
) -> None:
    order, payment = await begun(customer, shelf, method)

    await says(payment, "refuse")

    refused = await ends(customer, payment, "REJECTED")
    waiting = await customer.sees(order, "AWAITING_PAYMENT")
    assert refused["failure"]["code"] == "payment_intent_authentication_failure"
    assert waiting["payment_attempts"] == 0
    assert (await customer.pay(order)).made["status"] == "PAID"
    await customer.sees(order, "PAID")


async def test_the_same_request_is_answered_the_same(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    first, again = [await customer.pay(order, CARD, key="k") for _ in range(2)]
    other = await customer.pay(order, CARD, key="k", return_url=SHOP)

    assert (again.replayed, again.made) == (True, first.made)
    other.refused(422, "idempotency_key_reused")
    (await customer.pay(order, WALLET)).refused(409, "payment_in_progress")
    assert await kinds(system, first.made) == ["challenge"]


async def test_coming_back_to_the_shop_proves_nothing(
    system: System, shop: Shop, customer: Customer, shelf: Shelf
) -> None:
    order, payment = await begun(customer, shelf)

    back = await says(payment, "nothing")
    told = await tell(system, shop, about(payment))  # with the provider's own signature

    assert back is None
    assert told.status == 204
    assert (await customer.get(f"/payments/{payment['id']}")).found == payment
    assert (await customer.get(f"/orders/{order['id']}")).found["status"] == "AWAITING_PAYMENT"


@pytest.fixture
async def impatient(system: System) -> AsyncGenerator[None]:
    """Orders waits only a few seconds for a payment, or for its approval."""
    seconds = {"PAYMENT_DEADLINE_SECONDS": "4", "ACTION_DEADLINE_SECONDS": "4"}
    await system.supervisor.stop("orders")
    system.supervisor.next_time("orders", seconds)
    await system.supervisor.start("orders")
    yield
    await system.supervisor.stop("orders")
    await system.supervisor.start("orders")


@both
@pytest.mark.usefixtures("impatient")
async def test_an_abandoned_payment_ends_with_its_order(
    system: System, customer: Customer, shelf: Shelf, method: dict[str, Any]
) -> None:
    product = await shelf.put_up(stock=10)
    order = (await customer.order(product)).made
    payment = (await customer.pay(order, method)).made

    # On a busy machine, the payment's own time may be over before the order's event arrives.
    ended = await ends(customer, payment, "CANCELED", "REJECTED", within=40)
    await customer.sees(order, "CANCELED")
    await says(payment, "approve")

    assert ended["failure"]["code"] in ("order_canceled", "action_expired")
    assert await kinds(system, payment) == ["challenge", "cancellation"]
    await shelf.comes_to(product, available=10)


async def test_a_late_and_repeated_webhook_pays_once(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order, payment = await begun(customer, shelf)
    about_it = {"on": "answer", "payment_id": payment["id"]}
    await spoil(system, kind="webhook_late", seconds=2, **about_it)

    await says(payment, "approve")
    still = (await customer.get(f"/payments/{payment['id']}")).found["status"]

    await ends(customer, payment, "PAID")
    assert still in ("REQUIRES_ACTION", "PAID")
    other_order, other = await begun(customer, shelf)
    await spoil(system, kind="webhook_twice", on="answer", payment_id=other["id"])
    await says(other, "approve")
    await ends(customer, other, "PAID")
    await customer.sees(order, "PAID")
    await customer.sees(other_order, "PAID")
    assert await kinds(system, other) == ["challenge", "charge"]


async def test_a_lost_webhook_delays_the_payment_only(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order, payment = await begun(customer, shelf)
    await spoil(system, kind="webhook_never", on="answer", payment_id=payment["id"])

    await says(payment, "approve")

    await ends(customer, payment, "PAID", within=45)
    await customer.sees(order, "PAID")


async def test_an_approval_after_the_order_was_canceled_is_refunded_or_refused(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order, payment = await begun(customer, shelf)

    await asyncio.gather(
        customer.post(f"/orders/{order['id']}/cancel", {}), says(payment, "approve")
    )

    async def look() -> None:
        found = (await customer.get(f"/payments/{payment['id']}")).found["status"]
        if found == "REFUNDED":
            assert await kinds(system, payment) == ["challenge", "charge", "refund"]
        else:
            assert found == "CANCELED"
            assert await kinds(system, payment) == ["challenge", "cancellation"]

    await eventually(look, within=30)
    await customer.sees(order, "CANCELED")


async def test_a_payment_that_waits_is_given_up(
    system: System, customer: Customer, other: Customer, shelf: Shelf
) -> None:
    order, payment = await begun(customer, shelf)
    path = f"/payments/{payment['id']}/cancel"

    (await other.post(path)).refused(404, "payment_not_found")
    canceled = (await customer.post(path)).found
    await says(payment, "approve")

    assert (canceled["status"], canceled["next_action"]) == ("CANCELED", None)
    assert await kinds(system, payment) == ["challenge", "cancellation"]
    assert (await customer.pay(order)).made["status"] == "PAID"


@pytest.mark.parametrize("url", ["https://evil.example/", "http://localhost:3000@evil.example"])
async def test_nobody_comes_back_to_a_strange_address(
    customer: Customer, shelf: Shelf, url: str
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    refused = await customer.pay(order, CARD, return_url=url)

    assert refused.refused(422) == ["return_url"]
    assert await customer.everything("/payments") == []
