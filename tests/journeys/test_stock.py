"""An administrator restocks the shop, counts it, and sees who did what."""

import asyncio
import secrets
from typing import Any

import pytest

from .shop import Customer, Shelf, adjustments


def received(delta: int, **more: object) -> dict[str, Any]:
    return {"delta": delta, "kind": "received", "reason": "Delivery 4711", **more}


async def test_what_was_received_can_be_ordered(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=0)
    (await customer.order(robot)).refused(409, "insufficient_stock")

    made = (await admin.post(adjustments(robot), received(5))).made

    assert (made["before"], made["delta"], made["after"]) == (0, 5, 5)
    assert (made["kind"], made["reason"], made["by"]) == ("received", "Delivery 4711", admin.id)
    assert (await admin.get(f"{adjustments(robot)}/{made['id']}")).found == made
    assert (await customer.order(robot, 5)).made
    assert await shelf.stock(robot) == {"available": 0, "reserved": 5, "sold": 0}


async def test_a_count_finds_what_is_on_the_shelf_and_never_takes_what_is_ordered(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=10)
    sold = (await customer.order(robot, 3)).made
    await customer.pay(sold)
    await customer.order(robot, 2)
    await shelf.comes_to(robot, available=5, reserved=2, sold=3)
    count = {"kind": "stocktake", "reason": "Counted."}

    few = await admin.post(adjustments(robot), {"counted": 4, **count})
    made = (await admin.post(adjustments(robot), {"counted": 8, "expected": 10, **count})).made

    assert few.refused(409, "insufficient_stock") == ["counted"]
    assert (made["before"], made["delta"], made["after"]) == (10, -2, 8)
    assert await shelf.stock(robot) == {"available": 3, "reserved": 2, "sold": 3}
    late = await admin.post(adjustments(robot), {"counted": 8, "expected": 10, **count})
    assert late.refused(409, "stock_changed") == ["expected"]


async def test_the_same_key_adjusts_once_and_is_refused_for_anything_else(
    admin: Customer, shelf: Shelf
) -> None:
    robot, top = await shelf.put_up(stock=1), await shelf.put_up(stock=1)
    key = secrets.token_hex(6)

    answers = await asyncio.gather(
        *(admin.post(adjustments(robot), received(5), key=key) for _ in range(5))
    )
    again = await admin.post(adjustments(robot), received(5), key=key)

    assert len({answer.made["id"] for answer in (*answers, again)}) == 1
    assert again.replayed
    for path, body in ((robot, received(6)), (top, received(5))):
        other = await admin.post(adjustments(path), body, key=key)
        other.refused(422, "idempotency_key_reused")
    assert (await shelf.stock(robot))["available"] == 6
    assert (await shelf.stock(top))["available"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "received", "reason": "Why."}, "delta"),
        (received(1, counted=1), "delta"),
        (received(0), "delta"),
        (received(10**9), "delta"),
        (received(10**9 + 1), "delta"),
        ({"counted": -1, "kind": "stocktake", "reason": "Why."}, "counted"),
        ({"delta": 1, "kind": "stolen", "reason": "Why."}, "kind"),
        ({"delta": 1, "kind": "lost", "reason": ""}, "reason"),
        ({"delta": 1, "kind": "lost", "reason": "Two\nlines."}, "reason"),
    ],
)
async def test_what_says_nothing_or_too_much_is_refused_by_its_field(
    admin: Customer, shelf: Shelf, body: dict[str, Any], field: str
) -> None:
    robot = await shelf.put_up(stock=1)

    refused = await admin.post(adjustments(robot), body)

    assert refused.refused(422, "invalid") == [field]
    assert (await shelf.stock(robot))["available"] == 1


async def test_the_history_is_everything_newest_first(admin: Customer, shelf: Shelf) -> None:
    robot = await shelf.put_up(stock=1)
    made = [(await admin.post(adjustments(robot), received(delta))).made for delta in range(1, 6)]

    assert await admin.everything(adjustments(robot), limit=2) == made[::-1]


async def test_only_administrators_adjust_stock_and_see_who_did(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=1)
    made = (await admin.post(adjustments(robot), received(5))).made

    for answer in (
        await customer.post(adjustments(robot), received(5)),
        await customer.get(adjustments(robot)),
        await customer.get(f"{adjustments(robot)}/{made['id']}"),
    ):
        answer.refused(403, "forbidden")
    assert (await shelf.stock(robot))["available"] == 6


async def test_a_product_that_does_not_exist_is_not_found(admin: Customer) -> None:
    nothing = {"id": "prd_none"}

    (await admin.post(adjustments(nothing), received(1))).refused(404, "product_not_found")
    (await admin.get(adjustments(nothing))).refused(404, "product_not_found")
    nowhere = await admin.get(f"{adjustments(nothing)}/adj_none")
    nowhere.refused(404, "adjustment_not_found")


async def test_the_threshold_of_low_stock_is_given_and_taken_away(
    admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=5)
    path = f"/products/{robot['id']}"

    given = (await admin.patch(path, {"low_stock_at": 3})).found
    taken = (await admin.patch(path, {"low_stock_at": None})).found

    assert (robot["low_stock_at"], given["low_stock_at"], taken["low_stock_at"]) == (None, 3, None)
    refused = await admin.patch(path, {"low_stock_at": -1})
    assert refused.refused(422, "invalid") == ["low_stock_at"]
