"""The effects of an order's events on its stock, on the real MongoDB: late, repeated, unordered."""

import asyncio
import random
from functools import partial
from itertools import permutations
from typing import TypeVar

import pytest

from cartwheel.contracts.identity import User
from cartwheel.contracts.orders import Line, OrderCanceled, OrderPaid, OrderRejected, OrderSnapshot
from cartwheel.contracts.products import Reservation
from cartwheel.kernel import CloudEvent, Event, new_id
from cartwheel.kernel.mongodb import Client, Outboxes
from cartwheel.products.handlers import stock as stock_handlers
from cartwheel.products.mongo.reservations import MongoReservations

from .conftest import Products
from .examples import AT, DOLLARS, now, reserve, total

Data = TypeVar("Data", bound=Event)


def snapshot(order_id: str) -> OrderSnapshot:
    return OrderSnapshot(
        id=order_id,
        number="K7QM3-XWD9A",
        user=User(id="8d3f", name="Zoë", email="zoe@example.com"),
        lines=[Line(product_id="prd_1", name="Mug", quantity=1, unit_price=DOLLARS)],
        total=DOLLARS,
    )


def event(order_id: str, sequence: int, data: Data) -> CloudEvent[Data]:
    return CloudEvent(
        id=new_id("evt"),
        type=data.type,
        source="orders",
        subject=order_id,
        sequence=sequence,
        time=AT,
        data=data,
    )


def paid(order_id: str, sequence: int = 2) -> CloudEvent[OrderPaid]:
    return event(order_id, sequence, OrderPaid(order=snapshot(order_id), payment_id="pay_1"))


def rejected(order_id: str, sequence: int = 2) -> CloudEvent[OrderRejected]:
    return event(order_id, sequence, OrderRejected(order=snapshot(order_id), reason="Declined."))


def canceled(order_id: str, sequence: int = 2) -> CloudEvent[OrderCanceled]:
    told = OrderCanceled(order=snapshot(order_id), reason="Changed my mind.", was_paid=False)
    return event(order_id, sequence, told)


Told = CloudEvent[OrderPaid] | CloudEvent[OrderRejected] | CloudEvent[OrderCanceled]


async def take(products: Products, *events: Told) -> None:
    """Apply the events as the service would, in one batch per type."""
    commit = partial(stock_handlers.commit_stock, reservations=products.reservations, now=now)
    release = partial(stock_handlers.release_stock, reservations=products.reservations, now=now)
    for each in events:
        match each.data:
            case OrderPaid() as data:
                await commit([event(each.subject, each.sequence, data)])
            case OrderRejected() as data:
                await release([event(each.subject, each.sequence, data)])
            case OrderCanceled() as data:
                await release([event(each.subject, each.sequence, data)])


async def hold(products: Products, product_id: str, quantity: int) -> str:
    """Return the id of an order for which `quantity` pieces are reserved."""
    [answer] = await products.reserve(reserve((product_id, quantity)))
    assert isinstance(answer, Reservation)
    return answer.order_id


async def stock_of(products: Products, product_id: str) -> tuple[int, int, int]:
    stock = await products.stock(product_id)
    return stock.available, stock.reserved, stock.sold


async def test_a_paid_orders_pieces_are_sold(products: Products) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)

    await take(products, paid(order))

    assert await stock_of(products, mug) == (7, 0, 3)


async def test_a_rejected_orders_pieces_are_available_again(products: Products) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)

    await take(products, rejected(order))

    assert await stock_of(products, mug) == (10, 0, 0)


async def test_the_same_event_ten_times_counts_once(products: Products) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)

    await stock_handlers.commit_stock(
        [paid(order)] * 10, reservations=products.reservations, now=now
    )
    await take(products, *[paid(order)] * 3)

    assert await stock_of(products, mug) == (7, 0, 3)


async def test_the_same_event_at_two_processes_at_once_counts_once(
    products: Products, client: Client
) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)
    processes = [products.reservations, MongoReservations(client, products.database, Outboxes())]

    await asyncio.gather(
        *(
            stock_handlers.commit_stock([paid(order)], reservations=processes[number % 2], now=now)
            for number in range(10)
        )
    )

    assert await stock_of(products, mug) == (7, 0, 3)


async def test_a_canceled_orders_pieces_are_available_again(products: Products) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)

    await take(products, canceled(order))

    assert await stock_of(products, mug) == (10, 0, 0)


async def test_a_paid_orders_pieces_are_returned_when_it_is_canceled(products: Products) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)

    await take(products, paid(order, 2), canceled(order, 3))

    assert await stock_of(products, mug) == (10, 0, 0)


@pytest.mark.parametrize("order_of_arrival", list(permutations(range(4))))
async def test_events_in_any_order_end_in_the_state_of_the_last_one(
    products: Products, order_of_arrival: tuple[int, ...]
) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)
    sent = [paid(order, 2), canceled(order, 3), paid(order, 2), canceled(order, 3)]

    await take(products, *(sent[index] for index in order_of_arrival))

    assert await stock_of(products, mug) == (10, 0, 0)


async def test_an_event_older_than_the_one_applied_changes_nothing(products: Products) -> None:
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)
    await take(products, rejected(order, 3))

    await take(products, paid(order, 2))

    assert await stock_of(products, mug) == (10, 0, 0)


async def test_a_batch_settles_many_orders_of_one_product(products: Products) -> None:
    mug = await products.stocked(10)
    orders = [await hold(products, mug, quantity) for quantity in (1, 2, 3)]

    await stock_handlers.commit_stock(
        [paid(order) for order in orders], reservations=products.reservations, now=now
    )

    assert await stock_of(products, mug) == (4, 0, 6)


async def test_no_piece_is_lost_under_concurrent_events(products: Products, client: Client) -> None:
    mug = await products.stocked(30)
    processes = [
        products,
        products._replace(reservations=MongoReservations(client, products.database, Outboxes())),
    ]
    orders = [await hold(products, mug, 2) for _ in range(8)]
    chance = random.Random(7)  # noqa: S311 a test repeats itself, it keeps no secret
    sent = [paid(order) for order in orders[:4]] + [rejected(order) for order in orders[4:]]
    arrived = sent * 2
    chance.shuffle(arrived)

    await asyncio.gather(
        *(take(processes[number % 2], each) for number, each in enumerate(arrived)),
        *(processes[number % 2].reserve(reserve((mug, 1))) for number in range(6)),
    )

    stock = await products.stock(mug)
    assert total(stock) == 30
    assert (stock.available, stock.reserved, stock.sold) == (16, 6, 8)
