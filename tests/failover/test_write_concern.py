"""In every place that writes, a write counts as stored only when a majority has it.

A primary that loses its majority has applied the write. It answers with a write concern error, next
to a result that looks like success. The write may be rolled back later.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NamedTuple

import msgspec
import pytest

from cartwheel.contracts.payments import CardToken
from cartwheel.contracts.products import ReserveStock
from cartwheel.kernel import mongodb
from cartwheel.kernel.errors import Refusal
from cartwheel.kernel.mongodb import Client, Database, Outboxes
from cartwheel.kernel.testing import is_outage, lease, until
from cartwheel.notifications import domain as mails
from cartwheel.notifications.mongo import MIGRATIONS as NOTIFICATIONS
from cartwheel.notifications.mongo import MongoMails
from cartwheel.operations.dead_letters.audit import Action, Audit
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.orders.mongo import MIGRATIONS as ORDERS
from cartwheel.orders.mongo import MongoOrders
from cartwheel.payments.mongo import MIGRATIONS as PAYMENTS
from cartwheel.payments.mongo import MongoPayments
from cartwheel.products.domain.stock import Ended
from cartwheel.products.mongo.catalogue import MongoCatalogue
from cartwheel.products.mongo.reservations import MongoReservations
from cartwheel.products.mongo.schema import MIGRATIONS as PRODUCTS

from ..notifications import examples as mail_examples
from ..orders import examples as order_examples
from ..payments import examples as payment_examples
from ..products import examples as product_examples
from ..replica_set import ReplicaSet
from .conftest import new_database

NO_MAJORITY = {
    "code": 11602,
    "codeName": "InterruptedDueToReplStateChange",
    "errmsg": "stepped down",
}
VISA = CardToken(token="pm_1")

Failing = Callable[[str], AbstractAsyncContextManager[None]]


class Stores(NamedTuple):
    """Every place that writes, and a function that takes the majority from the next command."""

    orders: MongoOrders
    payments: MongoPayments
    catalogue: MongoCatalogue
    reservations: MongoReservations
    mails: MongoMails
    audit: Audit
    operations: Database
    without_majority: Failing


class Shared(NamedTuple):
    """The databases that the tests use one after the other."""

    client: Client
    orders: Database
    payments: Database
    products: Database
    notifications: Database
    operations: Database


@pytest.fixture(scope="module")
async def shared(shared_members: ReplicaSet) -> AsyncGenerator[Shared]:
    await shared_members.healthy()
    async with mongodb.connect(shared_members.uri, process="tests") as client:
        steps = (ORDERS, PAYMENTS, PRODUCTS, NOTIFICATIONS, ())
        yield Shared(client, *[await new_database(client, each) for each in steps])


@pytest.fixture
async def stores(members: ReplicaSet, shared: Shared) -> Stores:
    for database in shared[1:]:
        for name in await database.list_collection_names():
            await database[name].delete_many({})
    return Stores(
        MongoOrders(shared.orders, Outboxes()),
        MongoPayments(shared.payments, Outboxes()),
        MongoCatalogue(shared.products, Outboxes()),
        MongoReservations(shared.client, shared.products, Outboxes()),
        MongoMails(shared.notifications, Outboxes()),
        Audit(shared.operations),
        shared.operations,
        # Without a label the driver does not repeat the command, as after its last attempt.
        partial(members.failing, times=1, writeConcernError=NO_MAJORITY, errorLabels=[]),
    )


async def adding_an_order(stores: Stores) -> None:
    async with stores.without_majority("insert"):
        await stores.orders.add(order_examples.order())


async def adding_an_order_again(stores: Stores) -> None:
    order = (await stores.orders.add(order_examples.order())).made
    async with stores.without_majority("insert"):
        await stores.orders.add(order)


async def saving_an_order(stores: Stores) -> None:
    order = (await stores.orders.add(order_examples.order())).made
    changed = msgspec.structs.replace(order, version=order.version + 1)
    async with stores.without_majority("update"):
        await stores.orders.save(changed, expected=order)


async def saving_an_order_that_somebody_has_changed(stores: Stores) -> None:
    order = (await stores.orders.add(order_examples.order())).made
    changed = msgspec.structs.replace(order, version=order.version + 1)
    async with stores.without_majority("update"):
        await stores.orders.save(changed, expected=changed)


async def adding_a_payment(stores: Stores) -> None:
    async with stores.without_majority("insert"):
        await stores.payments.add(payment_examples.payment(VISA))


async def saving_a_payment(stores: Stores) -> None:
    payment = payment_examples.payment(VISA)
    assert await stores.payments.add(payment)
    changed = msgspec.structs.replace(payment, version=payment.version + 1)
    async with stores.without_majority("update"):
        await stores.payments.save(changed, expected=payment)


async def adding_a_product(stores: Stores) -> None:
    async with stores.without_majority("insert"):
        await stores.catalogue.add(product_examples.product())


async def adding_a_product_whose_name_another_has(stores: Stores) -> None:
    product = product_examples.product()
    await stores.catalogue.add(product)
    another = msgspec.structs.replace(product_examples.product("prd_2"), name=product.name)
    async with stores.without_majority("insert"):
        await stores.catalogue.add(another)


async def changing_a_product(stores: Stores) -> None:
    product = product_examples.product()
    await stores.catalogue.add(product)
    changed = msgspec.structs.replace(product, version=product.version + 1)
    async with stores.without_majority("update"):
        await stores.catalogue.save(changed, expected=product)


async def renaming_a_product_as_another(stores: Stores) -> None:
    first, second = product_examples.product("prd_1"), product_examples.product("prd_2")
    for product in (first, second):
        await stores.catalogue.add(product)
    renamed = msgspec.structs.replace(second, name=first.name, version=second.version + 1)
    async with stores.without_majority("update"):
        await stores.catalogue.save(renamed, expected=second)


async def claiming_a_mail(stores: Stores) -> None:
    event = mail_examples.happened(mail_examples.paid(mail_examples.snapshot()))
    async with stores.without_majority("update"):
        await stores.mails.claim(
            event, mails.render(event.data, mail_examples.SHOP), now=mail_examples.now
        )


async def noting_that_a_mail_was_sent(stores: Stores) -> None:
    event = mail_examples.happened(mail_examples.paid(mail_examples.snapshot()))
    await stores.mails.claim(
        event, mails.render(event.data, mail_examples.SHOP), now=mail_examples.now
    )
    async with stores.without_majority("update"):
        await stores.mails.sent(event, "message-1", now=mail_examples.now)


async def taking_a_lease(stores: Stores) -> None:
    async with stores.without_majority("findAndModify"):
        await lease.take(stores.operations, "relay", "somebody")


async def beginning_a_line_of_the_audit(stores: Stores) -> None:
    async with stores.without_majority("insert"):
        await stores.audit.begin(Action.REPLAY, [LETTER])


async def finishing_a_line_of_the_audit(stores: Stores) -> None:
    lines = await stores.audit.begin(Action.REPLAY, [LETTER])
    async with stores.without_majority("update"):
        await stores.audit.finish(lines)


LETTER = DeadLetter(
    service="orders",
    id="evt_1",
    type=None,
    subject=None,
    reason="a test",
    attempts=4,
    since=None,
    happened=None,
    replayed=0,
    headers={},
    body=b"{}",
)


@pytest.mark.parametrize(
    "write",
    [
        adding_an_order,
        adding_an_order_again,
        saving_an_order,
        saving_an_order_that_somebody_has_changed,
        adding_a_payment,
        saving_a_payment,
        adding_a_product,
        adding_a_product_whose_name_another_has,
        changing_a_product,
        renaming_a_product_as_another,
        claiming_a_mail,
        noting_that_a_mail_was_sent,
        taking_a_lease,
        beginning_a_line_of_the_audit,
        finishing_a_line_of_the_audit,
    ],
)
async def test_without_a_majority_the_outcome_is_unknown(
    write: Callable[[Stores], Awaitable[None]], stores: Stores
) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 the type is the driver's or ours
        await write(stores)

    assert is_outage(raised.value), repr(raised.value)


async def three_of_ten(stores: Stores) -> ReserveStock:
    """Return a request for three pieces of a new product that has ten."""
    product = product_examples.product(stock=10)
    await stores.catalogue.add(product)
    return product_examples.reserve((product.id, 3))


async def test_a_transaction_whose_commit_no_majority_has_is_committed_once_more(
    members: ReplicaSet, stores: Stores
) -> None:
    request = await three_of_ten(stores)

    too_slow = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "too slow"}
    async with members.failing("commitTransaction", times=1, writeConcernError=too_slow):
        [held] = await stores.reservations.reserve([request], now=product_examples.now)

    assert not isinstance(held, Refusal)
    [product] = (await stores.catalogue.get_many([request.items[0].product_id])).values()
    assert (product.stock.available, product.stock.reserved) == (7, 3)


async def test_a_transaction_that_no_majority_ever_commits_ends_with_the_deadline(
    members: ReplicaSet, stores: Stores
) -> None:
    request = await three_of_ten(stores)
    await stores.reservations.reserve([request], now=product_examples.now)

    with pytest.raises(Exception) as raised:  # noqa: PT011 the type is the driver's
        async with (
            members.failing("commitTransaction", writeConcernError=NO_MAJORITY, errorLabels=[]),
            until(time.time() + 1),
        ):
            await stores.reservations.settle(
                [(request.order_id, Ended.PAID, 2)], now=product_examples.now
            )

    assert is_outage(raised.value)
