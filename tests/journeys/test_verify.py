"""After all journeys, the promises hold."""

from cartwheel.local.up import System

from .command_line import cartwheel
from .shop import Customer, Shelf


async def test_all_stored_data_and_charges_keep_the_promises(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    """`cartwheel verify` checks databases and ledger with the data of all other journeys."""
    order = (await customer.order(await shelf.put_up())).made
    await customer.pay(order)
    await customer.sees(order, "PAID")

    ran = await cartwheel(system, "verify")

    assert ran.status == 0, ran.output + ran.errors
    kept = [line.split()[1] for line in ran.output.splitlines() if line.startswith("✓")]
    assert kept == ["2.", "3.", "4.", "5.", "6.", "7.", "11.", "13."], ran.output
