"""One request can be followed through every process."""

from pathlib import Path

import msgspec

from cartwheel.local.up import System

from ..waiting import eventually
from .shop import Customer, Shelf


def lines_of(log: Path, trace_id: str) -> list[str]:
    """Return the structured lines of a trace."""
    return [
        line
        for line in log.read_text().splitlines()
        if trace_id in line and msgspec.json.decode(line)["trace_id"] == trace_id
    ]


async def test_an_orders_request_id_is_in_the_logs_of_every_process_that_handled_it(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    answer = await customer.order(await shelf.put_up())

    await followed(system, answer.headers["X-Request-Id"], "gateway", "orders", "products")


async def test_a_payments_request_id_is_in_every_log_up_to_the_mail(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    answer = await customer.pay(order)

    await followed(
        system,
        answer.headers["X-Request-Id"],
        *("gateway", "payments", "orders", "products", "notifications"),
    )


async def test_a_clients_trace_is_continued(
    system: System, customer: Customer, shelf: Shelf
) -> None:
    product = await shelf.put_up()
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    answer = await customer.shop.call(
        "POST",
        "/orders",
        {"items": [{"product_id": product["id"], "quantity": 1}]},
        token=customer.token,
        headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )

    assert answer.headers["X-Request-Id"] == trace_id
    await followed(system, trace_id, "gateway", "orders", "products")


async def followed(system: System, trace_id: str, *processes: str) -> None:
    async def look() -> None:
        silent = [name for name in processes if not lines_of(system.supervisor.log(name), trace_id)]
        assert silent == []

    await eventually(look, within=3)
