"""The steps of one purchase: each is a round trip, a write to disk, or a wake-up.

If a change needs another step, raise the bound here, with a comment that says why. If it saves a
step, lower the bound.
"""

import asyncio
from typing import Any

from cartwheel.kernel.mongodb import UNPUBLISHED
from cartwheel.operations.verify.reading import Databases

from ..counting import ACKS, DELIVERIES, HTTP, MONGODB, PUBLISHES, TRANSACTIONS, Counts
from ..journeys.shop import Customer, Shelf
from ..pages import purchase as diagram
from ..waiting import eventually
from .conftest import Counted

ALONE: Counts = {
    # The payment counts for its user and its address before it is made, and is given back after:
    # of many cards that are tried at once, no more may be charged than the rate limits say.
    "findAndModify": {"gateway": 2},
    "find": {"products": 3, "orders": 2, "notifications": 1},
    "insert": {"products": 1, "orders": 1, "payments": 1},
    "update": {"products": 3, "orders": 3, "payments": 2, "notifications": 3, "gateway": 1},
    "commitTransaction": {"products": 2},
    "publish": {"gateway": 2, "products": 1, "orders": 5, "payments": 3, "notifications": 1},
    "deliver": {"gateway": 2, "products": 2, "orders": 4, "payments": 2, "notifications": 1},
    "ack": {"products": 2, "orders": 3, "payments": 1, "notifications": 1},
    "POST /api/v1/orders": {"customer": 1},
    "POST /api/v1/payments": {"customer": 1},
    "POST /v1/payment_intents": {"payments": 1},
    "POST /api/v1/webhooks/simulator": {"simulator": 1},
    "POST /v2/email/outbound-emails": {"notifications": 1},
}
"""Steps by name and process: 25 MongoDB commands, of which two end a transaction, 12 publishes,
11 deliveries, 7 acks, 5 HTTP exchanges."""

AT_MOST = {
    MONGODB: 13.0,
    TRANSACTIONS: 0.7,
    PUBLISHES: 9.5,
    DELIVERIES: 8.5,
    ACKS: 6.0,
    HTTP: 5.0,
}
"""The average per purchase while 32 customers buy. On a busy machine, purchases share more steps
(8.3 to 10.5 commands and 0.35 to 0.47 transactions were seen); on an idle machine, fewer."""

CUSTOMERS = 32
PURCHASES = 3
"""The purchases of each customer, one after the other."""

QUIET = 0.5
"""Seconds without a step."""


async def test_one_purchase_takes_exactly_these_steps(counted: Counted) -> None:
    shelf = Shelf(await counted.shop.admin())
    customer, product = await counted.shop.sign_up(), await shelf.put_up()
    await _buy_step_by_step(counted, customer, product)  # connections are made, keys fetched

    await _buy_step_by_step(counted, customer, product)

    found = counted.steps.counts()
    assert found == ALONE, f"{_side_by_side(found)}\n\n{counted.steps.one_by_one()}"


async def test_its_sequence_diagram_shows_the_messages_that_are_on_the_wire(
    counted: Counted,
) -> None:
    shelf = Shelf(await counted.shop.admin())
    customer, product = await counted.shop.sign_up(), await shelf.put_up()

    await _buy_step_by_step(counted, customer, product)

    assert counted.steps.published() == diagram.by_rabbitmq()
    assert counted.steps.exchanged() == diagram.by_http()


async def test_concurrent_purchases_share_steps(counted: Counted) -> None:
    shelf = Shelf(await counted.shop.admin())
    customers = await asyncio.gather(*(counted.shop.sign_up() for _ in range(CUSTOMERS)))
    products = await asyncio.gather(*(shelf.put_up(stock=PURCHASES) for _ in customers))
    counted.steps.forget()
    await _settled(counted)

    counted.steps.forget()
    await asyncio.gather(*map(_buy_again_and_again, customers, products))
    await _settled(counted, webhooks=CUSTOMERS * PURCHASES)

    purchases = CUSTOMERS * PURCHASES
    found = {kind: total / purchases for kind, total in counted.steps.totals().items()}
    above = {kind: each for kind, each in found.items() if each > AT_MOST[kind]}
    table = _side_by_side(counted.steps.counts(), purchases)
    assert above == {}, f"above what is allowed: {above}\n{table}"


async def _buy_again_and_again(customer: Customer, product: Any) -> None:
    for _ in range(PURCHASES):
        order = (await customer.order(product)).made
        assert (await customer.pay(order)).made["status"] == "PAID"


async def _buy_step_by_step(counted: Counted, customer: Customer, product: Any) -> None:
    """Buy without concurrency, because the steps of a race vary.

    The order is paid after all work that follows its placing is done. The webhook arrives while the
    payment is being made, and waits for it.
    """
    counted.steps.forget()
    order = (await customer.order(product)).made
    await _settled(counted)
    assert (await customer.pay(order)).made["status"] == "PAID"
    await _settled(counted, webhooks=1)


async def _settled(counted: Counted, *, webhooks: int = 0) -> None:
    """Return when this many webhooks are answered, and no work is left."""

    async def look() -> None:
        assert counted.steps.taken_by("simulator") == webhooks
        ended = [
            await counted.client[database][collection].count_documents({"status": status})
            for database, collection, status in (
                ("payments", "payments", "PAID"),
                ("orders", "orders", "PAID"),
                ("products", "reservations", "COMMITTED"),
                ("notifications", "mail", "SENT"),
            )
        ]
        assert len(set(ended)) == 1, ended
        for name, collection in Databases.named(counted.client).with_outboxes().items():
            assert await collection.count_documents(UNPUBLISHED) == 0, name
        # Stored work may still have to be acknowledged.
        assert counted.steps.quiet_for > QUIET

    await eventually(look, within=60)


def _side_by_side(found: Counts, purchases: int = 1) -> str:
    """Return a table of the steps per purchase, next to those of a single purchase."""
    names = {(name, who) for counts in (found, ALONE) for name in counts for who in counts[name]}
    lines = [f"{'':50}{'found':>6}{'alone':>6}"]
    for name, who in sorted(names):
        each, alone = (counts.get(name, {}).get(who, 0) for counts in (found, ALONE))
        mark = "" if each == alone * purchases else "  <--"
        lines.append(f"{name:34}{who:16}{each / purchases:6.3g}{alone:6}{mark}")
    return "\n".join(lines)
