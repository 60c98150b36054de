"""Reserving stock on the real MongoDB, by one process and by two that race."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.products import (
    ArchiveProduct,
    InsufficientStock,
    Reservation,
    ReserveStock,
    TooManyOpenOrders,
    UnknownProduct,
    UpdateProduct,
)
from cartwheel.kernel.errors import Contention, Refusal
from cartwheel.kernel.mongodb import Client, Outboxes
from cartwheel.kernel.testing import until
from cartwheel.products.domain.stock import Ended
from cartwheel.products.handlers import catalogue as catalogue_handlers
from cartwheel.products.mongo.reservations import MongoReservations

from ..profiling import documents_examined
from .conftest import Products
from .examples import now, reserve


@pytest.fixture
def other(client: Client, products: Products) -> Products:
    """A second process of the service, on the same database."""
    return products._replace(reservations=MongoReservations(client, products.database, Outboxes()))


async def stock_of(products: Products, product_id: str) -> tuple[int, int, int]:
    stock = await products.stock(product_id)
    return stock.available, stock.reserved, stock.sold


def held(outcomes: list[Reservation | Refusal]) -> list[Reservation]:
    return [outcome for outcome in outcomes if isinstance(outcome, Reservation)]


async def test_a_reservation_takes_from_available_to_reserved(products: Products) -> None:
    mug, cup = await products.stocked(10), await products.stocked(5)
    request = reserve((mug, 3), (cup, 5))

    [answer] = await products.reserve(request)

    assert isinstance(answer, Reservation)
    assert answer.order_id == request.order_id
    assert [(line.product_id, line.quantity) for line in answer.lines] == [(mug, 3), (cup, 5)]
    assert await stock_of(products, mug) == (7, 3, 0)
    assert await stock_of(products, cup) == (0, 5, 0)


async def test_fifty_requests_at_once_for_the_last_ten_pieces_reserve_exactly_ten(
    products: Products,
) -> None:
    mug = await products.stocked(10)

    outcomes = await products.reserve(*(reserve((mug, 1)) for _ in range(50)))

    assert len(held(outcomes)) == 10
    assert sum(isinstance(outcome, InsufficientStock) for outcome in outcomes) == 40
    assert await stock_of(products, mug) == (0, 10, 0)
    assert await products.database["reservations"].count_documents({}) == 10


async def test_two_processes_that_race_for_the_last_ten_pieces_reserve_exactly_ten(
    products: Products, other: Products
) -> None:
    mug = await products.stocked(10)
    batches = [[reserve((mug, 1)) for _ in range(5)] for _ in range(10)]

    outcomes = await asyncio.gather(
        *(
            (products if number % 2 else other).reserve(*batch)
            for number, batch in enumerate(batches)
        )
    )

    assert sum(len(held(each)) for each in outcomes) == 10
    assert await stock_of(products, mug) == (0, 10, 0)
    assert await products.database["reservations"].count_documents({}) == 10


@asynccontextmanager
async def taken(client: Client, products: Products, product_id: str) -> AsyncGenerator[None]:
    """Lock the product in another transaction while the body runs."""
    async with client.start_session() as session, await session.start_transaction():
        await products.database["products"].update_one(
            {"_id": product_id}, {"$inc": {"touched": 1}}, session=session
        )
        yield
        await session.abort_transaction()


async def test_a_conflict_is_retried_as_soon_as_the_other_transaction_is_done(
    client: Client, products: Products
) -> None:
    mug = await products.stocked(10)
    async with taken(client, products, mug):
        holding = asyncio.create_task(products.reserve(reserve((mug, 1))))
        await asyncio.sleep(1)
        assert not holding.done()
    freed = time.monotonic()

    assert len(held(await holding)) == 1
    assert time.monotonic() - freed < 5


async def test_a_conflict_that_outlasts_the_deadline_is_contention_and_nothing_is_done(
    client: Client, products: Products
) -> None:
    mug = await products.stocked(10)
    async with taken(client, products, mug):
        with pytest.raises(Contention):
            async with until(time.time() + 1):
                await products.reserve(reserve((mug, 1)))

    assert await stock_of(products, mug) == (10, 0, 0)


async def test_orders_with_products_in_opposite_order_do_not_deadlock(
    products: Products, other: Products
) -> None:
    mug, cup = await products.stocked(20), await products.stocked(20)

    outcomes = await asyncio.gather(
        *(products.reserve(reserve((mug, 1), (cup, 1))) for _ in range(8)),
        *(other.reserve(reserve((cup, 1), (mug, 1))) for _ in range(8)),
    )

    assert sum(len(held(each)) for each in outcomes) == 16
    assert await stock_of(products, mug) == (4, 16, 0)
    assert await stock_of(products, cup) == (4, 16, 0)


async def test_the_same_request_again_answers_the_same_reservation(products: Products) -> None:
    mug = await products.stocked(10)
    [first] = await products.reserve(reserve((mug, 3), request_id="5c0e", body_hash="one"))

    [again] = await products.reserve(reserve((mug, 9), request_id="5c0e", body_hash="other"))

    assert again == first
    assert await stock_of(products, mug) == (7, 3, 0)


async def test_a_repeat_gets_the_price_of_the_first_reservation(products: Products) -> None:
    mug = await products.stocked(10)
    [first] = await products.reserve(reserve((mug, 3), request_id="5c0e"))
    await products.update(UpdateProduct(product_id=mug, price=Money(1, "USD")))

    [again] = await products.reserve(reserve((mug, 3), request_id="5c0e"))

    assert again == first


async def test_a_request_repeated_within_a_batch_reserves_once(products: Products) -> None:
    mug = await products.stocked(10)
    requests = [reserve((mug, 6), request_id="5c0e") for _ in range(3)]

    outcomes = await products.reserve(*requests)

    assert outcomes == [outcomes[0]] * 3
    assert await stock_of(products, mug) == (4, 6, 0)


async def test_a_request_sent_twenty_times_at_once_reserves_once(
    products: Products, other: Products
) -> None:
    mug = await products.stocked(10)
    requests = [reserve((mug, 10), request_id="5c0e") for _ in range(20)]

    outcomes = await asyncio.gather(
        *(
            (products if number % 2 else other).reserve(request)
            for number, request in enumerate(requests)
        )
    )

    answers = {answer.order_id for [answer] in map(held, outcomes)}
    assert len(answers) == 1
    assert await stock_of(products, mug) == (0, 10, 0)
    assert await products.database["reservations"].count_documents({}) == 1


async def test_a_bad_request_does_not_affect_others(products: Products) -> None:
    mug = await products.stocked(10)

    outcomes = await products.reserve(
        reserve((mug, 4)), reserve(("prd_none", 1)), reserve((mug, 7)), reserve((mug, 6))
    )

    assert isinstance(outcomes[1], UnknownProduct)
    assert isinstance(outcomes[2], InsufficientStock)
    assert len(held(outcomes)) == 2
    assert await stock_of(products, mug) == (0, 10, 0)


async def test_a_refused_order_reserves_none_of_its_items(products: Products) -> None:
    mug, cup = await products.stocked(10), await products.stocked(0)

    [outcome] = await products.reserve(reserve((mug, 1), (cup, 1)))

    assert isinstance(outcome, InsufficientStock)
    assert await stock_of(products, mug) == (10, 0, 0)
    assert await products.database["reservations"].count_documents({}) == 0


async def test_after_a_refusal_the_same_request_is_a_new_attempt(products: Products) -> None:
    mug = await products.stocked(3)
    [other] = await products.reserve(reserve((mug, 3)))
    assert isinstance(other, Reservation)
    request = reserve((mug, 3), request_id="5c0e")
    [first] = await products.reserve(request)
    await products.reservations.settle([(other.order_id, Ended.CLOSED, 2)], now=now)

    [second] = await products.reserve(request)

    assert isinstance(first, InsufficientStock)
    assert isinstance(second, Reservation)


async def test_an_archived_product_cannot_be_ordered(products: Products) -> None:
    mug = await products.stocked(10)
    await catalogue_handlers.archive_product(
        ArchiveProduct(product_id=mug), catalogue=products.catalogue, now=now
    )

    [outcome] = await products.reserve(reserve((mug, 1)))

    assert isinstance(outcome, UnknownProduct)
    assert await stock_of(products, mug) == (10, 0, 0)


async def test_a_malformed_product_id_is_an_unknown_product(products: Products) -> None:
    requests: list[ReserveStock] = [
        reserve((bad, 1)) for bad in ("", "$where", "prd_\u0000", "🙂", "x" * 10_000)
    ]

    outcomes = await products.reserve(*requests)

    assert all(isinstance(outcome, UnknownProduct) for outcome in outcomes)


async def test_a_hundred_lines_are_one_decision(products: Products) -> None:
    made = await asyncio.gather(*(products.stocked(2) for _ in range(100)))

    [outcome] = await products.reserve(reserve(*((each, 1) for each in made)))

    assert isinstance(outcome, Reservation)
    assert len(outcome.lines) == 100


def open_orders(product_id: str, count: int, owner: str = "zoe") -> list[ReserveStock]:
    return [reserve((product_id, 1), owner=owner, max_live=10) for _ in range(count)]


async def test_sixty_orders_of_one_owner_at_once_are_ten_and_others_are_not_held_up(
    products: Products, other: Products
) -> None:
    """Each of another product: only the slots are what the processes contend for."""
    stocked = await asyncio.gather(*(products.stocked(100) for _ in range(6)))
    batches = [open_orders(product_id, 10) for product_id in stocked]
    of_ada = open_orders(stocked[0], 3, owner="ada")

    ada, *outcomes = await asyncio.gather(
        products.reserve(*of_ada),
        *(
            (products if number % 2 else other).reserve(*batch)
            for number, batch in enumerate(batches)
        ),
    )

    assert len(held(ada)) == 3
    assert sum(len(held(each)) for each in outcomes) == 10
    refused = [no for each in outcomes for no in each if not isinstance(no, Reservation)]
    assert {type(no) for no in refused} == {TooManyOpenOrders}
    live = {"owner": "zoe", "status": "HELD"}
    slots = await products.database["reservations"].distinct("slot", live)
    assert sorted(slots) == list(range(10))


@pytest.mark.parametrize("by", ["paid", "canceled", "abandoned"])
async def test_a_slot_is_free_when_its_order_is_paid_or_given_up(
    products: Products, by: str
) -> None:
    mug = await products.stocked(100)
    [first, *_] = held(await products.reserve(*open_orders(mug, 10)))
    [full] = await products.reserve(*open_orders(mug, 1))

    if by == "abandoned":
        await products.reservations.release_abandoned([first.order_id], now=now)
    else:
        ended = Ended.PAID if by == "paid" else Ended.CLOSED
        await products.reservations.settle([(first.order_id, ended, 2)], now=now)

    assert isinstance(full, TooManyOpenOrders)
    assert len(held(await products.reserve(*open_orders(mug, 5)))) == 1


async def test_a_repeated_order_needs_no_slot(products: Products) -> None:
    mug = await products.stocked(100)
    requests = open_orders(mug, 10)
    first = await products.reserve(*requests)

    assert await products.reserve(*requests) == first


async def test_looking_for_slots_reads_only_the_owners_live_reservations(
    products: Products,
) -> None:
    mug = await products.stocked(1000)
    held_by_zoe = held(await products.reserve(*open_orders(mug, 4)))
    await products.reserve(*(each for n in range(40) for each in open_orders(mug, 1, f"o{n}")))
    gone = [(each.order_id, Ended.CLOSED, 2) for each in held_by_zoe[:2]]
    await products.reservations.settle(gone, now=now)

    async with documents_examined(products.database, "reservations") as examined:
        await products.reserve(*open_orders(mug, 1))

    assert examined == [2 * 2]  # of an $or, MongoDB counts each document twice
