"""Adjusting stock on the real MongoDB, beside orders of the same product."""

import asyncio
from contextlib import suppress
from functools import partial

import pytest

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import OrderPaid, OrderRejected
from cartwheel.contracts.products import (
    AdjustmentKind,
    AdjustmentNotFound,
    AdjustStock,
    ArchiveProduct,
    ExplainStock,
    GetAdjustment,
    InsufficientStock,
    ListAdjustments,
    ProductNotFound,
    RepairStock,
    Reservation,
    ReserveStock,
    Stock,
    StockAdjustmentView,
    StockRepair,
    UpdateProduct,
)
from cartwheel.kernel import Batcher, CloudEvent, Created
from cartwheel.kernel.errors import Forbidden, Refusal
from cartwheel.kernel.mongodb import Client, Document, Outboxes
from cartwheel.products.domain import adjustments as rules
from cartwheel.products.handlers import adjustments as adjustment_handlers
from cartwheel.products.handlers import catalogue as catalogue_handlers
from cartwheel.products.handlers import stock as stock_handlers
from cartwheel.products.mongo import adjustments as adjustments_adapter
from cartwheel.products.mongo.reservations import MongoReservations

from ..profiling import documents_examined
from .conftest import Products
from .examples import ADMIN, AT, adjust, now, reserve
from .test_settling import canceled, hold, paid, rejected, take


async def stock_of(products: Products, product_id: str) -> Stock:
    return await products.stock(product_id)


def done(outcome: Created[StockAdjustmentView] | Refusal) -> StockAdjustmentView:
    assert isinstance(outcome, Created), outcome
    return outcome.made


async def outbox_of(products: Products, collection: str, document_id: str) -> list[Document]:
    found = await products.database[collection].find_one({"_id": document_id})
    assert found
    return found.get("outbox", [])


async def test_an_adjustment_changes_the_stock_and_tells_of_it_in_one_write(
    products: Products,
) -> None:
    mug = await products.stocked(10)
    products.outboxes.take()

    [outcome] = await products.adjust(adjust(mug, 5, kind=AdjustmentKind.RECEIVED))

    made = done(outcome)
    assert (made.before, made.delta, made.after, made.by) == (10, 5, 15, "boss")
    assert await stock_of(products, mug) == Stock(available=15)
    [event] = await outbox_of(products, "adjustments", made.id)
    assert (event["type"], event["subject"], event["sequence"]) == (
        "stock.adjusted.v1",
        made.id,
        1,
    )
    assert ("adjustments", made.id) in products.outboxes.take()


async def test_the_same_request_again_answers_the_same_adjustment(products: Products) -> None:
    mug = await products.stocked(10)
    request = adjust(mug, 5, request_id="5c0e")
    [first] = await products.adjust(request)

    [again] = await products.adjust(request)

    assert done(again) == done(first)
    assert isinstance(again, Created)
    assert again.replayed
    assert (await stock_of(products, mug)).available == 15


async def test_a_key_for_another_body_or_product_is_refused(products: Products) -> None:
    mug, cup = await products.stocked(10), await products.stocked(10)
    await products.adjust(adjust(mug, 5, request_id="5c0e"))

    outcomes = await products.adjust(
        adjust(mug, 6, request_id="5c0e", body_hash="other"), adjust(cup, 5, request_id="5c0e")
    )

    assert [type(outcome) for outcome in outcomes] == [IdempotencyKeyReused] * 2
    assert (await stock_of(products, mug)).available == 15
    assert (await stock_of(products, cup)).available == 10


async def test_a_request_repeated_at_two_processes_at_once_counts_once(
    products: Products, client: Client
) -> None:
    mug = await products.stocked(10)
    other = products._replace(reservations=MongoReservations(client, products.database, Outboxes()))

    outcomes = await asyncio.gather(
        *(
            (products if number % 2 else other).adjust(adjust(mug, 5, request_id="5c0e"))
            for number in range(10)
        )
    )

    assert len({done(outcome).id for [outcome] in outcomes}) == 1
    assert (await stock_of(products, mug)).available == 15


async def test_in_one_batch_the_shelf_is_adjusted_before_it_is_reserved_from(
    products: Products,
) -> None:
    mug = await products.stocked(1)

    [order, adjusted, other] = await stock_handlers.change_stock(
        [reserve((mug, 3)), adjust(mug, 2), reserve((mug, 1))],
        reservations=products.reservations,
        now=now,
    )

    assert isinstance(order, Reservation)
    assert isinstance(adjusted, Created)
    assert isinstance(other, InsufficientStock)
    assert await stock_of(products, mug) == Stock(available=0, reserved=3)


async def test_what_is_reserved_is_never_taken_away(products: Products) -> None:
    mug = await products.stocked(10)
    await hold(products, mug, 4)

    outcomes = await products.adjust(adjust(mug, -7), adjust(mug, counted=3), adjust(mug, -6))

    assert [isinstance(outcome, InsufficientStock) for outcome in outcomes] == [True, True, False]
    assert await stock_of(products, mug) == Stock(available=0, reserved=4)


async def test_pieces_are_unshipped_from_their_sale_until_it_is_undone(products: Products) -> None:
    mug = await products.stocked(10)
    order, kept = await hold(products, mug, 3), await hold(products, mug, 2)
    await take(products, paid(order), paid(kept))
    sold = await stock_of(products, mug)

    await take(products, canceled(order, 3))

    assert sold == Stock(available=5, sold=5, unshipped=5)
    assert await stock_of(products, mug) == Stock(available=8, sold=2, unshipped=2)


async def test_what_was_sold_before_there_was_a_count_of_unshipped_is_shipped(
    products: Products,
) -> None:
    """Its reservation says nothing of it, as the version before has left it."""
    mug = await products.stocked(10)
    order = await hold(products, mug, 3)
    await take(products, paid(order))
    await products.database["products"].update_one({"_id": mug}, {"$unset": {"stock.unshipped": 1}})
    await products.database["reservations"].update_one({"_id": order}, {"$unset": {"unshipped": 1}})
    before = await stock_of(products, mug)
    [counted] = await products.adjust(adjust(mug, counted=7))

    await take(products, canceled(order, 3))

    assert (before.on_hand, done(counted).delta) == (7, 0)
    assert await stock_of(products, mug) == Stock(available=10)
    assert (await products.account(mug)).agrees


@pytest.mark.parametrize("by", ["order", "adjustment", "order taken anew"])
async def test_low_stock_is_told_once_in_the_write_that_crosses_the_threshold(
    products: Products, by: str
) -> None:
    mug = await products.stocked(10)
    abandoned = await hold(products, mug, 4)
    await products.reservations.release_abandoned([abandoned], now=now)
    await products.update(UpdateProduct(product_id=mug, low_stock_at=6))

    match by:
        case "order":
            where = ("reservations", await hold(products, mug, 4))
        case "adjustment":
            [made] = await products.adjust(adjust(mug, -4))
            where = ("adjustments", done(made).id)
        case _:
            await take(products, paid(abandoned))
            where = ("reservations", abandoned)
    await hold(products, mug, 1)

    events = [event for event in await outbox_of(products, *where) if "low" in event["type"]]
    assert [event["type"] for event in events] == ["stock.low.v1"]
    assert f'"product_id":"{mug}"' in events[0]["data"]
    assert '"available":6' in events[0]["data"]
    assert where in products.outboxes.take()
    told = [
        event
        for name in ("reservations", "adjustments")
        async for document in products.database[name].find()
        for event in document.get("outbox", [])
        if event["type"] == "stock.low.v1"
    ]
    assert len(told) == 1


async def test_the_threshold_can_be_set_and_taken_away(products: Products) -> None:
    mug = await products.stocked(10)

    await products.update(UpdateProduct(product_id=mug, low_stock_at=3))
    set_ = (await products.view(mug)).low_stock_at
    await products.update(UpdateProduct(product_id=mug, low_stock_at=None))

    assert (set_, (await products.view(mug)).low_stock_at) == (3, None)


async def test_the_history_tells_everything_newest_first_page_by_page(products: Products) -> None:
    mug, cup = await products.stocked(10), await products.stocked(10)
    made: list[StockAdjustmentView] = []
    for delta in (1, 2, 3, 4, 5):
        [of_mug, _] = await products.adjust(adjust(mug, delta), adjust(cup, 9))
        made.append(done(of_mug))

    first = await products.history(mug, limit=3)
    second = await products.history(mug, limit=3, cursor=first.next_cursor)

    assert [*first.data, *second.data] == made[::-1]
    assert second.next_cursor is None


async def test_the_history_reads_only_what_it_shows(products: Products) -> None:
    mug, cup = await products.stocked(10), await products.stocked(10)
    for each in (mug, cup):
        await products.adjust(*(adjust(each, 1) for _ in range(50)))

    async with documents_examined(products.database, "adjustments") as examined:
        await products.history(mug, limit=5)

    assert sum(examined) <= 6


async def test_an_adjustment_is_found_at_its_own_product_only(products: Products) -> None:
    mug, cup = await products.stocked(10), await products.stocked(10)
    [made] = await products.adjust(adjust(mug, 1))

    async def get(product_id: str) -> StockAdjustmentView:
        return await adjustment_handlers.get_adjustment(
            GetAdjustment(product_id=product_id, adjustment_id=done(made).id, actor=ADMIN),
            adjustments=products.adjustments,
        )

    assert await get(mug) == done(made)
    with pytest.raises(AdjustmentNotFound):
        await get(cup)


async def test_a_product_that_does_not_exist_has_no_history_and_no_sum(products: Products) -> None:
    with pytest.raises(ProductNotFound):
        await products.history("prd_none")
    with pytest.raises(ProductNotFound):
        await products.account("prd_none")


async def test_stock_out_of_the_catalogue_can_be_adjusted(products: Products) -> None:
    mug = await products.stocked(10)
    archive = ArchiveProduct(product_id=mug)
    await catalogue_handlers.archive_product(archive, catalogue=products.catalogue, now=now)

    [outcome] = await products.adjust(adjust(mug, counted=0))

    assert done(outcome).after == 0


async def test_adjustments_are_for_admins(products: Products) -> None:
    mug = await products.stocked(10)
    customer = Actor(user_id="8d3f")
    asks = adjustment_handlers

    with pytest.raises(Forbidden):
        await products.adjust(adjust(mug, 1, actor=customer))
    with pytest.raises(Forbidden):
        await asks.list_adjustments(
            ListAdjustments(product_id=mug, limit=1, actor=customer),
            adjustments=products.adjustments,
        )
    with pytest.raises(Forbidden):
        await asks.explain_stock(
            ExplainStock(product_id=mug, actor=customer), adjustments=products.adjustments
        )
    with pytest.raises(Forbidden):
        await asks.repair_stock(
            RepairStock(product_id=mug, reason="Mine.", actor=customer),
            adjustments=products.adjustments,
        )
    assert await stock_of(products, mug) == Stock(available=10)


class Process:
    """A process of the service: it takes together what comes at the same time, as the app does."""

    def __init__(self, products: Products) -> None:
        stored = products.reservations
        self.change = Batcher[ReserveStock | AdjustStock, object](
            partial(stock_handlers.change_stock, reservations=stored, now=now)
        )
        self.commit = Batcher[CloudEvent[OrderPaid], None](
            partial(stock_handlers.commit_stock, reservations=stored, now=now)
        )
        self.release = Batcher[CloudEvent[OrderRejected], None](
            partial(stock_handlers.release_stock, reservations=stored, now=now)
        )

    async def order(self, product_id: str, number: int) -> bool:
        """Order some pieces, and pay or give up some orders; return whether it was possible."""
        try:
            held = await self.change.submit(reserve((product_id, 1 + number % 3)))
        except InsufficientStock:
            return False
        assert isinstance(held, Reservation)
        if number % 4 == 0:
            await self.release.submit(rejected(held.order_id))
        elif number % 4 == 1:
            await self.commit.submit(paid(held.order_id))
        return True

    async def adjust(self, product_id: str, delta: int) -> int:
        """Return what the stock was changed by."""
        with suppress(InsufficientStock):
            await self.change.submit(adjust(product_id, delta))
            return delta
        return 0


async def test_the_sum_is_exact_when_adjustments_and_orders_of_a_product_race(
    products: Products, client: Client
) -> None:
    adjustments, orders = 100, 1_000
    mug = await products.stocked(orders // 2)
    other = products._replace(reservations=MongoReservations(client, products.database, Outboxes()))
    processes = Process(products), Process(other)

    held, changed = await asyncio.gather(
        asyncio.gather(*(processes[n % 2].order(mug, n) for n in range(orders))),
        asyncio.gather(
            *(processes[n % 2].adjust(mug, 9 - n % 19 or 3) for n in range(adjustments))
        ),
    )

    account = await products.account(mug)
    assert account.agrees, account
    assert account.stock.total == orders // 2 + sum(changed)
    assert sum(each.count for each in account.adjustments) == len([by for by in changed if by])
    assert sum(held) == await products.database["reservations"].count_documents({})
    assert account.stock.available >= 0


async def drift(products: Products, product_id: str, **by: int) -> None:
    """Do to the stock what no version of the code does."""
    await products.database["products"].update_one(
        {"_id": product_id}, {"$inc": {f"stock.{where}": pieces for where, pieces in by.items()}}
    )


async def repair(products: Products, product_id: str) -> StockRepair:
    return await adjustment_handlers.repair_stock(
        RepairStock(product_id=product_id, reason="Drifted.", actor=ADMIN),
        adjustments=products.adjustments,
        now=now,
    )


async def test_a_repair_sets_what_the_reservations_say_and_records_the_difference(
    products: Products,
) -> None:
    mug = await products.stocked(20)
    await hold(products, mug, 3)
    await take(products, paid(await hold(products, mug, 4)))
    await products.adjust(adjust(mug, 5))
    await drift(products, mug, reserved=2, sold=-1, available=1)
    before = await products.account(mug)

    repaired = await repair(products, mug)

    assert not before.agrees
    assert repaired.before == before
    assert repaired.after.agrees
    assert await stock_of(products, mug) == Stock(available=19, reserved=3, sold=4, unshipped=4)
    correction = repaired.correction
    assert correction is not None
    assert (correction.delta, correction.after) == (1, 26)
    assert (await products.history(mug)).data[0] == correction
    assert len(await outbox_of(products, "adjustments", correction.id)) == 1


async def test_a_repair_of_what_agrees_changes_nothing(products: Products) -> None:
    mug = await products.stocked(20)
    await hold(products, mug, 3)

    repaired = await repair(products, mug)

    assert repaired.correction is None
    assert repaired.before == repaired.after
    assert (await products.history(mug)).data == []


async def test_repairs_at_once_repair_once_while_orders_come(products: Products) -> None:
    mug = await products.stocked(200)
    await drift(products, mug, reserved=7)

    await asyncio.gather(
        *(repair(products, mug) for _ in range(4)),
        *(products.reserve(reserve((mug, 1))) for _ in range(20)),
    )

    account = await products.account(mug)
    assert account.agrees, account
    assert account.stock == Stock(available=180, reserved=20)
    assert [(each.count, each.pieces) for each in account.adjustments] == [(1, 0)]


async def test_a_repair_decided_on_what_was_repaired_since_is_decided_anew(
    products: Products, monkeypatch: pytest.MonkeyPatch
) -> None:
    mug = await products.stocked(10)
    await drift(products, mug, reserved=2)
    request = RepairStock(product_id=mug, reason="Drifted.", actor=ADMIN)
    decide = partial(rules.repair, request=request, at=AT, id="adj_1")
    account, repairs = await products.adjustments._account(mug)  # pyright: ignore[reportPrivateUsage] because the race cannot be had otherwise
    stale = decide(account)
    assert stale is not None
    await repair(products, mug)

    stored = await products.adjustments._stored(mug, stale, repairs)  # pyright: ignore[reportPrivateUsage] as above

    assert not stored
    assert await stock_of(products, mug) == Stock(available=10)
    assert adjustments_adapter.REPAIR_RUNS > 1
