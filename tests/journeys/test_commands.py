"""The `cartwheel` commands, as an operator uses them."""

import asyncio
from typing import Any

import msgspec
from msgspec import json

from cartwheel.local.demo_users import PASSWORD, SIGN_UP_CODE
from cartwheel.local.up import System

from .command_line import cartwheel
from .shop import Customer, Shelf, Shop, new_product


async def test_the_demo_ends_with_a_paid_order_and_its_mail(system: System) -> None:
    ran = await cartwheel(system, "demo")

    assert ran.status == 0, ran.output + ran.errors
    for shown in ("Sign up", "Confirm", "Log in", "Place an order", "Pay by card", "The mail"):
        assert shown in ran.output
    assert f"with the code {SIGN_UP_CODE}" in ran.output
    assert "payment received" in ran.output
    assert "PAID" in ran.output.splitlines()[-1]
    assert ran.errors == ""


async def test_the_command_line_makes_a_user_an_admin(
    system: System, shop: Shop, customer: Customer
) -> None:
    (await customer.post("/products", new_product())).refused(403)

    granted, nobody = await asyncio.gather(
        cartwheel(system, "admin", "grant", customer.email.upper()),
        cartwheel(system, "admin", "grant", "nobody@example.com"),
    )
    promoted = await shop.log_in(customer.email, PASSWORD)

    assert granted.status == 0, granted.errors
    assert (await promoted.post("/products", new_product())).made
    assert nobody.status == 1
    assert len(nobody.errors.splitlines()) == 1
    assert "nobody has signed up as nobody@example.com" in nobody.errors


async def test_the_command_line_shows_disables_and_promotes_users(
    system: System, shop: Shop, customer: Customer
) -> None:
    async def users(*arguments: str) -> Any:
        ran = await cartwheel(system, "users", *arguments, "--json")
        assert ran.status == 0, ran.errors
        return msgspec.json.decode(ran.output)

    [listed] = await users("list", "--email", customer.email.upper())
    assert (listed["id"], listed["enabled"]) == (customer.id, True)
    assert (await users("grant", customer.email))["groups"] == ["admin"]
    promoted = await shop.log_in(customer.email, PASSWORD)
    assert (await promoted.get(f"/users/{customer.id}")).found == await users("show", customer.id)
    assert (await users("revoke", customer.id, "admin"))["groups"] == []
    assert (await users("disable", customer.email))["enabled"] is False
    refused = await shop.call(
        "POST", "/auth/login", {"email": customer.email, "password": PASSWORD}
    )
    refused.refused(401, "wrong_credentials")
    assert (await users("enable", customer.id))["enabled"] is True
    await shop.log_in(customer.email, PASSWORD)


async def test_the_command_line_tells_in_a_line_what_it_has_done_or_cannot_do(
    system: System, customer: Customer
) -> None:
    shown, disabled, nobody, nowhere = [
        await cartwheel(system, "users", *arguments)
        for arguments in (
            ("show", customer.email),
            ("disable", customer.email),
            ("enable", "nobody@example.com"),
            ("grant", customer.id, "nobility"),
        )
    ]

    assert shown.status == 0
    assert customer.email in shown.output
    assert customer.id in shown.output
    assert f"{customer.email} is disabled" in disabled.output
    assert "up to an hour" in disabled.output
    for ran, why in (
        (nobody, "There is no such user."),
        (nowhere, "There is no such group."),
    ):
        assert (ran.status, ran.output) == (1, "")
        assert len(ran.errors.splitlines()) == 1
        assert why in ran.errors


async def test_setup_may_be_repeated_while_everything_runs(
    system: System, customer: Customer
) -> None:
    ran, help_ = await asyncio.gather(cartwheel(system, "setup"), cartwheel(system, "--help"))

    assert ran.status == 0, ran.errors
    assert ran.output.count("up to date") == 5
    assert (await customer.get("/products")).status == 200
    assert help_.status == 0
    for command in ("up", "down", "reset", "setup", "demo", "mail", "users", "admin"):
        assert f" {command} " in help_.output


async def test_an_operator_sees_an_order_by_its_number_and_cancels_it(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up(name="Tin robot"))).made
    payment = (await customer.pay(order)).made
    await customer.sees(order, "PAID")
    spoken = order["number"].replace("-", " ").lower()

    canceled = await cartwheel(system, "orders", "cancel", spoken, "--reason", "Sold by mistake.")
    shown = await cartwheel(system, "orders", "show", spoken)
    in_full = await cartwheel(system, "orders", "show", order["id"], "--json")
    unknown = await cartwheel(system, "orders", "show", "00000-00000")
    mistyped = await cartwheel(system, "orders", "show", "robot")

    assert canceled.status == 0, canceled.errors
    assert canceled.output == f"✓ {order['number']} is CANCELED\n"
    assert shown.status == 0, shown.errors
    assert shown.output.startswith(f"{order['number']}: CANCELED\n")
    for told in (customer.email, "19.99 USD", payment["id"], "Sold by mistake.", "Tin robot"):
        assert told in shown.output
    whole = json.decode(in_full.output)
    assert whole["order"]["id"] == order["id"]
    assert [each["id"] for each in whole["payments"]] == [payment["id"]]
    assert {entry["type"] for entry in whole["timeline"]} >= {
        "order.placed.v1",
        "payment.captured.v1",
        "order.paid.v1",
        "order.canceled.v1",
    }
    assert whole["timeline"] == sorted(whole["timeline"], key=lambda entry: entry["at"])
    assert (unknown.status, unknown.errors) == (1, "✗ There is no order 00000-00000.\n")
    assert mistyped.status == 2


async def test_payments_are_compared_with_the_providers_ledger(system: System) -> None:
    nothing = await cartwheel(system, "payments", "reconcile", "--day", "2026-01-02")
    as_json = await cartwheel(system, "payments", "reconcile", "--dry-run", "--json")
    mistyped = await cartwheel(system, "payments", "reconcile", "--day", "yesterday")

    assert nothing.status == 0, nothing.errors
    assert nothing.output.startswith("0 payments from 2026-01-02 00:00 to 2026-01-03 00:00 UTC,")
    assert nothing.output.endswith(" 0 differences\n")
    # Other tests may have left differences.
    found = json.decode(as_json.output)
    assert as_json.status == (1 if found["count"] else 0)
    assert found["left"] == found["count"]
    assert (mistyped.status, "--day" in mistyped.errors) == (2, True)
