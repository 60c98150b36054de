"""The timelines of an order and its payments have one form, and tell what caused what."""

from typing import Any

from cartwheel.kernel.mongodb import Client

from ..waiting import eventually
from .shop import DECLINED_CARD, Customer, Shelf, by_card


async def timelines(customer: Customer, order: Any, *payments: Any) -> list[Any]:
    paths = [f"/orders/{order['id']}", *(f"/payments/{each['id']}" for each in payments)]
    return [entry for path in paths for entry in (await customer.get(f"{path}/timeline")).found]


def causes(entries: list[Any]) -> dict[str, str | None]:
    """Return for each type of event the type that caused it."""
    types = {entry["event_id"]: entry["type"] for entry in entries if entry["event_id"]}
    return {
        entry["type"]: types.get(entry["because_of"], entry["because_of"])
        for entry in entries
        if entry["event_id"]
    }


async def test_a_tree_of_causes_can_be_drawn_of_a_purchase_and_its_cancellation(
    customer: Customer, admin: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    declined = (await customer.pay(order, by_card(DECLINED_CARD))).made
    paid = (await customer.pay(order)).made
    await customer.sees(order, "PAID")
    await admin.post(f"/orders/{order['id']}/cancel", {"reason": "Sold by mistake."})

    async def refunded() -> list[Any]:
        found = await timelines(customer, order, declined, paid)
        assert "order.refunded.v1" in {entry["type"] for entry in found}
        return found

    found = await eventually(refunded)

    assert causes(found) == {
        "order.placed.v1": None,
        "payment.declined.v1": None,
        "order.payment_failed.v1": "payment.declined.v1",
        "payment.captured.v1": None,
        "order.paid.v1": "payment.captured.v1",
        "order.canceled.v1": None,
        "order.refund_due.v1": None,
        "payment.refunded.v1": "order.refund_due.v1",
        "order.refunded.v1": "payment.refunded.v1",
    }
    for entry in found:
        assert entry["text"].endswith("."), entry
        assert entry["by"], entry
        assert (len(entry["trace_id"]) == 32) if entry["event_id"] else (entry["type"] != ""), entry
    by_type = {entry["type"]: entry for entry in found}
    assert by_type["order.canceled.v1"]["note"] == "Sold by mistake."
    assert by_type["order.paid.v1"]["trace_id"] == by_type["payment.captured.v1"]["trace_id"]


async def test_a_payment_from_before_events_were_kept_tells_its_steps(
    customer: Customer, shelf: Shelf, client: Client
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order)).made
    await client["payments"]["payments"].update_one(
        {"_id": payment["id"]}, {"$unset": {"history": 1}}
    )

    found = (await customer.get(f"/payments/{payment['id']}/timeline")).found

    assert [(entry["type"], entry["text"], entry["event_id"]) for entry in found] == [
        ("begun", "The customer chose how to pay.", None),
        ("captured", "The money was captured.", None),
    ]
