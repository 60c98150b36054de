"""A shop that charges cards at shipment, through HTTP: captured, voided, lapsed, and refused."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from msgspec import json

from cartwheel.local.up import System, running

from ..beside import beside
from ..simulator.browsing import browse
from ..table_scans import verify_reads_all
from ..waiting import eventually
from .command_line import cartwheel
from .outside import mailed, mails, provider
from .shop import CHALLENGED_CARD, Customer, Shelf, by_card, open_shop
from .test_ending import lines, payment_comes_to
from .test_goods import parcel, stock_comes_to
from .test_operations_mail import OPERATIONS

WHY = {"reason": "Sold out."}
PRICE = 1999


class Place(msgspec.Struct, frozen=True):
    """The shop, and who runs it."""

    system: System
    admin: Customer
    shelf: Shelf


class Sale(msgspec.Struct, frozen=True):
    """Two robots whose money is reserved."""

    place: Place
    customer: Customer
    robot: Any
    order: Any
    payment: Any

    @property
    def path(self) -> str:
        return f"/orders/{self.order['id']}"

    async def ship(self, quantity: int = 2, *, key: str | None = None) -> Any:
        path = f"{self.path}/shipments"
        return await self.place.admin.post(path, parcel(self.robot, quantity), key=key)

    async def lines(self) -> list[tuple[str, int]]:
        return await lines(self.place.system, self.payment)

    async def at_the_provider(self, path: str, body: object = None) -> None:
        async with (
            provider(self.place.system) as http,
            http.post(path, json=body, raise_for_status=True),
        ):
            pass

    async def shelf_is(self, **stock: int) -> None:
        await stock_comes_to(self.place.admin, self.robot, **stock)


@pytest.fixture(scope="module")
async def place(system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    """At the end, the promises hold for all that the tests have left."""
    home = tmp_path_factory.mktemp("shipment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARD_CAPTURE", "shipment")
        async with beside(system, "shipment") as shared:
            given = {
                **shared.given,
                "MONGODB_URI": system.environment["MONGODB_URI"],
                "MONGODB_DATABASE_PREFIX": "shipment-",
            }
            async with running(home, given=given) as started, open_shop(started.url) as shop:
                admin = await shop.admin()
                yield Place(started, admin, Shelf(admin))
                async with verify_reads_all(system):
                    ran = await cartwheel(started, "verify")
                assert ran.status == 0, ran.output + ran.errors


@pytest.fixture
async def sale(place: Place) -> Sale:
    customer = await place.admin.shop.sign_up()
    robot = await place.shelf.put_up(stock=10, amount=PRICE)
    order = (await customer.order(robot, 2)).made
    payment = (await customer.pay(order)).made
    assert (payment["status"], payment["authorized"]) == ("AUTHORIZED", order["total"])
    order = await customer.sees(order, "AUTHORIZED")
    assert order["expires_at"] is None
    return Sale(place, customer, robot, order, payment)


async def test_the_first_parcel_captures_all_and_the_second_nothing(sale: Sale) -> None:
    await sale.shelf_is(available=8, reserved=2)

    first = (await sale.ship(1, key="first")).made
    again = await sale.ship(1, key="first")

    assert again.replayed
    assert again.made == first
    assert (await sale.customer.get(sale.path)).found["status"] == "PAID"
    await payment_comes_to(sale.customer, sale.payment, "PAID")
    await sale.ship(1)
    await sale.shelf_is(available=8, sold=2)
    assert await sale.lines() == [("authorization", 2 * PRICE), ("capture", 2 * PRICE)]
    mails = await mailed(sale.place.system, sale.customer.email, count=3)
    assert [mail["Subject"].partition(": ")[2] for mail in mails].count("payment received") == 1


async def test_what_was_captured_is_refunded_like_any_other_payment(sale: Sale) -> None:
    await sale.ship()
    refund = {"reason": "Broken.", "amount": {"amount": PRICE, "currency": "USD"}}

    await sale.place.admin.post(f"/payments/{sale.payment['id']}/refunds", refund)

    await payment_comes_to(sale.customer, sale.payment, "PARTIALLY_REFUNDED")
    assert (await sale.lines())[1:] == [("capture", 2 * PRICE), ("refund", PRICE)]


async def test_what_the_customer_approves_is_captured_with_the_first_parcel(place: Place) -> None:
    customer = await place.admin.shop.sign_up()
    robot = await place.shelf.put_up(stock=10, amount=PRICE)
    order = (await customer.order(robot, 2)).made
    payment = (await customer.pay(order, by_card(CHALLENGED_CARD))).made
    assert payment["status"] == "REQUIRES_ACTION"

    await browse(payment["next_action"]["url"], "approve")

    await customer.sees(order, "AUTHORIZED")
    reserved = await payment_comes_to(customer, payment, "AUTHORIZED")
    assert (reserved["authorized"], reserved["next_action"]) == (order["total"], None)
    sale = Sale(place, customer, robot, order, payment)
    await sale.ship(2)
    await payment_comes_to(customer, payment, "PAID")
    await sale.shelf_is(available=8, sold=2)
    assert await sale.lines() == [
        ("challenge", 2 * PRICE),
        ("authorization", 2 * PRICE),
        ("capture", 2 * PRICE),
    ]


@pytest.mark.parametrize("by", ["owner", "admin"])
async def test_a_cancel_releases_the_money_and_the_pieces(sale: Sale, by: str) -> None:
    who = sale.customer if by == "owner" else sale.place.admin

    canceled = (await who.post(f"{sale.path}/cancel", WHY)).found

    assert canceled["status"] == "CANCELED"
    payment = await payment_comes_to(sale.customer, sale.payment, "CANCELED")
    assert payment["failure"]["code"] == "order_canceled"
    await sale.shelf_is(available=10)
    assert await sale.lines() == [("authorization", 2 * PRICE), ("void", 2 * PRICE)]
    (await sale.ship()).refused(409, "not_paid")
    [mail] = await mailed(sale.place.system, sale.customer.email)
    assert mail["Subject"].endswith("canceled")


async def test_an_authorization_that_lapses_early_cancels_the_order(place: Place) -> None:
    customer = await place.admin.shop.sign_up()
    robot = await place.shelf.put_up(stock=10)
    order = (await customer.order(robot)).made
    async with provider(place.system) as http:
        fault = {"kind": "lapses_early", "seconds": 1}
        async with http.post("/v1/faults", json=fault, raise_for_status=True):
            payment = (await customer.pay(order)).made

    await customer.sees(order, "CANCELED")

    found = await payment_comes_to(customer, payment, "CANCELED")
    assert found["failure"]["code"] == "authorization_lapsed"
    await stock_comes_to(place.admin, robot, available=10)
    [mail] = await mailed(place.system, customer.email)
    assert "It was not shipped before the reservation of its money ended." in mail["BodyText"]


async def test_a_lapse_that_nobody_was_told_of_refuses_the_parcel(sale: Sale) -> None:
    await sale.at_the_provider(f"/v1/payments/{sale.payment['id']}/lapse")

    (await sale.ship()).refused(409)

    await sale.customer.sees(sale.order, "CANCELED")
    assert await sale.lines() == [("authorization", 2 * PRICE), ("lapse", 2 * PRICE)]


async def test_a_refused_capture_is_answered_and_mailed_and_can_be_tried_again(
    sale: Sale,
) -> None:
    before = len(await mailed_about(sale))
    fault = {"kind": "capture_fails", "on": "capture", "payment_id": sale.payment["id"]}
    await sale.at_the_provider("/v1/faults", fault)

    (await sale.ship(key="parcel")).refused(409, "capture_failed")

    order = (await sale.customer.get(sale.path)).found
    assert (order["status"], order["shipments"]) == ("AUTHORIZED", [])

    async def is_mailed() -> None:
        assert len(await mailed_about(sale)) == before + 1

    await eventually(is_mailed)
    assert (await sale.ship(key="parcel")).made["status"] == "SHIPPED"
    assert await sale.lines() == [("authorization", 2 * PRICE), ("capture", 2 * PRICE)]


async def mailed_about(sale: Sale) -> list[Any]:
    return [
        mail
        for mail in await mails(sale.place.system, OPERATIONS)
        if mail["Subject"] == f"Payment {sale.payment['id']} could not be captured"
    ]


async def test_what_was_called_off_before_is_not_captured(sale: Sale) -> None:
    path = f"{sale.path}/call-offs"
    off = {**parcel(sale.robot, 1), **WHY}
    (await sale.customer.post(path, off)).refused(403, "forbidden")
    first = (await sale.place.admin.post(path, off, key="off")).found
    again = (await sale.place.admin.post(path, off, key="off")).found
    (await sale.place.admin.post(path, off, key="more")).refused(409, "invalid_transition")

    assert first == again
    assert [each["refund_id"] for each in first["called_off"]] == [None]
    await sale.shelf_is(available=9, reserved=1)
    (await sale.ship(2)).refused(409, "nothing_left_to_ship")
    assert (await sale.ship(1)).status == 201
    await payment_comes_to(sale.customer, sale.payment, "PAID")
    await sale.shelf_is(available=9, sold=1)
    assert await sale.lines() == [("authorization", 2 * PRICE), ("capture", PRICE)]
    (await sale.place.admin.post(path, off)).refused(409, "invalid_transition")


async def test_a_parcel_and_a_cancel_at_once_end_in_one_of_the_two(place: Place) -> None:
    async def one() -> tuple[Sale, Any, Any]:
        customer = await place.admin.shop.sign_up()
        robot = await place.shelf.put_up(stock=10, amount=PRICE)
        order = (await customer.order(robot, 2)).made
        payment = (await customer.pay(order)).made
        await customer.sees(order, "AUTHORIZED")
        sale = Sale(place, customer, robot, order, payment)
        shipped, canceled = await asyncio.gather(
            sale.ship(), customer.post(f"{sale.path}/cancel", WHY)
        )
        return sale, shipped, canceled

    for sale, shipped, canceled in await asyncio.gather(*(one() for _ in range(4))):
        assert (shipped.status == 201) != (canceled.status == 200), (shipped.text, canceled.text)
        if shipped.status == 201:
            assert (await sale.customer.get(sale.path)).found["status"] == "PAID"
            assert [kind for kind, _ in await sale.lines()] == ["authorization", "capture"]
            continue

        async def released(sale: Sale = sale) -> None:
            kinds = [kind for kind, _ in await sale.lines()]
            assert kinds in (["authorization", "void"], ["authorization", "capture", "refund"])

        await eventually(released)
        await sale.shelf_is(available=10)


async def test_the_demo_ships_what_it_has_reserved(place: Place) -> None:
    ran = await cartwheel(place.system, "demo")

    assert ran.status == 0, ran.output + ran.errors
    for told in ("AUTHORIZED, visa 4242", "Ship the order, which charges the card", "is PAID"):
        assert told in ran.output


async def test_the_command_line_shows_until_when_the_money_is_reserved(sale: Sale) -> None:
    shown = await cartwheel(sale.place.system, "orders", "show", sale.order["number"])
    told = await cartwheel(sale.place.system, "orders", "show", sale.order["number"], "--json")

    assert f"{sale.payment['id']}: AUTHORIZED, card, reserved until " in shown.output
    [payment] = json.decode(told.output)["payments"]
    assert payment["capture_before"] == sale.payment["capture_before"]
