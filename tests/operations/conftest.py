"""A service and queues of the tests' own, and orders to verify."""

import secrets
from collections.abc import AsyncGenerator

import aio_pika
import msgspec
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel.mongodb import UNPUBLISHED, Client, Database
from cartwheel.kernel.operating import topology
from cartwheel.local.up import System
from cartwheel.operations.dead_letters.audit import Audit
from cartwheel.operations.verify.reading import Databases

from ..journeys.outside import mailed
from ..journeys.shop import DECLINED_CARD, Shelf, by_card, open_shop
from ..table_scans import verify_reads_all
from ..waiting import eventually

SERVICE = "operations-tests"


@pytest.fixture(autouse=True)
async def _verify_reads_all(system: System) -> AsyncGenerator[None]:
    async with verify_reads_all(system):
        yield


@pytest.fixture
async def rabbitmq(system: System) -> AsyncGenerator[AbstractConnection]:
    async with await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection:
        yield connection


@pytest.fixture
async def channel(rabbitmq: AbstractConnection) -> AsyncGenerator[AbstractChannel]:
    """A channel for reading queues. The tests' queues exist and are empty."""
    async with rabbitmq.channel() as opened:
        await topology.declare(opened, services=[SERVICE], events=[])
        for name in topology.queues(SERVICE):
            await (await opened.get_queue(name)).purge()
        yield opened


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of correct orders in the session's system, and of their product."""

    product: str
    paid: str
    in_cash: str
    rejected: str
    canceled: str
    payment: str
    refunded: str

    @property
    def orders(self) -> list[str]:
        return [self.paid, self.in_cash, self.rejected, self.canceled]


@pytest.fixture(scope="session")
async def bought(system: System) -> Bought:
    """Four orders: paid by card, paid in cash, rejected, and canceled after a card payment."""
    async with open_shop(system.url) as shop:
        admin, customer = await shop.admin(), await shop.sign_up()
        product = await Shelf(admin).put_up(stock=7)
        assert (await Shelf(admin).adjust(product, 3)).made["after"] == 10
        paid, in_cash, rejected, canceled = [
            (await customer.order(product, 2)).made for _ in range(4)
        ]
        payment, refunded = [(await customer.pay(order)).made for order in (paid, canceled)]
        await customer.sees(canceled, "PAID")
        await admin.post(f"/orders/{canceled['id']}/cancel", {"reason": "a test"})
        cash = (await customer.pay(in_cash, {"type": "cash_on_delivery"})).made
        assert (await admin.post(f"/payments/{cash['id']}/confirm")).status == 200
        for _ in range(3):
            await customer.pay(rejected, by_card(DECLINED_CARD))
        await customer.sees(rejected, "REJECTED")
        await mailed(system, customer.email, count=8)
        await Shelf(admin).comes_to(product, available=6, sold=4)
    return Bought(
        product=product["id"],
        paid=paid["id"],
        in_cash=in_cash["id"],
        rejected=rejected["id"],
        canceled=canceled["id"],
        payment=payment["id"],
        refunded=refunded["id"],
    )


@pytest.fixture
async def copies(client: Client, bought: Bought) -> AsyncGenerator[Databases]:
    """Databases of the test's own, with copies of the orders to tamper with."""
    originals = Databases.named(client)
    prefix = f"test_{secrets.token_hex(4)}_"
    copied = Databases.named(client, prefix)
    wanted = {
        "products": {"_id": bought.product},
        "reservations": {"_id": {"$in": bought.orders}},
        "adjustments": {"product_id": bought.product},
        "orders": {"_id": {"$in": bought.orders}},
        "payments": {"order_id": {"$in": bought.orders}},
        "mail": {"order_id": {"$in": bought.orders}},
    }
    originally, to = originals.with_outboxes(), copied.with_outboxes()
    assert to.keys() - wanted.keys() == {"dead_letters"}, "what is of no order need not be copied"

    async def published() -> None:
        for name, query in wanted.items():
            assert not await originally[name].count_documents({**query, **UNPUBLISHED}), name

    await eventually(published)  # a mismatch of what has events to publish is in flight
    for name, query in wanted.items():
        documents = await originally[name].find(query).to_list()
        assert documents, name
        await to[name].insert_many(documents)
    yield copied
    for database in (copied.products, copied.orders, copied.payments, copied.notifications):
        await client.drop_database(database)


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)
