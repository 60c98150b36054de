"""Over HTTP: losing the primary, for a while and with all other members.

The tests share a shop on the replica set.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
import pytest

from cartwheel.kernel._store.primary import WAIT_SECONDS
from cartwheel.local.up import System, running

from ..beside import beside
from ..journeys.outside import ledger
from ..journeys.shop import DECLINED_CARD, Answer, Customer, Shelf, by_card, open_shop
from ..replica_set import NAMES, ReplicaSet
from ..waiting import eventually
from .test_failover import COUNT, majority_lost_for_good
from .test_lost_primary import LONGEST_FAILURE_SECONDS, all_back


@pytest.fixture(scope="module")
async def shop_system(
    shared_members: ReplicaSet, system: System, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[System]:
    """A shop on the replica set. A customer may have as many unpaid orders as may be."""
    home = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAX_OPEN_ORDERS", "0")
        async with beside(system, "failover") as shared:
            given = {**shared.given, "MONGODB_URI": shared_members.uri}
            async with running(home, given=given) as started:
                yield started


class Attempt(msgspec.Struct, frozen=True):
    """A request that is repeated with its key until it is done."""

    send: Callable[[str], Awaitable[Answer]]
    key: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))

    async def once(self) -> Answer:
        return await self.send(self.key)

    async def until_done(self) -> Answer:
        async def look() -> Answer:
            answered = await self.once()
            assert answered.status == 201, answered.text
            return answered

        return await eventually(look, within=60)


async def test_over_http_a_failover_is_503_or_504_and_every_order_is_charged_once(
    members: ReplicaSet, shop_system: System
) -> None:
    earlier = len(await ledger(shop_system))
    async with open_shop(shop_system.url) as shop:
        customer = await shop.sign_up()
        product = await Shelf(await shop.admin()).put_up(stock=1000)
        orders = [(await customer.order(product)).made for _ in range(COUNT)]
        # So that the payment is the first write of the requests during the failover.
        await asyncio.gather(*(address_stored(customer, order) for order in orders))
        placing = [
            Attempt(lambda key: customer.order(product, key=key, timeout=30)) for _ in range(COUNT)
        ]
        paying_ = [
            Attempt(lambda key, order=order: customer.pay(order, key=key, timeout=30))
            for order in orders
        ]

        async with majority_lost_for_good(members):
            answers = await asyncio.gather(*(each.once() for each in [*placing, *paying_]))
        assert {answer.status for answer in answers} <= {503, 504}, [a.text for a in answers]
        placed = await asyncio.gather(*(each.until_done() for each in placing))
        paid = await asyncio.gather(*(each.until_done() for each in paying_))
        await members.healthy()

        assert {payment.made["status"] for payment in paid} == {"PAID"}
        for order in orders:
            await customer.sees(order, "PAID")
        kept = {order["id"] for order in await customer.everything("/orders")}
        assert kept == {order["id"] for order in [*orders, *(each.made for each in placed)]}
    lines = (await ledger(shop_system))[earlier:]
    charged = [line["payment_id"] for line in lines if line["kind"] == "charge"]
    assert sorted(charged) == sorted(payment.made["id"] for payment in paid)


async def address_stored(customer: Customer, order: dict[str, str]) -> None:
    """Try to pay with a card that is declined."""
    declined = (await customer.pay(order, by_card(DECLINED_CARD))).made
    assert declined["status"] == "REJECTED"


async def test_over_http_each_request_fails_at_once_and_the_shop_recovers_by_itself(
    members: ReplicaSet, shop_system: System
) -> None:
    async with open_shop(shop_system.url) as shop:
        customer = await shop.sign_up()
        product = await Shelf(await shop.admin()).put_up(stock=10)
        order = (await customer.order(product)).made

        async def timed(request: Awaitable[Answer]) -> tuple[float, int]:
            began = time.monotonic()
            status = (await request).status
            return time.monotonic() - began, status

        async with all_back(members):
            await members.kill(*NAMES)
            await asyncio.sleep(WAIT_SECONDS + 1)
            answers = [
                await timed(request)
                for request in (
                    customer.order(product),
                    customer.get("/orders"),
                    customer.pay(order),
                    customer.get("/products"),
                )
            ]
        await eventually(lambda: _bought(customer, product))

    slowest = max(took for took, _ in answers)
    print(f"slowest answer {slowest:.3f} s")  # noqa: T201
    assert {status for _, status in answers} == {503}
    assert slowest < LONGEST_FAILURE_SECONDS * 2


async def _bought(customer: Customer, product: object) -> None:
    placed = await customer.order(product)
    assert placed.status == 201, placed.text
    paid = await customer.pay(placed.made)
    assert paid.status == 201, paid.text
    await customer.sees(placed.made, "PAID")
