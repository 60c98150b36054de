"""`cartwheel verify` with real databases, the real ledger and real queues.

Tests tamper only with copies, because the system's databases also have other tests' orders.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel.operating import topology
from cartwheel.local.up import System
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.operations.verify import passes
from cartwheel.operations.verify.ledger import LedgerSettings
from cartwheel.operations.verify.noticed import Noticed, Some
from cartwheel.operations.verify.passes import Excused, World
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.queues import Queues
from cartwheel.operations.verify.reading import Databases
from cartwheel.operations.verify.spool import Spool
from cartwheel.operations.verify.violation import Violation

from ..journeys.command_line import cartwheel
from .conftest import SERVICE, Bought

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
IMPATIENT = Patience(grace=timedelta(0), orphaned_reservation=timedelta(0))


class OfNotifications(Queues):
    """The tests' own queues, in place of those of notifications, which are empty."""

    async def never_empty(self, duration: timedelta) -> frozenset[str]:
        busy = await super().never_empty(duration)
        return frozenset({"notifications"}) if busy else busy

    async def dead_letters(self) -> AsyncIterator[list[DeadLetter]]:
        async for some in super().dead_letters():
            yield [msgspec.structs.replace(each, service="notifications") for each in some]


class Verifier:
    """Verifies the copies. It reports only violations about them: all tests share the ledger."""

    def __init__(self, system: System, databases: Databases, rabbitmq: AbstractConnection) -> None:
        environment = system.environment
        self.databases = databases
        self.noticed = Noticed()
        self._rabbitmq = rabbitmq
        self._ledger = LedgerSettings(
            simulator_url=environment["SIMULATOR_URL"],
            simulator_api_key=environment["SIMULATOR_API_KEY"],
        )

    async def __call__(
        self,
        ours: set[str],
        *,
        patience: Patience = IMPATIENT,
        services: tuple[str, ...] = (),
        queues: type[Queues] = Queues,
        again_after: float = 0.1,
    ) -> tuple[list[Violation], Excused]:
        found: list[Violation] = []
        self.noticed = Noticed()

        def tell(violation: Violation) -> None:
            if ours.intersection(violation.ids):
                found.append(violation)

        with Spool() as spool:
            world = World(
                databases=self.databases,
                ledger=self._ledger,
                queues=queues(self._rabbitmq, services),
                spool=spool,
                patience=patience,
                again_after=timedelta(seconds=again_after),
            )
            excused, self.noticed = await passes.verify(
                world, tell=tell, progress=lambda name, count: None
            )
        return found, excused


@pytest.fixture
def verify(system: System, copies: Databases, rabbitmq: AbstractConnection) -> Verifier:
    return Verifier(system, copies, rabbitmq)


def everything(bought: Bought) -> set[str]:
    return {bought.product, bought.payment, bought.refunded, *bought.orders}


async def test_the_running_system_keeps_its_promises(system: System, bought: Bought) -> None:
    ran = await cartwheel(system, "verify", "--json")
    assert ran.status == 0, ran.output + ran.errors
    told = msgspec.json.decode(ran.output)
    assert told["holds"] is True
    assert told["violations"] == []
    assert told["looked_at"]["orders"] >= 4
    assert told["looked_at"]["ledger"] >= 1
    assert told["noticed"]["needing_a_person"] == {"count": 0, "first": []}


async def test_copies_of_correct_orders_have_no_violation(verify: Verifier, bought: Bought) -> None:
    assert await verify(everything(bought)) == ([], Excused())


Tamper = Callable[[Databases, Bought], Coroutine[Any, Any, object]]


def _order(**changes: object) -> Tamper:
    return lambda copies, bought: copies.orders["orders"].update_one(
        {"_id": bought.paid}, {"$set": changes}
    )


def _payment(**changes: object) -> Tamper:
    return lambda copies, bought: copies.payments["payments"].update_one(
        {"_id": bought.payment}, {"$set": changes}
    )


def _reservation(**changes: object) -> Tamper:
    return lambda copies, bought: copies.products["reservations"].update_one(
        {"_id": bought.paid}, {"$set": changes}
    )


def _product(**changes: object) -> Tamper:
    return lambda copies, bought: copies.products["products"].update_one(
        {"_id": bought.product}, {"$set": changes}
    )


def _adjustments(do: str, *how: object) -> Tamper:
    return lambda copies, bought: getattr(copies.products["adjustments"], do)(*how)


async def _forget_payment(copies: Databases, bought: Bought) -> None:
    await copies.payments["payments"].delete_one({"_id": bought.payment})
    await _order(status="AWAITING_PAYMENT", paid_by=None)(copies, bought)


async def _never_decide(copies: Databases, bought: Bought) -> None:
    payments = copies.payments["payments"]
    given_back = await payments.find_one({"_id": bought.refunded})
    assert given_back is not None
    undecided: dict[str, object] = {
        "status": "AWAITING_PAYMENT",
        "live": True,
        "refunds": [],
        "updated_at": LONG_AGO,
    }
    await payments.insert_one({**given_back, **undecided, "_id": "pay_undecided"})


async def _share_a_slot(copies: Databases, bought: Bought) -> None:
    await copies.products["reservations"].update_many(
        {"_id": {"$in": [bought.paid, bought.canceled]}},
        {"$set": {"status": "HELD", "owner": "zoe", "slot": 3}},
    )


STUCK = {"id": "evt_stuck", "type": "order.paid.v1", "sequence": 2, "time": LONG_AGO}

BROKEN: dict[str, tuple[Tamper, set[tuple[int, str]]]] = {
    "a piece vanished": (_product(**{"stock.available": 5}), {(2, "product")}),
    "sold, but not by its reservations": (
        _product(**{"stock.available": 7, "stock.sold": 3}),
        {(2, "product")},
    ),
    "an adjustment that is gone": (_adjustments("delete_many", {}), {(2, "product")}),
    "an adjustment that contradicts itself": (
        _adjustments("update_many", {}, {"$inc": {"after": 1}}),
        {(2, "product")},
    ),
    "an adjustment without its event": (
        _adjustments("update_many", {}, {"$set": {"sequence": 0}}),
        {(5, "product")},
    ),
    "unshipped, but not by its reservations": (
        _product(**{"stock.unshipped": 5}),
        {(2, "product")},
    ),
    "the order's stock was never sold": (
        _reservation(status="HELD"),
        {(2, "product"), (5, "paid")},
    ),
    "paid, and canceled": (_order(status="CANCELED", paid_by=None), {(3, "payment"), (5, "paid")}),
    "charged, and rejected": (_payment(status="REJECTED", live=False), {(3, "payment")}),
    "another amount": (_payment(**{"amount.amount": 1}), {(3, "payment")}),
    "charged, unknown to us": (
        lambda copies, bought: copies.payments["payments"].delete_one({"_id": bought.payment}),
        {(3, "payment"), (3, "paid")},
    ),
    "charged, and known to nobody here": (_forget_payment, {(3, "payment")}),
    "a refund that was forgotten": (
        lambda copies, bought: copies.payments["payments"].update_one(
            {"_id": bought.refunded}, {"$set": {"refunds": []}}
        ),
        {(3, "refunded")},
    ),
    "returned, but not closed": (
        lambda copies, bought: copies.orders["orders"].update_one(
            {"_id": bought.canceled}, {"$set": {"status": "PAID"}}
        ),
        {(3, "canceled"), (5, "canceled")},
    ),
    "an order that is gone": (
        lambda copies, bought: copies.orders["orders"].delete_one({"_id": bought.paid}),
        {(3, "payment"), (5, "paid"), (7, "paid")},
    ),
    "a reservation that is gone": (
        lambda copies, bought: copies.products["reservations"].delete_one({"_id": bought.paid}),
        {(2, "product"), (5, "paid")},
    ),
    "a mail that was never sent": (
        lambda copies, bought: copies.notifications["mail"].delete_one({"order_id": bought.paid}),
        {(6, "paid")},
    ),
    "a mail that SES refused": (
        lambda copies, bought: copies.notifications["mail"].update_one(
            {"order_id": bought.paid}, {"$set": {"status": "FAILED", "failure": "MessageRejected"}}
        ),
        {(7, "paid")},
    ),
    "a verdict that never comes": (_never_decide, {(3, "canceled")}),
    "a refund that never happens": (
        lambda copies, bought: copies.payments["payments"].update_one(
            {"_id": bought.refunded},
            {"$set": {"refunds.0.status": "PENDING", "refunds.0.at": LONG_AGO}},
        ),
        {(3, "refunded")},
    ),
    "two unpaid orders in one slot": (_share_a_slot, {(11, "paid"), (11, "canceled")}),
    "an order that waits for nothing": (
        lambda copies, bought: copies.orders["orders"].update_one(
            {"_id": bought.rejected}, {"$set": {"status": "AWAITING_PAYMENT", "expires_at": None}}
        ),
        {(5, "rejected")},
    ),
    "an event that nobody counted": (_order(sequence=9), {(5, "paid")}),
    "an event that stays unpublished": (_order(outbox=[STUCK]), {(5, "paid")}),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_each_kind_of_broken_promise_is_found(
    verify: Verifier, bought: Bought, fault: str
) -> None:
    tamper, expected = BROKEN[fault]
    await tamper(verify.databases, bought)

    found, _ = await verify(everything(bought))

    names = {
        bought.product: "product",
        bought.payment: "payment",
        bought.paid: "paid",
        bought.refunded: "refunded",
        bought.canceled: "canceled",
        bought.rejected: "rejected",
    }
    told = {(each.promise, names[id]) for each in found for id in each.ids if id in names}
    assert expected <= told, found


async def test_stock_sold_of_a_missing_product_is_found_and_affects_no_other_product(
    verify: Verifier, bought: Bought
) -> None:
    await verify.databases.products["reservations"].update_one(
        {"_id": bought.paid}, {"$set": {"lines.0.product_id": "prd_0"}}
    )

    found, _ = await verify({"prd_0", bought.product})

    assert [each.sentence for each in found if each.promise == 2] == [
        "product prd_0 is reserved or adjusted, but does not exist",
        f"product {bought.product} has 4 pieces sold, but its reservations 2",
        f"product {bought.product} has 4 pieces unshipped, but its reservations 2",
    ]


async def test_a_mismatch_within_the_grace_period_is_in_flight(
    verify: Verifier, bought: Bought
) -> None:
    await _reservation(status="HELD")(verify.databases, bought)

    found, excused = await verify({bought.paid}, patience=Patience(grace=timedelta(hours=1)))

    assert found == []
    assert excused.in_flight >= 1


async def test_a_mismatch_that_resolves_between_the_two_looks_is_not_reported(
    verify: Verifier, bought: Bought
) -> None:
    await _order(status="AWAITING_PAYMENT")(verify.databases, bought)
    verifying = asyncio.create_task(verify({bought.paid}, again_after=2))
    await asyncio.sleep(1)
    await _order(status="PAID")(verify.databases, bought)

    assert await verifying == ([], Excused())


async def test_a_missing_effect_is_in_flight_while_its_service_has_events_waiting(
    verify: Verifier, bought: Bought, channel: AbstractChannel
) -> None:
    await verify.databases.notifications["mail"].delete_one({"order_id": bought.paid})
    retry = topology.retry_queue(SERVICE, topology.RETRY_DELAYS[-1])
    await channel.default_exchange.publish(_event(bought.paid), retry)

    async def look() -> tuple[list[Violation], Excused]:
        return await verify({bought.paid}, services=(SERVICE,), queues=OfNotifications)

    assert await look() == ([], Excused(in_flight=1))

    await (await channel.get_queue(retry)).purge()
    found, excused = await look()
    assert [each.promise for each in found] == [6]
    assert excused == Excused()


async def test_waiting_events_do_not_excuse_a_stuck_order(
    verify: Verifier, bought: Bought, channel: AbstractChannel
) -> None:
    await verify.databases.notifications["mail"].delete_one({"order_id": bought.paid})
    retry = topology.retry_queue(SERVICE, topology.RETRY_DELAYS[-1])
    await channel.default_exchange.publish(_event(bought.paid), retry)

    found, excused = await verify(
        {bought.paid},
        patience=Patience(grace=timedelta(0), stuck_after=timedelta(0)),
        services=(SERVICE,),
        queues=OfNotifications,
    )

    assert [each.promise for each in found] == [6]
    assert excused == Excused()


async def test_a_missing_effect_of_a_dead_lettered_event_is_counted_separately(
    verify: Verifier, bought: Bought, channel: AbstractChannel
) -> None:
    await verify.databases.notifications["mail"].delete_one({"order_id": bought.paid})
    dead = topology.dead_queue(SERVICE)
    await channel.default_exchange.publish(_event(bought.paid), dead)

    found, excused = await verify({bought.paid}, services=(SERVICE,), queues=OfNotifications)
    assert (found, excused) == ([], Excused(dead_lettered=1))
    assert (await channel.declare_queue(dead, passive=True)).declaration_result.message_count == 1


async def test_a_dead_lettered_event_excuses_only_mismatches_that_its_service_would_resolve(
    verify: Verifier, bought: Bought, channel: AbstractChannel
) -> None:
    await verify.databases.notifications["mail"].delete_one({"order_id": bought.paid})
    await _reservation(status="HELD")(verify.databases, bought)
    await channel.default_exchange.publish(_event(bought.paid), topology.dead_queue(SERVICE))

    found, excused = await verify({bought.paid}, services=(SERVICE,), queues=OfNotifications)

    assert [each.promise for each in found] == [5]
    assert excused == Excused(dead_lettered=1)


async def test_a_refused_mail_is_reported_although_its_event_is_dead_lettered(
    verify: Verifier, bought: Bought, channel: AbstractChannel
) -> None:
    await verify.databases.notifications["mail"].update_one(
        {"order_id": bought.paid}, {"$set": {"status": "FAILED"}}
    )
    await channel.default_exchange.publish(_event(bought.paid), topology.dead_queue(SERVICE))

    found, _ = await verify({bought.paid}, services=(SERVICE,), queues=OfNotifications)

    assert [each.promise for each in found] == [7]


async def test_other_findings_are_gathered_on_the_way(verify: Verifier, bought: Bought) -> None:
    mails = verify.databases.notifications["mail"]
    by_alice = {"by": "alice@laptop", "at": LONG_AGO}
    ids = [mail["_id"] async for mail in mails.find().sort("_id", 1)]
    await mails.update_many({}, {"$set": {"sends": 1}})
    await mails.update_one({"_id": ids[0]}, {"$set": {"sends": 2}})
    await mails.update_one({"_id": ids[1]}, {"$set": {"sends": 2, "resends": [by_alice]}})
    failing = {"failures": 300, "since": LONG_AGO, "at": LONG_AGO, "error": "refused"}
    await _payment(retry=failing, webhooks_disbelieved=2)(verify.databases, bought)

    await verify(everything(bought))

    noticed = verify.noticed
    assert noticed.perhaps_sent_twice == Some(count=1, first=[ids[0]])
    assert noticed.resent == Some(count=1, first=[f"{ids[1]} by alice@laptop"])
    assert noticed.needing_a_person == Some(count=1, first=[bought.payment])
    assert noticed.webhooks_disbelieved == Some(count=1, first=[bought.payment])


def _event(subject: str) -> Message:
    return Message(
        b"{}",
        headers={"cloudEvents_type": "order.paid.v1", "cloudEvents_subject": subject},
        message_id="evt_1",
        delivery_mode=DeliveryMode.PERSISTENT,
    )
