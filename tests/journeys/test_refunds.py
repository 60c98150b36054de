"""Refunds, whole and in part. The provider fails some, and customers' banks dispute some."""

from typing import Any

import pytest
from msgspec import json

from cartwheel.local.up import System

from ..table_scans import verify_reads_all
from ..waiting import eventually
from .command_line import cartwheel
from .outside import mailed, provider
from .shop import Answer, Customer, Shelf
from .test_ending import cancel, lines, payment_comes_to
from .test_operations_mail import OPERATIONS

PART = {"amount": 1999, "currency": "USD"}
WHOLE = 2 * 1999


class Sale:
    """Two robots that a customer has paid."""

    def __init__(self, admin: Customer, customer: Customer, order: Any, payment: Any) -> None:
        self.admin = admin
        self.customer = customer
        self.order = order
        self.payment = payment

    @property
    def refunds(self) -> str:
        return f"/payments/{self.payment['id']}/refunds"

    async def refund(self, *, key: str | None = None, **body: Any) -> Answer:
        return await self.admin.post(self.refunds, {"reason": "One is broken.", **body}, key=key)

    async def comes_to(self, status: str) -> Any:
        return await payment_comes_to(self.customer, self.payment, status)


@pytest.fixture
async def sale(admin: Customer, customer: Customer, shelf: Shelf) -> Sale:
    order = (await customer.order(await shelf.put_up(), 2)).made
    payment = (await customer.pay(order)).made
    await customer.sees(order, "PAID")
    return Sale(admin, customer, order, payment)


async def at_the_provider(system: System, path: str, body: object) -> Any:
    async with (
        provider(system) as http,
        http.post(path, json=body, raise_for_status=True) as response,
    ):
        return await response.json()


async def test_a_part_is_refunded_and_the_customer_is_told(system: System, sale: Sale) -> None:
    made = await sale.refund(amount=PART, key="ticket")
    again = await sale.refund(amount=PART, key="ticket")
    other = await sale.refund(amount={**PART, "amount": 1}, key="ticket")

    await sale.comes_to("PARTIALLY_REFUNDED")
    assert made.made == again.made
    assert again.replayed
    other.refused(422, "idempotency_key_reused")
    seen = (await sale.customer.get(f"{sale.refunds}/{made.made['id']}")).found
    assert (seen["status"], seen["amount"]) == ("SUCCEEDED", PART)
    assert await lines(system, sale.payment) == [("charge", WHOLE), ("refund", 1999)]

    async def order_knows() -> None:
        order = await sale.customer.sees(sale.order, "PAID")
        assert order["refunded"] == PART

    await eventually(order_knows)
    subjects = {mail["Subject"] for mail in await mailed(system, sale.customer.email, count=2)}
    assert f"Order {sale.order['number']}: your money is on its way back" in subjects


async def test_what_is_left_is_told_and_then_refunded_and_the_order_canceled(
    system: System, sale: Sale, shelf: Shelf
) -> None:
    pieces = [{"product_id": sale.order["lines"][0]["product_id"], "quantity": 1}]
    await sale.refund(lines=pieces)
    too_much = await sale.refund(amount={**PART, "amount": 2000})
    too_much.refused(409, "refund_exceeds_capture")
    assert too_much.body["left"] == PART

    assert (await sale.refund()).status == 201

    await sale.comes_to("REFUNDED")
    order = await sale.customer.sees(sale.order, "CANCELED")
    assert order["refunded"] == {**PART, "amount": WHOLE}
    await shelf.comes_to({"id": pieces[0]["product_id"]}, available=10)
    assert await lines(system, sale.payment) == [
        ("charge", WHOLE),
        ("refund", 1999),
        ("refund", 1999),
    ]


async def test_a_cancel_refunds_the_rest(system: System, sale: Sale) -> None:
    await sale.refund(amount=PART)
    assert (await cancel(sale.admin, sale.order, {"reason": "Sold out."})).status == 200

    await sale.comes_to("REFUNDED")
    assert sum(
        amount for kind, amount in await lines(system, sale.payment) if kind == "refund"
    ) == (WHOLE)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": {"amount": 1, "currency": "EUR"}}, "amount.currency"),
        ({"lines": [{"product_id": "prd_none", "quantity": 1}]}, "lines[0]"),
        ({"amount": PART, "lines": [{"product_id": "prd_none", "quantity": 1}]}, "lines"),
        ({"reason": "two\nlines"}, "reason"),
        ({"lines": [{"product_id": "prd_none", "quantity": 0}]}, "lines[0].quantity"),
    ],
)
async def test_a_refund_that_makes_no_sense_names_its_field(
    sale: Sale, body: dict[str, Any], field: str
) -> None:
    assert (await sale.refund(**body)).refused(422) == [field]


async def test_awaited_cash_is_not_refunded(
    admin: Customer, customer: Customer, shelf: Shelf
) -> None:
    order = (await customer.order(await shelf.put_up())).made
    payment = (await customer.pay(order, {"type": "cash_on_delivery"})).made

    refused = await Sale(admin, customer, order, payment).refund()

    refused.refused(409, "payment_not_captured")


async def test_a_refund_that_comes_back_needs_a_person_who_pays_in_another_way(
    system: System, sale: Sale
) -> None:
    """The order is canceled, so it does not want the money."""
    await cancel(sale.admin, sale.order, {"reason": "Sold out."})
    [refund] = (await sale.comes_to("REFUNDED"))["refunds"]

    await at_the_provider(system, f"/v1/refunds/{refund['id']}/fail", {"code": "account_closed"})

    [failed] = (await sale.comes_to("PAID"))["refunds"]
    assert (failed["status"], failed["failure"]["code"]) == ("FAILED", "account_closed")
    payment_id = sale.payment["id"]
    async with verify_reads_all(system):
        ran = await cartwheel(system, "verify", "--json")
    assert ran.status == 0, ran.output + ran.errors
    named = json.decode(ran.output)["noticed"]["needing_a_person"]["first"]
    assert [each for each in named if payment_id in each] == [f"{payment_id} for 0 h"]

    why = ("--reason", "By bank transfer.", "--by-other-means", "--key", "transfer", "--json")
    paid_back = await cartwheel(system, "refund", payment_id, *why)
    again = await cartwheel(system, "refund", payment_id, *why)

    assert paid_back.status == 0, paid_back.errors
    assert json.decode(paid_back.output) == json.decode(again.output)
    assert json.decode(paid_back.output)["status"] == "SUCCEEDED"
    await sale.comes_to("REFUNDED")
    assert [kind for kind, _ in await lines(system, sale.payment)] == [
        "charge",
        "refund",
        "refund_failed",
    ]


async def test_the_command_line_refunds_an_amount_and_pieces(system: System, sale: Sale) -> None:
    payment_id, product_id = sale.payment["id"], sale.order["lines"][0]["product_id"]
    for wrong in ("0.001", "many", "-1", "NaN", "99.99"):
        ran = await cartwheel(system, "refund", payment_id, "--reason", "x", f"--amount={wrong}")
        assert (ran.status, len(ran.errors.splitlines())) == (1, 1), ran.errors

    part = await cartwheel(system, "refund", payment_id, "--reason", "x", "--amount", "0.01")
    line = f"--line={product_id}=1"
    pieces = await cartwheel(system, "refund", payment_id, "--reason", "x", line)

    assert part.output.endswith("0.01 USD, PENDING\n"), part.errors
    assert pieces.output.endswith("19.99 USD, PENDING\n"), pieces.errors


@pytest.mark.parametrize(("decision", "left"), [("won", WHOLE), ("lost", WHOLE - 500)])
async def test_a_dispute_holds_up_refunds_until_it_is_decided(
    system: System, sale: Sale, decision: str, left: int
) -> None:
    new = {"payment_id": sale.payment["id"], "amount": 500}
    dispute = await at_the_provider(system, "/v1/disputes", new)

    async def disputed() -> None:
        found = (await sale.customer.get(f"/payments/{sale.payment['id']}")).found
        assert [each["status"] for each in found["disputes"]] == ["NEEDS_RESPONSE"]

    await eventually(disputed)
    (await sale.refund(amount=PART)).refused(409, "payment_disputed")
    assert (await cancel(sale.admin, sale.order, {"reason": "Sold out."})).status == 200
    listed = await cartwheel(system, "disputes", "--status", "NEEDS_RESPONSE", "--json")
    assert sale.payment["id"] in {each["id"] for each in json.decode(listed.output)}
    assert [kind for kind, _ in await lines(system, sale.payment)] == ["charge", "dispute_opened"]

    await at_the_provider(system, f"/v1/disputes/{dispute['id']}/close", {"status": decision})

    status = "REFUNDED" if decision == "won" else "PARTIALLY_REFUNDED"
    found = await sale.comes_to(status)
    assert [each["amount"]["amount"] for each in found["refunds"]] == [left]
    assert [each["status"] for each in found["disputes"]] == [decision.upper()]


async def test_operations_are_mailed_when_a_dispute_is_opened_and_decided(
    system: System, sale: Sale
) -> None:
    dispute = await at_the_provider(system, "/v1/disputes", {"payment_id": sale.payment["id"]})
    await at_the_provider(system, f"/v1/disputes/{dispute['id']}/close", {"status": "lost"})

    async def told() -> list[Any]:
        ran = await cartwheel(system, "mail", "--to", OPERATIONS, "--json", "--limit", "100")
        found = [each for each in json.decode(ran.output) if sale.payment["id"] in each["text"]]
        assert [each["status"] for each in found] == ["SENT", "SENT"], found
        return sorted(each["subject"] for each in found)

    payment_id = sale.payment["id"]
    assert await eventually(told, within=30) == [
        f"Payment {payment_id} is disputed",
        f"Payment {payment_id}: a dispute was decided",
    ]
