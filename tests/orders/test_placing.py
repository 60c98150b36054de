"""Placing orders on the real MongoDB: repeated, many at once, by processes that race."""

import asyncio
from uuid import uuid4

import pytest

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.money import Money
from cartwheel.contracts.order_number import new_number
from cartwheel.contracts.orders import OrderStatus, OrderView, PlaceOrder
from cartwheel.contracts.products import (
    InsufficientStock,
    MixedCurrencies,
    Reservation,
    ReserveStock,
    UnknownProduct,
)
from cartwheel.kernel import Answer, Created, Request, new_id
from cartwheel.kernel.errors import OutcomeUnknown, TimedOut
from cartwheel.kernel.mongodb import Database, Outboxes
from cartwheel.kernel.operating import apply_migrations
from cartwheel.orders import mongo
from cartwheel.orders.domain import order as rules
from cartwheel.orders.mongo import MongoOrders

from .conftest import Direct, Orders, Placed, Shelf
from .examples import ADDRESS, AT, ZOE, place


@pytest.fixture
def other(orders: Orders) -> Orders:
    """A second process of the service."""
    return orders._replace(orders=MongoOrders(orders.database, Outboxes()))


def made(answers: Placed) -> list[Created[OrderView]]:
    return [answer for answer in answers if isinstance(answer, Created)]


async def test_a_placed_order_is_stored_and_its_stock_is_reserved(
    orders: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=10)
    spoon = await shelf.add(stock=10, price=Money(250, "USD"))

    [answer] = await orders.place(place((mug, 2), (spoon, 1), address=ADDRESS))

    assert isinstance(answer, Created)
    assert answer.replayed is False
    assert answer.made.status is OrderStatus.AWAITING_PAYMENT
    assert answer.made.total == Money(2 * 1999 + 250, "USD")
    assert (answer.made.user, answer.made.shipping_address) == (ZOE, ADDRESS)
    assert await orders.view(answer.made.id) == answer.made
    assert (await shelf.stock(mug)).reserved == 2


async def test_the_same_request_again_answers_the_first_order(orders: Orders, shelf: Shelf) -> None:
    request = place((await shelf.add(stock=10), 2), request_id="5c0e")
    first = await orders.placed(request)

    [again] = await orders.place(request)

    assert again == Created(made=first, replayed=True)
    assert await orders.stored() == 1


async def test_a_request_sent_twenty_times_at_once_makes_one_order(
    orders: Orders, other: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=10)
    request = place((mug, 10), request_id="5c0e")

    answers = await asyncio.gather(
        *((orders if number % 2 else other).place(request) for number in range(20))
    )

    answered = [answer for each in answers for answer in made(each)]
    assert len(answered) == 20
    assert len({answer.made.number for answer in answered}) == 1
    assert [answer.replayed for answer in answered].count(False) == 1
    assert await orders.stored() == 1
    assert (await shelf.stock(mug)).reserved == 10


async def test_a_request_sent_three_times_at_once_makes_one_order(
    orders: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=10)
    request = place((mug, 10), request_id="5c0e")

    answers = made(await orders.place(request, request, request))

    assert [answer.replayed for answer in answers] == [False, True, True]
    assert len({answer.made.id for answer in answers}) == 1
    assert (await shelf.stock(mug)).reserved == 10


async def test_an_order_that_another_process_has_just_stored_is_the_answer(
    orders: Orders, shelf: Shelf
) -> None:
    request = place((await shelf.add(stock=10), 2), request_id="5c0e")
    reserved = await orders.bus.request(
        ReserveStock(
            request_id="5c0e", order_id=new_id("ord"), body_hash="hash", items=request.items
        )
    )
    draft = rules.place(request, reserved, number=new_number(), at=AT)
    await orders.orders.add(draft)
    neighbour = rules.place(
        place(request_id="another"),
        Reservation(order_id=new_id("ord"), body_hash="hash", lines=reserved.lines),
        number=new_number(),
        at=AT,
    )
    late = rules.place(request, reserved, number=new_number(), at=AT)

    stored = await asyncio.gather(*(orders.orders.add(order) for order in (neighbour, late)))

    assert [order.made.number for order in stored] == [neighbour.number, draft.number]
    assert await orders.stored() == 2


async def test_a_repeat_completes_the_order_of_a_process_that_died_after_reserving(
    orders: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=10)
    request = place((mug, 10), request_id="5c0e")
    held = await orders.bus.request(
        ReserveStock(
            request_id="5c0e", order_id=new_id("ord"), body_hash="hash", items=request.items
        )
    )

    order = await orders.placed(request)

    assert order.id == held.order_id
    assert (await shelf.stock(mug)).reserved == 10


async def test_the_same_key_with_another_body_is_refused(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=10)
    await orders.place(place((mug, 2), request_id="5c0e", body_hash="one"))

    [answer] = await orders.place(place((mug, 3), request_id="5c0e", body_hash="other"))

    assert isinstance(answer, IdempotencyKeyReused)
    assert (await shelf.stock(mug)).reserved == 2


async def test_no_order_uses_the_reservation_of_another_body(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=10)
    hold = ReserveStock(
        request_id="5c0e", order_id=new_id("ord"), body_hash="one", items=place((mug, 2)).items
    )
    await orders.bus.request(hold)

    [answer] = await orders.place(place((mug, 3), request_id="5c0e", body_hash="other"))

    assert isinstance(answer, IdempotencyKeyReused)
    assert await orders.stored() == 0


async def test_of_one_key_with_two_bodies_at_once_one_is_refused(
    orders: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=10)

    answers = await orders.place(
        place((mug, 2), request_id="5c0e", body_hash="one"),
        place((mug, 3), request_id="5c0e", body_hash="other"),
    )

    assert len(made(answers)) == 1
    assert [type(answer) for answer in answers].count(IdempotencyKeyReused) == 1
    assert await orders.stored() == 1


async def test_a_bad_request_does_not_affect_others(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=10)
    euro = await shelf.add(stock=10, price=Money(100, "EUR"))

    answers = await orders.place(
        place((mug, 2)),
        place((mug, 99)),
        place(("prd_none", 1)),
        place((mug, 1), (euro, 1)),
        place((mug, 8)),
    )

    assert [type(answer) for answer in answers] == [
        Created,
        InsufficientStock,
        UnknownProduct,
        MixedCurrencies,
        Created,
    ]
    assert await orders.stored() == 2
    assert (await shelf.stock(mug)).reserved == 10


async def test_fifty_customers_at_once_get_exactly_the_last_ten_pieces(
    orders: Orders, other: Orders, shelf: Shelf
) -> None:
    mug = await shelf.add(stock=10)

    answers = await asyncio.gather(
        *((orders if number % 2 else other).place(place((mug, 1))) for number in range(50))
    )

    assert sum(len(made(each)) for each in answers) == 10
    assert [type(answer) for [answer] in answers].count(InsufficientStock) == 40
    assert await orders.stored() == 10
    assert (await shelf.stock(mug)).available == 0


async def test_after_a_refusal_the_same_key_is_a_new_attempt(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=10)
    [refused] = await orders.place(place((mug, 11), request_id="5c0e"))

    [answer] = await orders.place(place((mug, 10), request_id="5c0e", body_hash="other"))

    assert isinstance(refused, InsufficientStock)
    assert isinstance(answer, Created)


class Silent(Direct):
    """A bus on which products does its work, but the answer is lost."""

    async def request(self, request: Request[Answer]) -> Answer:
        await super().request(request)
        raise TimedOut("no answer")


async def test_a_repeat_gets_the_answer_that_was_lost(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=10)
    request = place((mug, 10), request_id="5c0e")
    deaf = orders._replace(bus=Silent(*orders.bus.table))

    [lost] = await deaf.place(request)
    order = await orders.placed(request)

    assert isinstance(lost, TimedOut | OutcomeUnknown)
    assert await orders.stored() == 1
    assert (order.lines[0].quantity, (await shelf.stock(mug)).reserved) == (10, 10)


async def test_one_outage_leaves_the_other_orders_alone(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=10)
    gone = str(uuid4())

    class PartlyDown(Direct):
        async def request(self, request: Request[Answer]) -> Answer:
            if getattr(request, "request_id", None) == gone:
                raise TimedOut("no answer")
            return await super().request(request)

    partly = orders._replace(bus=PartlyDown(*orders.bus.table))

    answers = await partly.place(place((mug, 1)), place((mug, 1), request_id=gone), place((mug, 1)))

    assert [type(answer) for answer in answers] == [Created, TimedOut, Created]


async def test_numbers_are_short_and_unique(orders: Orders, shelf: Shelf) -> None:
    mug = await shelf.add(stock=100)
    requests: list[PlaceOrder] = [place((mug, 1)) for _ in range(60)]

    numbers = {answer.made.number for answer in made(await orders.place(*requests))}

    assert len(numbers) == 60
    assert {len(number) for number in numbers} == {11}


async def test_the_order_and_its_event_are_one_write(orders: Orders, shelf: Shelf) -> None:
    request = place((await shelf.add(stock=10), 2))
    order = await orders.placed(request)

    document = await orders.document(order.id)

    [told] = document["outbox"]
    assert (told["type"], told["sequence"], told["subject"]) == ("order.placed.v1", 1, order.id)
    assert document["sequence"] == 1
    assert [entry["type"] for entry in document["timeline"]] == ["order.placed.v1"]


async def test_an_order_keeps_the_trace_of_the_request_that_placed_it(
    orders: Orders, shelf: Shelf
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    mug = await shelf.add(stock=10)
    request = PlaceOrder(
        traceparent=trace,
        request_id="5c0e",
        body_hash="hash",
        user=ZOE,
        items=place((mug, 1)).items,
    )

    order = await orders.placed(request)

    [told] = (await orders.document(order.id))["outbox"]
    assert told["traceparent"].split("-")[1] == trace.split("-")[1]
    assert told["correlation_id"] == trace.split("-")[1]


async def test_setup_drops_the_unused_index_and_may_be_repeated(
    database: Database,
) -> None:
    await apply_migrations(database, mongo.MIGRATIONS[:2])
    assert "request_id" in await database["orders"].index_information()

    await apply_migrations(database, mongo.MIGRATIONS)
    await database["meta"].delete_many({})  # as if setup had died before it stored the migration
    await apply_migrations(database, mongo.MIGRATIONS)

    assert "request_id" not in await database["orders"].index_information()
