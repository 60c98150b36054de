"""Canceling, expiring and refunding orders, on the real MongoDB."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    GetOrderStatuses,
    InvalidTransition,
    OrderNotFound,
    OrderState,
    OrderStatus,
    OrderView,
    ReasonRequired,
)
from cartwheel.kernel.mongodb import Document, Outboxes
from cartwheel.orders.domain.order import CASH_DEADLINE, PAYMENT_DEADLINE
from cartwheel.orders.handlers import reading
from cartwheel.orders.mongo import MongoOrders

from ..profiling import documents_examined
from .conftest import Orders, Shelf
from .examples import (
    ADDRESS,
    AT,
    LATER,
    ZOE,
    captured,
    declined,
    pending,
    place,
    refunded,
    shortage,
)

OWNER = Actor(user_id=ZOE.id)
STRANGER = Actor(user_id="user-eve")
ADMIN = Actor(user_id="user-ada", admin=True)
DEADLINE = AT + PAYMENT_DEADLINE
WHY = "Damaged in the warehouse."
WAITING = OrderStatus.AWAITING_PAYMENT
CANCELED = ["order.canceled.v1"]
CANCELED_WHEN_PAID = ["order.paid.v1", "order.canceled.v1", "order.refund_due.v1"]


@pytest.fixture
def other(orders: Orders) -> Orders:
    """A second process of the service."""
    return orders._replace(orders=MongoOrders(orders.database, Outboxes()))


async def awaiting(orders: Orders) -> list[str]:
    found = orders.database["orders"].find({"status": "AWAITING_PAYMENT"})
    return [document["_id"] async for document in found]


def unique(number: int) -> Document:
    """Return the fields of an order that must be unique."""
    order_id = f"ord_{number}"
    return {"_id": order_id, "request_id": order_id, "number": order_id, "status": WAITING}


@pytest.fixture
async def paid(orders: Orders, order: OrderView) -> OrderView:
    await orders.captured(captured(order.id, "pay_1", order.total))
    return await orders.view(order.id)


async def last_told(orders: Orders, order_id: str, kind: str) -> Any:
    """Return the data of the order's only event of this kind."""
    outbox = (await orders.document(order_id))["outbox"]
    [told] = [event for event in outbox if event["type"] == kind]
    return msgspec.json.decode(told["data"])


async def test_the_owner_cancels_an_order_that_awaits_payment(
    orders: Orders, order: OrderView
) -> None:
    canceled = await orders.cancel(order.id, OWNER)

    assert (canceled.status, canceled.expires_at) == (OrderStatus.CANCELED, None)
    assert await orders.told(order.id) == CANCELED
    told = await last_told(orders, order.id, "order.canceled.v1")
    assert (told["reason"], told["was_paid"]) == ("Canceled by the customer.", False)
    assert (await orders.timeline(order.id, OWNER))[-1].by == ZOE.id


async def test_the_owner_may_give_a_reason(orders: Orders, order: OrderView) -> None:
    await orders.cancel(order.id, OWNER, "Too late for the birthday.")

    assert (await orders.timeline(order.id, OWNER))[-1].note == "Too late for the birthday."


async def test_canceling_ten_times_at_two_processes_emits_one_event(
    orders: Orders, other: Orders, order: OrderView
) -> None:
    answers = await asyncio.gather(
        *((orders if number % 2 else other).cancel(order.id, OWNER) for number in range(10))
    )

    assert {answer.status for answer in answers} == {OrderStatus.CANCELED}
    assert await orders.told(order.id) == CANCELED


async def test_somebody_elses_order_looks_like_one_that_does_not_exist(
    orders: Orders, order: OrderView
) -> None:
    refusals: list[str] = []
    for order_id in (order.id, "ord_none"):
        with pytest.raises(OrderNotFound) as refused:
            await orders.cancel(order_id, STRANGER, "It is not mine.")
        refusals.append(refused.value.detail)

    assert refusals[0] == refusals[1]
    assert await orders.view(order.id) == order


async def test_an_admin_must_give_a_reason(orders: Orders, order: OrderView) -> None:
    with pytest.raises(ReasonRequired) as refused:
        await orders.cancel(order.id, ADMIN)
    before = await orders.view(order.id)

    canceled = await orders.cancel(order.id, ADMIN, WHY)

    assert [error.field for error in refused.value.errors] == ["reason"]
    assert before == order
    assert canceled.status is OrderStatus.CANCELED
    entry = (await orders.timeline(order.id, OWNER))[-1]
    assert (entry.by, entry.note) == (ADMIN.user_id, WHY)


async def test_the_owner_cannot_cancel_a_paid_order(orders: Orders, paid: OrderView) -> None:
    with pytest.raises(InvalidTransition):
        await orders.cancel(paid.id, OWNER)

    assert await orders.view(paid.id) == paid


async def test_an_admin_cancels_a_paid_order_and_its_refund_is_due_in_the_same_write(
    orders: Orders, paid: OrderView
) -> None:
    canceled = await orders.cancel(paid.id, ADMIN, WHY)

    assert (canceled.status, canceled.version) == (OrderStatus.CANCELED, paid.version + 2)
    assert await orders.told(paid.id) == CANCELED_WHEN_PAID
    assert (await last_told(orders, paid.id, "order.canceled.v1"))["was_paid"] is True
    due = await last_told(orders, paid.id, "order.refund_due.v1")
    assert (due["payment_id"], due["amount"]) == ("pay_1", msgspec.to_builtins(paid.total))


async def test_an_admin_must_give_a_reason_for_an_own_paid_order_too(
    orders: Orders, paid: OrderView
) -> None:
    owner_and_admin = Actor(user_id=ZOE.id, admin=True)

    with pytest.raises(ReasonRequired):
        await orders.cancel(paid.id, owner_and_admin)

    assert (await orders.cancel(paid.id, owner_and_admin, WHY)).status is OrderStatus.CANCELED


async def test_a_rejected_order_cannot_be_canceled(orders: Orders, order: OrderView) -> None:
    for payment_id in ("pay_1", "pay_2", "pay_3"):
        await orders.declined(declined(order.id, payment_id))

    with pytest.raises(InvalidTransition):
        await orders.cancel(order.id, ADMIN, WHY)

    assert (await orders.view(order.id)).status is OrderStatus.REJECTED


async def test_a_concurrent_cancellation_and_capture_end_with_the_money_where_it_belongs(
    orders: Orders, other: Orders, order: OrderView
) -> None:
    answers = await asyncio.gather(
        orders.captured(captured(order.id, "pay_1", order.total)),
        other.cancel(order.id, OWNER),
        return_exceptions=True,
    )

    ended = await orders.view(order.id)
    if isinstance(answers[1], InvalidTransition):
        assert ended.status is OrderStatus.PAID
        assert await orders.told(order.id) == ["order.paid.v1"]
    else:
        assert ended.status is OrderStatus.CANCELED
        assert await orders.told(order.id) == ["order.canceled.v1", "order.refund_due.v1"]


async def test_the_deadline_cancels_an_unpaid_order(orders: Orders, order: OrderView) -> None:
    await orders.expire(DEADLINE - timedelta(seconds=1))
    before = await orders.view(order.id)

    await orders.expire(DEADLINE)
    await orders.expire(DEADLINE)

    assert before == order
    assert (await orders.view(order.id)).status is OrderStatus.CANCELED
    assert await orders.told(order.id) == CANCELED
    told = await last_told(orders, order.id, "order.canceled.v1")
    assert (told["reason"], told["was_paid"]) == ("It was not paid in time.", False)
    assert (await orders.timeline(order.id, OWNER))[-1].by == "deadline"


async def test_two_processes_that_look_for_overdue_orders_at_once_cancel_each_once(
    orders: Orders, other: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=200)
    answers = await orders.place(*(place((mug, 1)) for _ in range(120)))

    await asyncio.gather(orders.expire(DEADLINE), other.expire(DEADLINE))

    documents = await orders.database["orders"].find({}).to_list()
    assert len(documents) == len(answers)
    assert {document["status"] for document in documents} == {"CANCELED"}
    assert {len(document["outbox"]) for document in documents} == {2}


async def test_an_unreadable_overdue_order_does_not_block_others(
    orders: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=50)
    unreadable = (await orders.placed(place((mug, 1)))).id
    await orders.place(*(place((mug, 1)) for _ in range(49)))
    from_a_younger_version = {"$set": {"fulfillment.status": "BY PIGEON"}}
    await orders.database["orders"].update_one({"_id": unreadable}, from_a_younger_version)

    await orders.expire(DEADLINE)

    assert await awaiting(orders) == [unreadable]
    assert "BY PIGEON" in (await orders.document(unreadable))["retry"]["error"]


async def test_an_overdue_order_that_can_be_read_again_is_canceled_within_5_minutes(
    orders: Orders, order: OrderView
) -> None:
    stored = orders.database["orders"]
    await stored.update_one({"_id": order.id}, {"$set": {"fulfillment.status": "BY PIGEON"}})
    for hour in range(10):
        await orders.expire(DEADLINE + timedelta(hours=hour))
    readable = {"$set": {"fulfillment.status": order.fulfillment.status}}
    await stored.update_one({"_id": order.id}, readable)

    await orders.expire(DEADLINE + timedelta(hours=9, minutes=5))

    assert await awaiting(orders) == []
    assert await orders.told(order.id) == CANCELED
    assert "retry" not in await orders.document(order.id)


async def test_looking_for_overdue_orders_reads_only_those(orders: Orders) -> None:
    """It skips orders that are not due, wait for cash, or failed and wait for a retry."""
    kinds = (
        {"expires_at": DEADLINE + timedelta(seconds=1)},
        {"expires_at": None},
        {"expires_at": DEADLINE, "due_at": DEADLINE + timedelta(seconds=1)},
    )
    await orders.database["orders"].insert_many(
        [{**unique(number), **kinds[number % 3]} for number in range(3_000)]
        + [{**unique(number), "expires_at": DEADLINE} for number in range(3_000, 3_010)]
    )

    async with documents_examined(orders.database, "orders") as examined:
        due = await orders.orders.overdue().due(DEADLINE, limit=1000)

    assert len(due) == 10
    assert sum(examined) == 10


async def test_cash_on_delivery_is_waited_for_until_its_own_deadline(
    orders: Orders, order: OrderView
) -> None:
    await orders.pending(pending(order.id))

    await orders.expire(AT + CASH_DEADLINE - timedelta(seconds=1))
    before = await orders.view(order.id)
    await orders.expire(AT + CASH_DEADLINE)

    assert before.status is OrderStatus.AWAITING_PAYMENT
    assert (await orders.view(order.id)).status is OrderStatus.CANCELED


async def test_an_order_without_a_deadline_gets_one(orders: Orders, order: OrderView) -> None:
    """An older version let orders wait for their cash for ever."""
    as_before = {"$set": {"expires_at": None}, "$unset": {"pay_by": "", "cash_until": ""}}
    await orders.database["orders"].update_one({"_id": order.id}, as_before)

    await orders.date_older(LATER)
    await orders.date_older(LATER + timedelta(hours=1))

    assert (await orders.view(order.id)).expires_at == LATER + CASH_DEADLINE
    assert await orders.told(order.id) == []


async def test_a_paid_order_has_no_deadline(orders: Orders, paid: OrderView) -> None:
    await orders.expire(AT + timedelta(days=365))

    assert await orders.view(paid.id) == paid


@pytest.mark.parametrize("ended_by", ["owner", "deadline", "declines"])
async def test_a_capture_after_the_end_is_refunded_once_even_if_redelivered(
    orders: Orders, other: Orders, order: OrderView, ended_by: str
) -> None:
    if ended_by == "owner":
        await orders.cancel(order.id, OWNER)
    elif ended_by == "deadline":
        await orders.expire(DEADLINE)
    else:
        for payment_id in ("pay_1", "pay_2", "pay_3"):
            await orders.declined(declined(order.id, payment_id))
    ended = await orders.view(order.id)
    event = captured(order.id, "pay_4", order.total)

    await asyncio.gather(
        *((orders if number % 2 else other).captured(event) for number in range(10))
    )

    assert (await orders.view(order.id)).status is ended.status
    assert (await orders.told(order.id)).count("order.refund_due.v1") == 1
    due = await last_told(orders, order.id, "order.refund_due.v1")
    assert (due["payment_id"], due["amount"]) == ("pay_4", msgspec.to_builtins(order.total))


async def test_a_wrong_amount_is_refunded_and_the_right_one_still_pays(
    orders: Orders, order: OrderView
) -> None:
    await orders.captured(captured(order.id, "pay_1", Money(1, "USD")))
    await orders.captured(captured(order.id, "pay_2", order.total))

    assert await orders.told(order.id) == ["order.refund_due.v1", "order.paid.v1"]
    due = await last_told(orders, order.id, "order.refund_due.v1")
    assert due["amount"] == {"amount": 1, "currency": "USD"}
    assert (await orders.document(order.id))["paid_by"] == "pay_2"


async def test_a_second_capture_is_refunded_and_the_first_kept(
    orders: Orders, paid: OrderView
) -> None:
    for _ in range(3):
        await orders.captured(captured(paid.id, "pay_2", paid.total))

    assert (await orders.view(paid.id)).status is OrderStatus.PAID
    assert await orders.told(paid.id) == ["order.paid.v1", "order.refund_due.v1"]
    assert (await last_told(orders, paid.id, "order.refund_due.v1"))["payment_id"] == "pay_2"


async def test_a_paid_order_without_stock_is_canceled_and_refunded_once(
    orders: Orders, paid: OrderView
) -> None:
    for _ in range(3):
        await orders.short(shortage(paid.id))

    assert (await orders.view(paid.id)).status is OrderStatus.CANCELED
    assert await orders.told(paid.id) == CANCELED_WHEN_PAID
    told = await last_told(orders, paid.id, "order.canceled.v1")
    assert (told["reason"], told["was_paid"]) == ("The goods are sold out.", True)


async def test_a_shortage_after_the_cancellation_changes_nothing(
    orders: Orders, paid: OrderView
) -> None:
    canceled = await orders.cancel(paid.id, ADMIN, WHY)

    await orders.short(shortage(paid.id))

    assert await orders.view(paid.id) == canceled


async def test_a_completed_refund_emits_one_event_even_if_redelivered(
    orders: Orders, other: Orders, paid: OrderView
) -> None:
    await orders.cancel(paid.id, ADMIN, WHY)
    event = refunded(paid.id, "pay_1", paid.total)

    await asyncio.gather(
        *((orders if number % 2 else other).refunded(event) for number in range(10))
    )

    assert await orders.told(paid.id) == [*CANCELED_WHEN_PAID, "order.refunded.v1"]
    told = await last_told(orders, paid.id, "order.refunded.v1")
    assert (told["payment_id"], told["amount"]) == ("pay_1", msgspec.to_builtins(paid.total))
    assert (await orders.view(paid.id)).status is OrderStatus.CANCELED


async def test_cash_begun_during_the_cancellation_is_declared_unwanted_once(
    orders: Orders, order: OrderView
) -> None:
    await orders.cancel(order.id, OWNER)

    for _ in range(3):
        await orders.pending(pending(order.id, payment_id="pay_9"))

    assert await orders.told(order.id) == ["order.canceled.v1", "order.payment_unwanted.v1"]
    unwanted = await last_told(orders, order.id, "order.payment_unwanted.v1")
    assert unwanted["payment_id"] == "pay_9"


async def test_products_can_ask_for_order_statuses(
    orders: Orders, shelf: Shelf, paid: OrderView
) -> None:
    waiting = await orders.placed(place((await shelf.add(stock=1), 1), address=ADDRESS))

    states = await reading.get_order_statuses(
        GetOrderStatuses(order_ids=[paid.id, "ord_none", waiting.id]), orders=orders.orders
    )

    assert sorted(states, key=lambda state: state.order_id) == [
        OrderState(order_id=paid.id, status=OrderStatus.PAID),
        OrderState(order_id=waiting.id, status=OrderStatus.AWAITING_PAYMENT),
    ]
