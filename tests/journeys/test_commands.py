"""The `cartwheel` commands, as an operator uses them."""

import asyncio

from cartwheel.local.demo_users import PASSWORD, SIGN_UP_CODE
from cartwheel.local.up import System

from .command_line import cartwheel
from .shop import Customer, Shop, new_product


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


async def test_setup_may_be_repeated_while_everything_runs(
    system: System, customer: Customer
) -> None:
    ran, help_ = await asyncio.gather(cartwheel(system, "setup"), cartwheel(system, "--help"))

    assert ran.status == 0, ran.errors
    assert ran.output.count("up to date") == 4
    assert (await customer.get("/products")).status == 200
    assert help_.status == 0
    for command in ("up", "down", "reset", "setup", "demo", "mail", "admin"):
        assert f" {command} " in help_.output
