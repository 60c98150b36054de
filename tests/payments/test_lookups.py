"""Finding payments: by customer, order, method, status, provider, amount and date, in every
combination."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import ListPayments, Method, PaymentStatus
from cartwheel.kernel.mongodb import Document

from ..explained import reading_no_more_than
from .conftest import Payments, Shop
from .examples import ADMIN, EVE, ZOE, create

MANY = 1_200
LIMIT = 4
FIRST_DAY = datetime(2026, 3, 1, tzinfo=UTC)


class History(NamedTuple):
    """Payments made an hour apart, oldest first: one in twenty is Zoë's, the others are Eve's. Of
    Zoë's the oldest ten are by card and PAID, the others await cash; Eve's are by card, every third
    REJECTED. An order has three payments. Amounts differ, and some cards were charged by a provider
    that the shop has left."""

    payments: Payments
    documents: list[Document]

    def matching(self, request: ListPayments) -> list[str]:
        """Return the ids that `request` asks for, newest first, by looking at each payment."""
        return [
            each["_id"]
            for n, each in reversed(list(enumerate(self.documents)))
            if all(
                value is None or each[name] == value
                for name in ("user_id", "order_id", "method", "status", "provider")
                if (value := getattr(request, name)) is not None
            )
            and (request.amount is None or each["amount"] == msgspec.to_builtins(request.amount))
            and (request.created_after is None or moment(n) >= request.created_after)
            and (request.created_before is None or moment(n) < request.created_before)
        ]


def moment(number: int) -> datetime:
    return FIRST_DAY + timedelta(hours=number)


def described(number: int) -> Document:
    """Return what tells the payment of this number from others."""
    zoes = number % 20 == 0
    by_card = not zoes or number < 200
    status = PaymentStatus.PAID if by_card else PaymentStatus.AWAITING_PAYMENT
    if not zoes and number % 3 == 0:
        status = PaymentStatus.REJECTED
    provider = "left" if number // 20 % 4 == 2 else "simulator"
    return {
        "amount": {"amount": 1000 + number // 20 % 3, "currency": "USD"},
        "provider": provider if by_card else "cash",
        "_id": f"pay_{int(moment(number).timestamp() * 1000):012x}7{number:019x}",
        "request_id": str(number),
        "order_id": f"ord_zoe_{number // 60}" if zoes else f"ord_eve_{number // 3}",
        "user_id": ZOE.user_id if zoes else EVE.user_id,
        "method": Method.CARD if by_card else Method.CASH_ON_DELIVERY,
        "status": status,
        "live": False,
        "attempt": None,
    }


@pytest.fixture(autouse=True)
def _deadline() -> None:
    """No deadline: each test here makes many requests."""


@pytest.fixture
async def history(payments: Payments, shop: Shop) -> History:
    await payments.create(create(await shop.order()))
    [pattern] = await payments.database["payments"].find().to_list()
    documents: list[Document] = [{**pattern, **described(number)} for number in range(MANY)]
    await payments.database["payments"].delete_many({})
    await payments.database["payments"].insert_many(documents)
    return History(payments, documents)


PAID_BY_CARD: dict[str, Any] = {
    "user_id": ZOE.user_id,
    "order_id": "ord_zoe_1",
    "method": Method.CARD,
    "status": PaymentStatus.PAID,
    "provider": "simulator",
    "amount": Money(1000, "USD"),
    "created_after": moment(24),
    "created_before": moment(700),
}
AWAITED_CASH = PAID_BY_CARD | {
    "order_id": "ord_zoe_9",
    "method": Method.CASH_ON_DELIVERY,
    "status": PaymentStatus.AWAITING_PAYMENT,
    "provider": "cash",
}
SCANS = len(Method) * len(PaymentStatus) * 3
"""Scans that MongoDB merges at most: one for each method, status and provider."""


def combinations(filters: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: value for (name, value), given in zip(filters.items(), chosen, strict=True) if given}
        for chosen in product([False, True], repeat=len(filters))
    ]


@pytest.mark.parametrize("given", [PAID_BY_CARD, AWAITED_CASH], ids=["card", "cash"])
async def test_every_combination_of_filters_finds_what_matches_and_reads_nothing_else(
    history: History, given: dict[str, Any]
) -> None:
    async with reading_no_more_than(history.payments.database, most=3 * (LIMIT + 1), merging=SCANS):
        for filters in combinations(given):
            asked = ListPayments(limit=LIMIT, actor=ADMIN, **filters)
            expected = history.matching(asked)

            first = await history.payments.page(asked)
            more = msgspec.structs.replace(asked, cursor=first.next_cursor)
            later = (await history.payments.page(more)).data if first.next_cursor else []

            found = [each.id for each in (*first.data, *later)]
            assert found == expected[: 2 * LIMIT], filters


async def test_no_filter_shows_a_customer_the_payments_of_others(history: History) -> None:
    asked = ListPayments(limit=100, method=Method.CASH_ON_DELIVERY, actor=EVE)

    assert (await history.payments.page(asked)).data == []
