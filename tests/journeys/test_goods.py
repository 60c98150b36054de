"""Parcels, returns and what is called off, through HTTP, to the shelf and the mailbox."""

import asyncio
from typing import Any

import pytest
from msgspec import json

from cartwheel.local.up import System

from ..waiting import eventually
from .command_line import cartwheel
from .outside import mailed
from .shop import Customer, Shelf

CASH = {"type": "cash_on_delivery"}
WHY = {"reason": "Out of print."}


def parcel(product: Any, quantity: int, **more: str) -> dict[str, Any]:
    return {"lines": [{"product_id": product["id"], "quantity": quantity}], **more}


async def paid_order(customer: Customer, product: Any, quantity: int) -> Any:
    order = (await customer.order(product, quantity)).made
    await customer.pay(order)
    return await customer.sees(order, "PAID")


async def ship(admin: Customer, order: Any, product: Any, quantity: int) -> Any:
    return (await admin.post(f"/orders/{order['id']}/shipments", parcel(product, quantity))).made


async def stock_comes_to(admin: Customer, product: Any, **wanted: int) -> None:
    """Wait until the product's stock is `wanted`. Numbers that are not given must be 0."""
    zero = {"available": 0, "reserved": 0, "sold": 0, "unshipped": 0}

    async def look() -> None:
        found = (await admin.get(f"/products/{product['id']}")).found["stock"]
        assert found == {**zero, **wanted}

    await eventually(look)


async def subjects(system: System, customer: Customer, order: Any, count: int) -> dict[str, str]:
    """Return the texts of the order's mails by their subjects."""
    mails = await mailed(system, customer.email, count=count)
    begin = f"Order {order['number']}: "
    return {mail["Subject"].removeprefix(begin): mail["BodyText"] for mail in mails}


async def test_an_order_is_shipped_in_parcels_and_a_part_of_it_is_returned(
    system: System, customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=10, name="Tin robot")
    order = await paid_order(customer, robot, 3)
    await stock_comes_to(admin, robot, available=7, sold=3, unshipped=3)
    path = f"/orders/{order['id']}"

    first = await admin.post(
        f"{path}/shipments", parcel(robot, 2, carrier="DHL", tracking="0034"), key="parcel 1"
    )
    again = await admin.post(
        f"{path}/shipments", parcel(robot, 2, carrier="DHL", tracking="0034"), key="parcel 1"
    )
    other = await admin.post(f"{path}/shipments", parcel(robot, 1), key="parcel 1")

    assert again.replayed
    assert first.made == again.made
    other.refused(422, "idempotency_key_reused")
    partly = (await customer.get(path)).found
    assert (partly["status"], partly["fulfillment"]) == (
        "PAID",
        {"status": "PARTIAL", "tracking": "0034"},
    )
    await stock_comes_to(admin, robot, available=7, sold=3, unshipped=1)
    await ship(admin, order, robot, 1)
    too_much = await admin.post(f"{path}/shipments", parcel(robot, 1))
    assert too_much.refused(409, "nothing_left_to_ship") == ["lines[0]"]

    asks = {**parcel(robot, 2), "reason": "One wobbles, one is broken."}
    (await customer.post(f"{path}/returns", asks)).refused(409, "nothing_to_return")
    delivered = f"{path}/shipments/{first.made['id']}/delivered"
    arrived = (await admin.post(delivered)).found
    assert arrived == (await admin.post(delivered)).found
    assert arrived["status"] == "DELIVERED"
    asked = (await customer.post(f"{path}/returns", asks, key="return 1")).made
    back = f"{path}/returns/{asked['id']}"
    (await customer.post(f"{back}/accept")).refused(403, "forbidden")
    accepted = (await admin.post(f"{back}/accept", {"note": "To Wharf Road 3."})).found
    assert accepted["status"] == "ACCEPTED"
    line = {"product_id": robot["id"], "restocked": 1, "written_off": 1}
    received = (await admin.post(f"{back}/receive", {"lines": [line]}, key="arrival 1")).found
    once_more = (await admin.post(f"{back}/receive", {"lines": [line]}, key="arrival 1")).found

    assert received == once_more == (await customer.get(back)).found
    assert received["status"] == "RECEIVED"
    assert received["amount"] == {"amount": 2 * 1999, "currency": "USD"}
    await stock_comes_to(admin, robot, available=8, sold=2)
    told = await subjects(system, customer, order, 6)
    assert "your money is on its way back" in told
    assert "2 x Tin robot" in told["a parcel was delivered"]
    assert "To Wharf Road 3." in told["return accepted"]
    assert (await customer.get(path)).found["status"] == "PAID"


async def test_an_order_that_is_returned_whole_is_refunded(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=10)
    order = await paid_order(customer, robot, 2)
    shipment = await ship(admin, order, robot, 2)
    path = f"/orders/{order['id']}"
    await admin.post(f"{path}/shipments/{shipment['id']}/delivered")
    asked = (await customer.post(f"{path}/returns", {**parcel(robot, 2), **WHY})).made
    back = f"{path}/returns/{asked['id']}"
    await admin.post(f"{back}/accept")

    line = {"product_id": robot["id"], "restocked": 2}
    await admin.post(f"{back}/receive", {"lines": [line]})

    refunded = await customer.sees(order, "REFUNDED")
    assert refunded["fulfillment"]["status"] == "RETURNED"
    assert refunded["refunded"] == order["total"]
    await stock_comes_to(admin, robot, available=10)


async def test_an_admin_calls_off_what_is_not_shipped(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=10)
    order = await paid_order(customer, robot, 3)
    await ship(admin, order, robot, 1)
    path = f"/orders/{order['id']}/cancel"

    (await customer.post(path, WHY)).refused(409, "invalid_transition")
    rest = (await admin.post(path, WHY)).found

    assert (rest["status"], rest["fulfillment"]["status"]) == ("PAID", "SHIPPED")
    [gone] = rest["called_off"]
    assert gone["amount"] == {"amount": 2 * 1999, "currency": "USD"}
    await stock_comes_to(admin, robot, available=9, sold=1)

    whole = await paid_order(customer, robot, 1)
    await ship(admin, whole, robot, 1)
    all_shipped = await admin.post(f"/orders/{whole['id']}/cancel", WHY)
    all_shipped.refused(409, "invalid_transition")


async def test_a_parcel_refused_at_the_door_cancels_its_order(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=10)
    order = (await customer.order(robot, 2)).made
    path = f"/orders/{order['id']}"
    (await admin.post(f"{path}/shipments", parcel(robot, 2))).refused(409, "not_paid")
    payment = (await customer.pay(order, CASH)).made

    async def is_shipped() -> Any:
        partly = await admin.post(f"{path}/shipments", parcel(robot, 1))
        partly.refused(409, "cash_ships_whole")
        return (await admin.post(f"{path}/shipments", parcel(robot, 2))).made

    shipment = await eventually(is_shipped)

    await stock_comes_to(admin, robot, available=8, sold=2)
    assert (await customer.get(path)).found["expires_at"] is None
    (await customer.post(f"{path}/cancel")).refused(409, "invalid_transition")
    (await customer.post(f"/payments/{payment['id']}/cancel")).refused(409, "order_shipped")
    failed = f"{path}/shipments/{shipment['id']}/delivery-failed"
    assert (await admin.post(failed, {"reason": "Refused."})).found["status"] == "FAILED"

    after = await customer.sees(order, "CANCELED")
    assert after["fulfillment"]["status"] == "RETURNED"
    await stock_comes_to(admin, robot, available=10)

    async def ended() -> None:
        found = (await customer.get(f"/payments/{payment['id']}")).found
        assert found["status"] == "CANCELED"

    await eventually(ended)


@pytest.mark.parametrize("lines", [[], [{"product_id": "prd_1", "quantity": 0}], "all"])
async def test_a_parcel_needs_pieces(
    customer: Customer, admin: Customer, shelf: Shelf, lines: object
) -> None:
    order = (await customer.order(await shelf.put_up())).made

    refused = await admin.post(f"/orders/{order['id']}/shipments", {"lines": lines})

    refused.refused(422, "invalid")


async def test_an_operator_ships_and_takes_back_from_the_command_line(
    system: System, customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    robot = await shelf.put_up(stock=10)
    order = await paid_order(customer, robot, 2)
    number = order["number"]

    async def run(*arguments: str) -> Any:
        ran = await cartwheel(system, *arguments, "--json")
        assert ran.status == 0, ran.errors
        return json.decode(ran.output)

    shipped = [
        await run("ship", "parcel", number, "--tracking", "0034", "--key", number) for _ in range(2)
    ]
    assert shipped[0] == shipped[1]
    assert shipped[0]["lines"] == [{"product_id": robot["id"], "quantity": 2}]
    await run("ship", "delivered", number, shipped[0]["id"])
    asks = {**parcel(robot, 1), "reason": "It wobbles."}
    asked = (await customer.post(f"/orders/{order['id']}/returns", asks)).made
    listed, shown, failed = await asyncio.gather(
        run("returns", "list", number),
        cartwheel(system, "returns", "list", number),
        cartwheel(system, "ship", "failed", number, shipped[0]["id"], "--reason", "Nobody home."),
    )
    await run("returns", "accept", number, asked["id"], "--note", "To Wharf Road 3.")
    line = f"{robot['id']}=1,0"
    received = await run("returns", "receive", number, asked["id"], "--line", line)
    beyond = await cartwheel(system, "ship", "parcel", number, "--line", f"{robot['id']}=7")
    late = await cartwheel(
        system, "returns", "decline", number, asked["id"], "--note", "It never came."
    )

    assert listed == [asked]
    assert asked["id"] in shown.output
    assert (failed.status, failed.output) == (1, "")
    assert "What comes back now is a return." in failed.errors
    assert (received["status"], received["amount"]["amount"]) == ("RECEIVED", 1999)
    assert (late.status, late.output) == (1, "")
    assert beyond.errors.endswith("`lines[0]`: only 0 pieces are left to ship.\n")
    await stock_comes_to(admin, robot, available=9, sold=1)
