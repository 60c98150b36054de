"""Finding orders: by number, customer, mail address, status and date, in every combination."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest

from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.orders import ListOrders, OrderStatus
from cartwheel.kernel.mongodb import Document

from ..explained import reading_no_more_than
from .conftest import Orders
from .examples import ZOE, order

ADMIN = Actor(user_id="user-ada", admin=True)
EVE = User(id="user-eve", name="Eve", email="eve@example.com")
MANY = 1_200
LIMIT = 4
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return hour(24 * number)


def hour(number: int) -> datetime:
    return FIRST_DAY + timedelta(hours=number)


class History(NamedTuple):
    """Orders placed an hour apart, oldest first: one in twenty by Zoë, the others by Eve. Of Zoë's
    the oldest ten are PAID and the others not; Eve's are all PAID."""

    orders: Orders
    documents: list[Document]

    def matching(self, request: ListOrders) -> list[str]:
        """Return the ids that `request` asks for, newest first, by looking at each order."""
        return [
            each["_id"]
            for n, each in reversed(list(enumerate(self.documents)))
            if request.user_id in (None, each["user"]["id"])
            and request.email in (None, each["user"]["email"])
            and request.number in (None, each["number"])
            and request.status in (None, each["status"])
            and (request.placed_after is None or hour(n) >= request.placed_after)
            and (request.placed_before is None or hour(n) < request.placed_before)
        ]


@pytest.fixture
async def history(orders: Orders) -> History:
    await orders.orders.add(order())
    [pattern] = await orders.database["orders"].find().to_list()
    documents: list[Document] = []
    for n in range(MANY):
        at = hour(n)
        user = EVE if n % 20 else ZOE
        paid = user is EVE or n < 200
        documents.append(
            {
                **pattern,
                "_id": f"ord_{int(at.timestamp() * 1000):012x}7{n:019x}",
                "number": f"N{n:04}-XXXXX",
                "user": msgspec.to_builtins(user),
                "status": OrderStatus.PAID if paid else OrderStatus.AWAITING_PAYMENT,
            }
        )
    await orders.database["orders"].delete_many({})
    await orders.database["orders"].insert_many(documents)
    return History(orders, documents)


FILTERS: dict[str, Any] = {
    "user_id": ZOE.id,
    "email": ZOE.email,
    "number": "N0040-XXXXX",
    "status": OrderStatus.PAID,
    "placed_after": day(1),
    "placed_before": day(30),
}
COMBINATIONS = [
    {name: value for (name, value), given in zip(FILTERS.items(), chosen, strict=True) if given}
    for chosen in product([False, True], repeat=len(FILTERS))
]


async def test_every_combination_of_filters_finds_what_matches_and_reads_nothing_else(
    history: History,
) -> None:
    async with reading_no_more_than(history.orders.database, most=3 * (LIMIT + 1)):
        for filters in COMBINATIONS:
            asked = ListOrders(limit=LIMIT, actor=ADMIN, **filters)
            expected = history.matching(asked)

            first = await history.orders.list(asked)
            more = msgspec.structs.replace(asked, cursor=first.next_cursor)
            later = (await history.orders.list(more)).data if first.next_cursor else []

            found = [each.id for each in (*first.data, *later)]
            assert found == expected[: 2 * LIMIT], filters


async def test_pages_of_a_filtered_list_show_each_order_once(history: History) -> None:
    asked = ListOrders(
        limit=4, email=ZOE.email, placed_after=day(2), placed_before=day(10), actor=ADMIN
    )
    seen: list[str] = []
    page = await history.orders.list(asked)
    while True:
        seen += [each.id for each in page.data]
        if page.next_cursor is None:
            break
        page = await history.orders.list(msgspec.structs.replace(asked, cursor=page.next_cursor))

    assert seen == history.matching(asked)
    assert len(seen) == 9


async def test_a_cursor_of_another_list_does_not_widen_the_dates(history: History) -> None:
    newest = (await history.orders.list(ListOrders(limit=1, actor=ADMIN))).next_cursor
    asked = ListOrders(limit=2, placed_before=day(1), cursor=newest, actor=ADMIN)

    page = await history.orders.list(asked)

    assert [each.id for each in page.data] == history.matching(asked)[:2]


async def test_dates_before_there_were_clocks_are_no_error(history: History) -> None:
    long_ago = datetime(1, 1, 2, tzinfo=UTC)

    after = await history.orders.list(ListOrders(limit=1, placed_after=long_ago, actor=ADMIN))
    before = await history.orders.list(ListOrders(limit=1, placed_before=long_ago, actor=ADMIN))

    assert (len(after.data), len(before.data)) == (1, 0)


@pytest.mark.parametrize("filters", [{"email": ZOE.email}, {"number": "N0040-XXXXX"}])
async def test_no_filter_shows_a_customer_the_orders_of_others(
    history: History, filters: dict[str, Any]
) -> None:
    asked = ListOrders(limit=10, actor=Actor(user_id=EVE.id), **filters)

    assert (await history.orders.list(asked)).data == []
