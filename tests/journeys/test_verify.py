"""After all this, the promises hold."""

from cartwheel.local.up import System

from ..table_scans import verify_reads_all
from .command_line import cartwheel
from .shop import Customer, Shelf


async def test_everything_that_is_stored_and_charged_keeps_the_promises(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """`cartwheel verify` compares databases and ledger, with what all other journeys have left."""
    order = (await customer.order(await shelf.put_up())).made
    await customer.pay(order)
    await customer.sees(order, "PAID")

    async with verify_reads_all(system):
        ran = await cartwheel(system, "verify")

    assert ran.status == 0, ran.output + ran.errors
