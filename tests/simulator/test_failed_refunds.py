"""Refunds that fail, and disputes: what the ledger and the webhooks say of them."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    DisputeStatus,
    RefundStatus,
    ReportDispute,
    ReportRefund,
)
from cartwheel.kernel import new_id, utc_now
from cartwheel.providers.port import REFUNDED
from cartwheel.providers.simulator import webhook
from cartwheel.providers.simulator.client import SimulatorCards
from cartwheel.simulator.webhooks import sign

from .conftest import WEBHOOK_SECRET, Answer, Receiver, Simulator

PRICE = Money(1999, "USD")


@pytest.fixture
async def paid(simulator: Simulator, payment_id: str) -> str:
    status, _ = await simulator.confirm(await simulator.intent(payment_id))
    assert status == 200
    return payment_id


async def refund(simulator: Simulator, payment_id: str, refund_id: str, amount: int) -> Answer:
    new = {"payment_id": payment_id, "refund_id": refund_id, "amount": amount}
    return await simulator.post("/v1/refunds", new)


async def lines(simulator: Simulator, payment_id: str) -> list[tuple[Any, ...]]:
    return [
        (line["kind"], line["amount"], line.get("refund_id") or line.get("dispute_id"))
        for line in (await simulator.entries(payment_id))[1:]
    ]


def told(event: Any) -> object:
    """Return what the gateway reads from a webhook."""
    body = msgspec.json.encode(event)
    headers = {"simulator-signature": sign(WEBHOOK_SECRET, body, time.time())}
    gateway = Actor.service("gateway")
    return webhook.read(body, headers, secret=WEBHOOK_SECRET, actor=gateway, now=utc_now())


async def test_a_refund_that_comes_back_is_told_once_and_can_be_made_again(
    simulator: Simulator, receiver: Receiver, paid: str
) -> None:
    refund_id = new_id("rfd")
    await refund(simulator, paid, refund_id, 1999)

    first = await simulator.post(f"/v1/refunds/{refund_id}/fail", {"code": "account_closed"})
    again = await simulator.post(f"/v1/refunds/{refund_id}/fail", {})

    assert first == again
    assert (first[0], first[1]["status"]) == (200, "failed")
    _, event = await receiver.wait_for(2, paid)
    report = told(event)
    assert isinstance(report, ReportRefund)
    assert (report.payment_id, report.refund_id, report.amount) == (paid, refund_id, PRICE)
    assert report.failure.code == "account_closed"
    another = new_id("rfd")
    assert (await refund(simulator, paid, another, 1999))[0] == 200
    assert await lines(simulator, paid) == [
        ("refund", 1999, refund_id),
        ("refund_failed", 1999, refund_id),
        ("refund", 1999, another),
    ]


async def test_a_refund_that_fails_at_once_moves_no_money(
    simulator: Simulator, cards: SimulatorCards, paid: str
) -> None:
    refund_id = new_id("rfd")
    await simulator.post("/v1/faults", {"kind": "refund_fails", "on": "refund", "payment_id": paid})

    first = await cards.refund(paid, refund_id, PRICE)
    again = await cards.refund(paid, refund_id, PRICE)

    assert first == again
    assert first.status is RefundStatus.FAILED
    assert first.failure is not None
    assert first.failure.code == "lost_or_stolen_card"
    assert await lines(simulator, paid) == [("refund_failed", 1999, refund_id)]
    assert await cards.refund(paid, new_id("rfd"), PRICE) == REFUNDED


async def test_a_refund_fails_late_on_demand(
    simulator: Simulator, receiver: Receiver, cards: SimulatorCards, paid: str
) -> None:
    late = {"kind": "refund_fails_late", "on": "refund", "payment_id": paid, "seconds": 0.1}
    await simulator.post("/v1/faults", late)

    assert await cards.refund(paid, new_id("rfd"), PRICE) == REFUNDED

    _, event = await receiver.wait_for(2, paid)
    assert event["type"] == "refund.failed"


@pytest.mark.parametrize(("decision", "kind"), [("won", "dispute_won"), ("lost", "dispute_lost")])
async def test_a_dispute_is_opened_and_decided_once(
    simulator: Simulator, receiver: Receiver, paid: str, decision: str, kind: str
) -> None:
    status, dispute = await simulator.post("/v1/disputes", {"payment_id": paid, "amount": 500})
    where = f"/v1/disputes/{dispute['id']}/close"
    first = await simulator.post(where, {"status": decision})
    again = await simulator.post(where, {"status": "won"})

    assert (status, dispute["status"]) == (201, "needs_response")
    assert first == again
    assert first[1]["status"] == decision
    await receiver.wait_for(3, paid)
    reports = [
        each for event in receiver.events(paid) if isinstance(each := told(event), ReportDispute)
    ]
    assert {each.status for each in reports} == {
        DisputeStatus.NEEDS_RESPONSE,
        DisputeStatus(decision.upper()),
    }
    assert {(each.dispute_id, each.amount, each.reason) for each in reports} == {
        (dispute["id"], Money(500, "USD"), "fraudulent")
    }
    assert await lines(simulator, paid) == [
        ("dispute_opened", 500, dispute["id"]),
        (kind, 500, dispute["id"]),
    ]


async def test_a_dispute_may_follow_a_refund_but_not_exceed_the_capture(
    simulator: Simulator, paid: str
) -> None:
    await refund(simulator, paid, new_id("rfd"), 1999)

    assert (await simulator.post("/v1/disputes", {"payment_id": paid}))[1]["amount"] == 1999
    too_much = await simulator.post("/v1/disputes", {"payment_id": paid, "amount": 2000})
    assert (too_much[0], too_much[1]["error"]["code"]) == (409, "amount_too_large")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/refunds/rfd_none/fail", {}, 404, "resource_missing"),
        ("/v1/disputes/dp_none/close", {"status": "won"}, 404, "resource_missing"),
        ("/v1/disputes/dp_none/close", {"status": "drawn"}, 400, "parameter_invalid"),
        ("/v1/disputes", {"payment_id": "pay_none"}, 409, "payment_not_captured"),
        ("/v1/faults", {"kind": "refund_fails"}, 400, "parameter_invalid"),
    ],
)
async def test_what_does_not_exist_neither_fails_nor_is_disputed(
    simulator: Simulator, path: str, body: object, status: int, code: str
) -> None:
    answer = await simulator.post(path, body)

    assert (answer[0], answer[1]["error"]["code"]) == (status, code)


async def test_refunds_at_once_never_exceed_the_capture(simulator: Simulator, paid: str) -> None:
    answers = await asyncio.gather(
        *(refund(simulator, paid, new_id("rfd"), 1200) for _ in range(5))
    )

    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]
