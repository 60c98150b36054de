"""The effects of payments' events on an order, on the real MongoDB: late, repeated, concurrent."""

import asyncio
import time
from functools import partial

import msgspec
import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    AddressRequired,
    GetPayableOrder,
    InvalidTransition,
    OrderNotFound,
    OrderStatus,
    OrderView,
    PayableOrder,
)
from cartwheel.contracts.payments import Method, PaymentCaptured
from cartwheel.kernel import answer_batch
from cartwheel.kernel.mongodb import Outboxes
from cartwheel.orders.domain.order import CASH_DEADLINE
from cartwheel.orders.handlers import paying
from cartwheel.orders.mongo import MongoOrders

from ..profiling import documents_examined
from .conftest import Orders, Shelf
from .examples import (
    ADDRESS,
    AT,
    BONN,
    ZOE,
    captured,
    declined,
    happened,
    now,
    payment_canceled,
    pending,
    place,
)


def told(document: dict[str, list[dict[str, object]]]) -> list[tuple[object, object]]:
    return [(event["sequence"], event["type"]) for event in document["outbox"]]


async def test_a_capture_pays_the_order_and_adds_its_event_in_one_write(
    orders: Orders, order: OrderView
) -> None:
    event = captured(order.id, amount=order.total)

    await orders.captured(event)

    document = await orders.document(order.id)
    assert document["status"] == "PAID"
    assert told(document) == [(1, "order.placed.v1"), (2, "order.paid.v1")]
    assert document["sequence"] == 2
    assert document["outbox"][1]["causation_id"] == event.id
    assert (await orders.view(order.id)).expires_at is None


async def test_the_same_capture_ten_times_at_two_processes_pays_once(
    orders: Orders, order: OrderView
) -> None:
    other = orders._replace(orders=MongoOrders(orders.database, Outboxes()))
    event = captured(order.id, amount=order.total)

    await asyncio.gather(
        *((orders if number % 2 else other).captured(event) for number in range(10))
    )

    document = await orders.document(order.id)
    assert told(document) == [(1, "order.placed.v1"), (2, "order.paid.v1")]
    assert len(document["timeline"]) == 2


async def test_a_third_decline_rejects_the_order(orders: Orders, order: OrderView) -> None:
    for payment_id in ("pay_1", "pay_2", "pay_3"):
        await orders.declined(declined(order.id, payment_id))

    rejected = await orders.view(order.id)
    assert (rejected.status, rejected.payment_attempts) == (OrderStatus.REJECTED, 3)
    assert told(await orders.document(order.id))[1:] == [
        (2, "order.payment_failed.v1"),
        (3, "order.payment_failed.v1"),
        (4, "order.rejected.v1"),
    ]


async def test_three_declines_at_once_are_all_counted(orders: Orders, order: OrderView) -> None:
    await asyncio.gather(
        *(orders.declined(declined(order.id, payment)) for payment in ("pay_1", "pay_2", "pay_3"))
    )

    document = await orders.document(order.id)
    assert document["status"] == "REJECTED"
    assert [sequence for sequence, _ in told(document)] == [1, 2, 3, 4]


async def test_a_decline_delivered_three_times_counts_once(
    orders: Orders, order: OrderView
) -> None:
    for _ in range(3):
        await orders.declined(declined(order.id, "pay_1"))

    after = await orders.view(order.id)
    assert (after.status, after.payment_attempts) == (OrderStatus.AWAITING_PAYMENT, 1)


async def test_a_failure_that_does_not_count_emits_one_event(
    orders: Orders, order: OrderView
) -> None:
    for _ in range(3):
        await orders.declined(declined(order.id, "pay_1", counts=False))

    assert told(await orders.document(order.id)) == [
        (1, "order.placed.v1"),
        (2, "order.payment_failed.v1"),
    ]
    assert (await orders.view(order.id)).payment_attempts == 0


async def test_a_capture_of_less_than_the_total_pays_nothing_and_is_refunded(
    orders: Orders, order: OrderView
) -> None:
    less = Money(order.total.amount - 1, "USD")

    await orders.captured(captured(order.id, amount=less))

    waiting = await orders.view(order.id)
    assert (waiting.status, waiting.expires_at) == (OrderStatus.AWAITING_PAYMENT, order.expires_at)
    assert await orders.told(order.id) == ["order.refund_due.v1"]
    assert (await orders.document(order.id))["refunds_due"] == ["pay_1"]


async def test_an_event_about_an_unknown_order_is_refused(orders: Orders) -> None:
    with pytest.raises(OrderNotFound):
        await orders.captured(captured("ord_none"))


async def test_an_event_after_the_capture_changes_nothing(orders: Orders, order: OrderView) -> None:
    await orders.captured(captured(order.id, "pay_2", order.total))
    paid = await orders.view(order.id)

    await orders.declined(declined(order.id, "pay_1"))
    await orders.pending(pending(order.id, payment_id="pay_2"))

    assert await orders.view(order.id) == paid


async def test_an_order_waits_for_cash_until_its_deadline(orders: Orders, order: OrderView) -> None:
    await orders.pending(pending(order.id, Method.CASH_ON_DELIVERY))

    assert (await orders.view(order.id)).expires_at == AT + CASH_DEADLINE


async def test_canceling_cash_restores_the_first_deadline_and_tells_nobody(
    orders: Orders, order: OrderView
) -> None:
    other = orders._replace(orders=MongoOrders(orders.database, Outboxes()))
    await orders.pending(pending(order.id))
    event = payment_canceled(order.id)

    await asyncio.gather(
        *((orders if number % 2 else other).payment_canceled(event) for number in range(10))
    )

    after = await orders.view(order.id)
    assert (after.expires_at, after.payment_attempts) == (order.expires_at, 0)
    assert after.version == order.version + 2
    assert await orders.told(order.id) == []


async def test_a_cancel_that_is_told_before_its_payment_leaves_nothing_to_wait_for(
    orders: Orders, order: OrderView
) -> None:
    await orders.payment_canceled(payment_canceled(order.id))
    await orders.pending(pending(order.id))

    assert (await orders.view(order.id)).expires_at == order.expires_at


async def test_a_payable_order_has_its_total(orders: Orders, order: OrderView) -> None:
    payable = await orders.payable(GetPayableOrder(order_id=order.id, user_id=ZOE.id))

    until = order.expires_at
    assert payable == PayableOrder(
        order_id=order.id, total=order.total, attempts=3, action_until=until
    )


async def test_somebody_elses_order_cannot_be_paid(orders: Orders, order: OrderView) -> None:
    with pytest.raises(OrderNotFound):
        await orders.payable(
            GetPayableOrder(order_id=order.id, user_id="user-eve", shipping_address=ADDRESS)
        )

    assert await orders.view(order.id) == order


async def test_an_unknown_order_cannot_be_paid(orders: Orders) -> None:
    with pytest.raises(OrderNotFound):
        await orders.payable(GetPayableOrder(order_id="ord_none", user_id=ZOE.id))


async def test_payable_orders_are_read_together(
    orders: Orders, order: OrderView, shelf: Shelf
) -> None:
    """One database command serves all, and each gets its own answer."""
    homeless = await orders.placed(place((await shelf.add(stock=1), 1)))
    unreadable = await orders.placed(place((await shelf.add(stock=1), 1), address=ADDRESS))
    from_a_younger_version = {"$set": {"status": "DREAMT_OF"}}
    await orders.database["orders"].update_one({"_id": unreadable.id}, from_a_younger_version)
    answered = partial(paying.get_payable_orders, orders=orders.orders, now=now)
    row = answer_batch(GetPayableOrder, answered)
    asked = {
        "mine": GetPayableOrder(order_id=order.id, user_id=ZOE.id),
        "not mine": GetPayableOrder(order_id=order.id, user_id="user-eve"),
        "homeless": GetPayableOrder(order_id=homeless.id, user_id=ZOE.id),
        "given a home": GetPayableOrder(
            order_id=homeless.id, user_id=ZOE.id, shipping_address=ADDRESS
        ),
    }

    async def ask(*requests: GetPayableOrder) -> list[object]:
        deadline = time.time() + 10
        return await asyncio.gather(
            *(row.handler(request, deadline) for request in requests), return_exceptions=True
        )

    async with documents_examined(orders.database, "orders") as examined:
        mine, not_mine, nowhere, somewhere = await ask(*asked.values())

    assert examined == [2]
    until = order.expires_at
    assert mine == PayableOrder(
        order_id=order.id, total=order.total, attempts=3, action_until=until
    )
    assert isinstance(not_mine, OrderNotFound)
    assert isinstance(nowhere, AddressRequired)
    assert isinstance(somewhere, PayableOrder)
    spoilt, beside = await ask(
        GetPayableOrder(order_id=unreadable.id, user_id=ZOE.id), asked["mine"]
    )
    assert isinstance(spoilt, msgspec.ValidationError)
    assert beside == mine


async def test_asking_for_a_payable_order_stores_nothing(orders: Orders, order: OrderView) -> None:
    ask = GetPayableOrder(order_id=order.id, user_id=ZOE.id, shipping_address=BONN)

    await orders.payable(ask)

    assert await orders.view(order.id) == order


@pytest.mark.parametrize("told", ["captured", "declined", "failed", "cash begun"])
async def test_the_payments_address_is_stored_with_its_event(
    orders: Orders, shelf: Shelf, told: str
) -> None:
    order = await orders.placed(place((await shelf.add(stock=1), 1)))

    async def tell(to: Orders) -> None:
        match told:
            case "captured":
                await to.captured(captured(order.id, amount=order.total, address=BONN))
            case "cash begun":
                await to.pending(pending(order.id, address=BONN))
            case _:
                await to.declined(declined(order.id, counts=told == "declined", address=BONN))

    other = orders._replace(orders=MongoOrders(orders.database, Outboxes()))
    await asyncio.gather(*(tell(each) for each in [orders, other] * 5))

    after = await orders.view(order.id)
    assert (after.shipping_address, after.version) == (BONN, order.version + 1)


async def test_an_event_of_an_older_version_keeps_the_stored_address(
    orders: Orders, order: OrderView
) -> None:
    old = PaymentCaptured(payment_id="pay_1", order_id=order.id, amount=order.total)
    written = msgspec.json.encode(old)
    assert b'"shipping_address":null' in written
    without_the_field = written.replace(b',"shipping_address":null', b"")

    data = msgspec.json.decode(without_the_field, type=PaymentCaptured)
    await orders.captured(happened(data))

    after = await orders.view(order.id)
    assert (after.status, after.shipping_address) == (OrderStatus.PAID, ADDRESS)


async def test_a_paid_order_cannot_be_paid_again(orders: Orders, order: OrderView) -> None:
    await orders.captured(captured(order.id, amount=order.total))

    with pytest.raises(InvalidTransition):
        await orders.payable(GetPayableOrder(order_id=order.id, user_id=ZOE.id))


async def test_published_events_stay_in_the_timeline(orders: Orders, order: OrderView) -> None:
    await orders.database["orders"].update_one({"_id": order.id}, {"$set": {"outbox": []}})

    await orders.captured(captured(order.id, amount=order.total))

    assert told(await orders.document(order.id)) == [(2, "order.paid.v1")]
    entries = await orders.timeline(order.id, Actor(user_id=ZOE.id))
    assert [entry.type for entry in entries] == ["order.placed.v1", "order.paid.v1"]
