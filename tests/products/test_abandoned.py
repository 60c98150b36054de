"""Abandoned reservations are released. If the order is paid after all, it gets its stock again."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import pytest

from cartwheel.contracts.order_number import new_number
from cartwheel.contracts.orders import GetOrderStatuses
from cartwheel.contracts.products import Reservation
from cartwheel.kernel import Answer, Change, Request, answer
from cartwheel.kernel.errors import TimedOut
from cartwheel.kernel.mongodb import Client, Database, Document, Outboxes
from cartwheel.orders.domain import order as orders_rules
from cartwheel.orders.domain.order import Order
from cartwheel.orders.handlers import reading
from cartwheel.orders.mongo import MIGRATIONS as ORDERS
from cartwheel.orders.mongo import MongoOrders
from cartwheel.products.handlers import stock as stock_handlers
from cartwheel.products.mongo.reservations import MongoReservations

from ..databases import Prepared
from ..orders import examples as orders_examples
from ..orders.conftest import Direct
from ..profiling import documents_examined
from .conftest import Products
from .examples import AT, now, reserve
from .test_settling import canceled, hold, paid, stock_of, take

CHANGE = Change(by="test", at=AT)
OLD = timedelta(minutes=10)
LATER = AT + OLD + timedelta(seconds=1)

Step = Callable[[Order], Order]


def as_it_is(order: Order) -> Order:
    return order


def pay(order: Order) -> Order:
    return orders_rules.pay(order, orders_examples.money_captured("pay_1", order.total), CHANGE)


def cancel(order: Order) -> Order:
    return orders_rules.cancel(order, CHANGE, reason="No more.", by_admin=True)


def reject(order: Order) -> Order:
    for payment_id in ("pay_1", "pay_2", "pay_3"):
        order = orders_rules.payment_declined(
            order, orders_examples.payment_refused(payment_id), CHANGE
        )
    return order


class OrdersSide(NamedTuple):
    """Orders with its own database, and a bus through which it answers."""

    database: Database
    orders: MongoOrders
    bus: Direct

    async def store(self, held: Reservation, become: Step = as_it_is) -> str:
        """Store the order of the reservation, changed by `become`."""
        request = orders_examples.place((held.lines[0].product_id, held.lines[0].quantity))
        order = orders_rules.place(request, held, number=new_number(), at=AT)
        await self.orders.add(become(order))
        return held.order_id


@pytest.fixture
async def orders(prepared: Prepared) -> OrdersSide:
    beside = await prepared(ORDERS)
    stored = MongoOrders(beside, Outboxes())
    statuses = partial(reading.get_order_statuses, orders=stored)
    return OrdersSide(beside, stored, Direct(answer(GetOrderStatuses, statuses)))


async def sweep(products: Products, orders: OrdersSide, at: datetime = LATER) -> None:
    await stock_handlers.release_abandoned(
        reservations=products.reservations, bus=orders.bus, now=lambda: at, older_than=OLD
    )


def unique(number: int) -> Document:
    """Return the fields of a reservation that must be unique."""
    return {"_id": f"ord_{number}", "request_id": str(number), "status": "HELD"}


async def held(products: Products, product_id: str, quantity: int = 3) -> Reservation:
    [answer] = await products.reserve(reserve((product_id, quantity)))
    assert isinstance(answer, Reservation)
    return answer


async def abandoned(products: Products, product_id: str, quantity: int = 3) -> str:
    """Return the id of an order whose reservation was released as abandoned."""
    order_id = await hold(products, product_id, quantity)
    await products.reservations.release_abandoned([order_id], now=now)
    return order_id


async def shortages(products: Products, order_id: str) -> list[tuple[int, str, str]]:
    document = await products.database["reservations"].find_one({"_id": order_id})
    assert document
    return [
        (event["sequence"], event["type"], event["subject"]) for event in document.get("outbox", [])
    ]


async def test_a_reservation_whose_order_was_never_stored_is_released(
    products: Products, orders: OrdersSide
) -> None:
    mug = await products.stocked(10)
    await held(products, mug)

    await sweep(products, orders)

    assert await stock_of(products, mug) == (10, 0, 0)


@pytest.mark.parametrize("closed", [cancel, reject])
async def test_a_reservation_whose_order_is_closed_is_released(
    products: Products, orders: OrdersSide, closed: Step
) -> None:
    mug = await products.stocked(10)
    await orders.store(await held(products, mug), closed)

    await sweep(products, orders)

    assert await stock_of(products, mug) == (10, 0, 0)


@pytest.mark.parametrize("wanted", [as_it_is, pay])
async def test_a_reservation_whose_order_awaits_payment_is_kept_however_old(
    products: Products, orders: OrdersSide, wanted: Step
) -> None:
    mug = await products.stocked(10)
    await orders.store(await held(products, mug), wanted)

    await sweep(products, orders, AT + timedelta(days=365))

    assert await stock_of(products, mug) == (7, 3, 0)


async def test_a_recent_reservation_may_still_get_its_order(
    products: Products, orders: OrdersSide
) -> None:
    mug = await products.stocked(10)
    await held(products, mug)

    await sweep(products, orders, AT + OLD)

    assert await stock_of(products, mug) == (7, 3, 0)


async def test_nothing_is_released_without_an_answer_from_orders(
    products: Products, orders: OrdersSide
) -> None:
    mug = await products.stocked(10)
    await held(products, mug)

    class Down(Direct):
        async def request(self, request: Request[Answer]) -> Answer:
            raise TimedOut("no answer")

    await sweep(products, orders._replace(bus=Down()))
    kept = await stock_of(products, mug)
    await sweep(products, orders, LATER + timedelta(seconds=5))

    assert kept == (7, 3, 0)
    assert await stock_of(products, mug) == (10, 0, 0)


async def test_a_failing_reservation_does_not_block_others(
    products: Products, orders: OrdersSide
) -> None:
    """Orders cannot read the order of one reservation. Another one cannot be read itself."""
    mug = await products.stocked(50)
    holds = [await held(products, mug, 1) for _ in range(50)]
    order_id = await orders.store(holds[0])
    from_a_younger_version = {"$set": {"fulfillment.status": "BY PIGEON"}}
    await orders.database["orders"].update_one({"_id": order_id}, from_a_younger_version)
    reservations = products.database["reservations"]
    no_lines = {"$set": {"lines": None}}
    await reservations.update_one({"_id": holds[1].order_id}, no_lines)

    await sweep(products, orders)

    left = reservations.find({"status": "HELD"}).sort("_id")
    assert [document["_id"] async for document in left] == [each.order_id for each in holds[:2]]
    assert await stock_of(products, mug) == (48, 2, 0)


async def test_orders_is_asked_again_about_a_kept_reservation_after_the_same_time(
    products: Products, orders: OrdersSide
) -> None:
    """An order paid in cash on delivery keeps its reservation for days."""
    asked: list[object] = []

    class Counting(Direct):
        async def request(self, request: Request[Answer]) -> Answer:
            asked.append(request)
            return await super().request(request)

    await orders.store(await held(products, await products.stocked(10)))
    counting = orders._replace(bus=Counting(*orders.bus.table))

    for seconds in range(0, 3600, 10):
        await sweep(products, counting, LATER + timedelta(seconds=seconds))

    assert len(asked) == timedelta(hours=1) / OLD


async def test_the_sweep_reads_only_reservations_to_ask_about(products: Products) -> None:
    """It skips recent ones, and those that orders wants to keep."""
    kinds = ({"held_at": LATER}, {"held_at": AT, "due_at": LATER + OLD})
    await products.database["reservations"].insert_many(
        [{**unique(number), **kinds[number % 2]} for number in range(3_000)]
        + [{**unique(number), "held_at": AT} for number in range(3_000, 3_010)]
    )

    async with documents_examined(products.database, "reservations") as examined:
        due = await products.reservations.held(longer_than=OLD).due(LATER, limit=1000)

    assert len(due) == 10
    assert sum(examined) == 10


async def test_kept_reservations_do_not_hide_abandoned_ones(
    products: Products, orders: OrdersSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders is asked about a few at a time."""
    monkeypatch.setattr(stock_handlers, "RELEASE_BATCH_SIZE", 2)
    mug = await products.stocked(20)
    for number in range(10):
        reservation = await held(products, mug, 1)
        if number not in (5, 9):
            await orders.store(reservation)

    await sweep(products, orders)

    assert await stock_of(products, mug) == (12, 8, 0)


async def test_two_processes_that_release_at_once_free_each_piece_once(
    products: Products, orders: OrdersSide, client: Client
) -> None:
    mug = await products.stocked(10)
    for _ in range(3):
        await held(products, mug)
    other = products._replace(reservations=MongoReservations(client, products.database, Outboxes()))

    await asyncio.gather(*(sweep(each, orders) for each in (products, other) * 3))

    assert await stock_of(products, mug) == (10, 0, 0)


async def test_a_paid_order_takes_its_released_pieces_again(products: Products) -> None:
    mug = await products.stocked(10)
    order = await abandoned(products, mug)

    await take(products, paid(order), paid(order))

    assert await stock_of(products, mug) == (7, 0, 3)
    assert await shortages(products, order) == []


async def test_a_paid_order_without_stock_emits_one_shortage_in_the_same_write(
    products: Products,
) -> None:
    mug = await products.stocked(4)
    order = await abandoned(products, mug)
    await hold(products, mug, 2)

    await take(products, *[paid(order)] * 10)

    assert await stock_of(products, mug) == (2, 2, 0)
    assert await shortages(products, order) == [(1, "stock.shortage.v1", order)]
    assert ("reservations", order) in products.outboxes.take()
    document = await products.database["reservations"].find_one({"_id": order})
    assert document
    assert (document["status"], document["sequence"]) == ("RELEASED", 1)


async def test_the_cancellation_after_a_shortage_frees_nothing_again(
    products: Products,
) -> None:
    mug = await products.stocked(4)
    order = await abandoned(products, mug)
    await hold(products, mug, 2)

    await take(products, paid(order, 2), canceled(order, 3), canceled(order, 3), paid(order, 2))

    assert await stock_of(products, mug) == (2, 2, 0)


async def test_of_two_paid_orders_in_one_batch_the_last_pieces_go_to_the_first(
    products: Products,
) -> None:
    mug = await products.stocked(5)
    first, second = await abandoned(products, mug), await abandoned(products, mug)

    await stock_handlers.commit_stock(
        [paid(first), paid(second)], reservations=products.reservations, now=now
    )

    assert await stock_of(products, mug) == (2, 0, 3)
    assert await shortages(products, first) == []
    assert len(await shortages(products, second)) == 1


async def test_pieces_taken_again_while_others_reserve_are_never_promised_twice(
    products: Products, client: Client
) -> None:
    mug = await products.stocked(6)
    orders = [await abandoned(products, mug) for _ in range(4)]
    other = products._replace(reservations=MongoReservations(client, products.database, Outboxes()))

    await asyncio.gather(
        *(take((products, other)[number % 2], paid(order)) for number, order in enumerate(orders)),
        *((other, products)[number % 2].reserve(reserve((mug, 2))) for number in range(4)),
    )

    available, reserved, sold = await stock_of(products, mug)
    told = [order for order in orders if await shortages(products, order)]
    assert available + reserved + sold == 6
    assert available >= 0
    assert sold == 3 * (len(orders) - len(told))
