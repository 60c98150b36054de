"""The primary loses its majority during writes and dies. Another takes over without those writes.

Answered requests are kept. Other requests are done once when they are repeated with their keys.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import ClassVar, NamedTuple, TypeVar

import pytest

from cartwheel.contracts.ledger import LedgerEntry
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import GetPayableOrder
from cartwheel.contracts.payments import CardToken, CreatePayment, PaymentStatus, PaymentView
from cartwheel.kernel import Created, Page, answer_batch
from cartwheel.kernel.mongodb import Client, Outboxes
from cartwheel.kernel.testing import is_outage
from cartwheel.orders.handlers import paying as orders_paying
from cartwheel.orders.mongo import MIGRATIONS as ORDERS
from cartwheel.orders.mongo import MongoOrders
from cartwheel.payments.handlers import paying
from cartwheel.payments.mongo import MIGRATIONS as PAYMENTS
from cartwheel.payments.mongo import MongoPayments
from cartwheel.providers.port import Captured, Charge, DisputeOutcome, Outcome, RefundOutcome

from ..orders import examples as order_examples
from ..orders.conftest import Direct
from ..payments import examples as payment_examples
from ..replica_set import ReplicaSet
from .conftest import new_database

Result = TypeVar("Result")

COUNT = 10
VISA = CardToken(token="pm_1")


@asynccontextmanager
async def majority_lost_for_good(members: ReplicaSet) -> AsyncGenerator[None]:
    """Run the body on a primary that is alone but has not noticed yet; then kill it.

    The other members do not have its writes, which are rolled back when it rejoins them.
    """
    old, others = await members.primary(), await members.secondaries()
    await members.kill(*others)
    try:
        yield
    finally:
        await members.kill(old)
        await members.start(*others)
        await members.primary()
        await members.start(old)


async def nobody_is_told_yes(*attempts: Awaitable[object]) -> None:
    """Check that every attempt ends as an outage."""
    async with asyncio.timeout(40):
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    told = [each for each in outcomes if not isinstance(each, Exception) or not is_outage(each)]
    assert told == []


async def repeated(attempt: Callable[[], Awaitable[Result]]) -> Result:
    """Repeat `attempt` until it meets no outage; return its result."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await attempt()
            except Exception as error:
                if not is_outage(error):
                    raise
            await asyncio.sleep(0.2)


class RecordingCards:
    """A provider that accepts every card, and counts the charges."""

    name: ClassVar[str] = "simulator"

    def __init__(self) -> None:
        self.charged: list[str] = []

    async def charge(self, charge: Charge) -> Outcome:
        self.charged.append(charge.payment_id)
        return Outcome(Captured(charge.amount))

    async def cancel(self, payment_id: str) -> Outcome:
        raise NotImplementedError

    async def capture(self, payment_id: str, amount: Money) -> Outcome:
        raise NotImplementedError

    async def look_up(self, payment_id: str) -> Outcome | None:
        raise NotImplementedError

    async def refund(self, payment_id: str, refund_id: str, amount: Money) -> RefundOutcome:
        raise NotImplementedError

    async def look_up_dispute(self, dispute_id: str) -> DisputeOutcome | None:
        raise NotImplementedError

    async def entries_of(self, payment_id: str) -> list[LedgerEntry]:
        raise NotImplementedError

    async def ledger(
        self, *, since: datetime, until: datetime, limit: int, cursor: str | None
    ) -> Page[LedgerEntry]:
        raise NotImplementedError


class Services(NamedTuple):
    orders: MongoOrders
    payments: MongoPayments
    cards: RecordingCards

    async def pay(self, request: CreatePayment) -> Created[PaymentView]:
        payable = partial(orders_paying.get_payable_orders, orders=self.orders)
        return await paying.create_payment(
            request,
            payments=self.payments,
            cards=self.cards,
            bus=Direct(answer_batch(GetPayableOrder, payable)),
            takes_cash=True,
            now=payment_examples.now,
        )


@pytest.fixture
async def services(client: Client) -> Services:
    return Services(
        MongoOrders(await new_database(client, ORDERS), Outboxes()),
        MongoPayments(await new_database(client, PAYMENTS), Outboxes()),
        RecordingCards(),
    )


async def test_nothing_is_accepted_or_charged_on_the_word_of_a_primary_without_its_majority(
    members: ReplicaSet, services: Services
) -> None:
    unpaid = [(await services.orders.add(order_examples.order())).made for _ in range(COUNT)]
    new = [order_examples.order() for _ in range(COUNT)]
    requests = [payment_examples.create(order.id, VISA) for order in unpaid]

    async with majority_lost_for_good(members):
        await nobody_is_told_yes(
            *(services.orders.add(order) for order in new),
            *(services.pay(request) for request in requests),
        )
    placed = await asyncio.gather(*(repeated(partial(services.orders.add, each)) for each in new))
    paid = await asyncio.gather(*(repeated(partial(services.pay, each)) for each in requests))
    await members.healthy()

    assert sorted(services.cards.charged) == sorted(payment.made.id for payment in paid)
    assert {payment.made.status for payment in paid} == {PaymentStatus.PAID}
    stored = await services.orders.get_many([order.id for order in [*unpaid, *new]])
    assert stored.keys() == {order.id for order in [*unpaid, *(order.made for order in placed)]}
