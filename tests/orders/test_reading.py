"""Who sees which orders, page by page."""

import asyncio

import pytest

from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.orders import (
    GetOrder,
    ListOrders,
    OrderNotFound,
    OrderStatus,
    OrderView,
)
from cartwheel.kernel.mongodb import BadCursor
from cartwheel.orders.handlers import reading

from .conftest import Orders, Shelf
from .examples import ADDRESS, AT, ZOE, captured, declined, place

OWNER = Actor(user_id=ZOE.id)
STRANGER = Actor(user_id="user-eve")
ADMIN = Actor(user_id="user-ada", admin=True)
EVE = User(id="user-eve", name="Eve", email="eve@example.com")


async def test_a_customer_and_an_admin_see_the_order_and_nobody_else(
    orders: Orders, order: OrderView
) -> None:
    requests = [GetOrder(order_id=order.id, actor=actor) for actor in (OWNER, ADMIN, STRANGER)]

    owner, admin, stranger = await reading.get_orders(requests, orders=orders.orders)

    assert owner == admin == order
    assert isinstance(stranger, OrderNotFound)


async def test_somebody_elses_order_looks_like_one_that_does_not_exist(
    orders: Orders, order: OrderView
) -> None:
    requests = [GetOrder(order_id=each, actor=STRANGER) for each in (order.id, "ord_none")]

    theirs, none = await reading.get_orders(requests, orders=orders.orders)

    assert isinstance(theirs, OrderNotFound)
    assert isinstance(none, OrderNotFound)
    assert (theirs.code, theirs.detail) == (none.code, none.detail)


async def test_somebody_elses_timeline_is_not_found(orders: Orders, order: OrderView) -> None:
    for order_id in (order.id, "ord_none"):
        with pytest.raises(OrderNotFound):
            await orders.timeline(order_id, STRANGER)


async def test_the_timeline_has_event_time_and_actor(orders: Orders, order: OrderView) -> None:
    await orders.declined(declined(order.id, "pay_1"))
    await orders.captured(captured(order.id, "pay_2", order.total))

    entries = await orders.timeline(order.id, OWNER)

    assert [(entry.type, entry.by, entry.note) for entry in entries] == [
        ("order.placed.v1", ZOE.id, None),
        ("order.payment_failed.v1", "payments", "Your card was declined."),
        ("order.paid.v1", "payments", None),
    ]
    assert {entry.at for entry in entries} == {AT}
    assert entries == await orders.timeline(order.id, ADMIN)


async def test_pages_list_the_users_own_orders_newest_first_and_each_once(
    orders: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=100)
    mine = [await orders.placed(place((mug, 1))) for _ in range(5)]
    await orders.placed(place((mug, 1), user=EVE))

    seen: list[OrderView] = []
    cursor: str | None = None
    for _ in range(3):
        page = await orders.list(ListOrders(limit=2, cursor=cursor, user_id=ZOE.id))
        seen += page.data
        cursor = page.next_cursor

    assert cursor is None
    assert seen == mine[::-1]


async def test_a_last_page_that_is_just_full_has_no_next_page(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=100)
    await asyncio.gather(*(orders.placed(place((mug, 1))) for _ in range(3)))

    page = await orders.list(ListOrders(limit=3))

    assert (len(page.data), page.next_cursor) == (3, None)


async def test_without_a_user_everybodys_orders_are_listed(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=100)
    mine = await orders.placed(place((mug, 1)))
    hers = await orders.placed(place((mug, 1), user=EVE))

    assert (await orders.list(ListOrders(limit=10))).data == [hers, mine]


async def test_orders_are_listed_by_status(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=100)
    waiting = await orders.placed(place((mug, 1), address=ADDRESS))
    paid = await orders.placed(place((mug, 1), address=ADDRESS))
    await orders.captured(captured(paid.id, amount=paid.total))

    async def listed(status: OrderStatus) -> list[str]:
        page = await orders.list(ListOrders(limit=10, status=status, user_id=ZOE.id))
        return [order.id for order in page.data]

    assert await listed(OrderStatus.AWAITING_PAYMENT) == [waiting.id]
    assert await listed(OrderStatus.PAID) == [paid.id]
    assert await listed(OrderStatus.REJECTED) == []


async def test_an_invalid_cursor_is_refused(orders: Orders) -> None:
    with pytest.raises(BadCursor):
        await orders.list(ListOrders(limit=2, cursor="no cursor"))
