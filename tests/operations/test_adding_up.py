"""The totals of stock in `cartwheel verify`: with many products, and during sales."""

import asyncio
from contextlib import suppress

from pymongo.read_concern import ReadConcern

from cartwheel.kernel.mongodb import Client
from cartwheel.operations.verify import reading, stock
from cartwheel.operations.verify.reading import Databases

from .conftest import Bought


async def test_adding_up_may_take_longer_than_a_moment_stays_readable(
    copies: Databases, bought: Bought
) -> None:
    products = copies.products["products"]
    product = await products.find_one({"_id": bought.product})
    assert product is not None
    # More than one batch of the server.
    await products.insert_many([{**product, "_id": f"prd_{number}"} for number in range(300)])

    seen: list[str] = []
    async for _, reserved in reading.stocks(copies):
        if not seen:
            await asyncio.sleep(3)
        seen.append(reserved.product_id)

    assert sorted(seen) == sorted([bought.product, *(f"prd_{number}" for number in range(300))])


async def test_what_is_chosen_is_added_up_as_of_one_moment(
    client: Client, copies: Databases, bought: Bought
) -> None:
    async def move(pieces: int) -> None:
        async with (
            client.start_session() as session,
            await session.start_transaction(read_concern=ReadConcern("snapshot")),
        ):
            await copies.products["reservations"].update_one(
                {"_id": bought.paid}, {"$inc": {"lines.0.quantity": pieces}}, session=session
            )
            await copies.products["products"].update_one(
                {"_id": bought.product},
                {
                    "$inc": {
                        "stock.available": -pieces,
                        "stock.sold": pieces,
                        "stock.unshipped": pieces,
                    }
                },
                session=session,
            )

    async def keep_selling() -> None:
        while True:
            await move(+1)
            await move(-1)

    selling = asyncio.create_task(keep_selling())
    sold: set[int] = set()
    try:
        for _ in range(100):
            async for product, reserved in reading.stocks_at_once(copies, [bought.product]):
                assert stock.check(product, reserved) == []
                sold.add(reserved.committed)
    finally:
        selling.cancel()
        with suppress(asyncio.CancelledError):
            await selling
    assert len(sold) > 1
