"""Authorizations at the simulator: captured, voided or lapsed, once."""

import asyncio
import sqlite3
import time
from collections.abc import Callable

import msgspec
import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import ReportAuthorization, ReportVerdict
from cartwheel.kernel import utc_now
from cartwheel.providers.port import Authorized, Captured, CaptureRefused, Charge, Voided
from cartwheel.providers.simulator import webhook
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator
from cartwheel.simulator.webhooks import sign

from .conftest import API_KEY, WEBHOOK_SECRET, Receiver, Simulator

PRICE = Money(1999, "USD")


@pytest.fixture
async def authorized(cards: SimulatorCards, payment_id: str) -> str:
    charge = Charge(payment_id=payment_id, amount=PRICE, token="pm_card_visa", capture=False)
    outcome = await cards.charge(charge)
    assert isinstance(outcome.verdict, Authorized)
    assert outcome.verdict.amount == PRICE
    days = (outcome.verdict.capture_before - utc_now()).total_seconds() / 86_400
    assert 6.9 < days <= 7
    assert await cards.charge(charge) == outcome
    return payment_id


async def lines(simulator: Simulator, payment_id: str) -> list[tuple[str, int]]:
    return [(line["kind"], line["amount"]) for line in await simulator.entries(payment_id)]


def read(event: object) -> object:
    """Return what the gateway reads from a webhook."""
    body = msgspec.json.encode(event)
    headers = {"simulator-signature": sign(WEBHOOK_SECRET, body, time.time())}
    gateway = Actor.service("gateway")
    return webhook.read(body, headers, secret=WEBHOOK_SECRET, actor=gateway, now=utc_now())


async def test_it_is_captured_once_and_each_step_is_told(
    simulator: Simulator, cards: SimulatorCards, receiver: Receiver, authorized: str
) -> None:
    both = await asyncio.gather(*(cards.capture(authorized, PRICE) for _ in range(5)))

    assert {each.verdict for each in both} == {Captured(PRICE)}
    assert await cards.cancel(authorized) == await cards.look_up(authorized) == both[0]
    assert await lines(simulator, authorized) == [("authorization", 1999), ("capture", 1999)]
    first, second = map(read, await receiver.wait_for(2, authorized))
    assert isinstance(first, ReportAuthorization)
    assert isinstance(second, ReportVerdict)
    assert (second.captured, second.amount) == (True, PRICE)


async def test_a_part_is_captured_and_no_more_can_be_refunded(
    simulator: Simulator, cards: SimulatorCards, receiver: Receiver, authorized: str
) -> None:
    part = Money(500, "USD")

    assert (await cards.capture(authorized, part)).verdict == Captured(part)
    assert (await cards.capture(authorized, PRICE)).verdict == Captured(part)

    assert await lines(simulator, authorized) == [("authorization", 1999), ("capture", 500)]
    _, told = map(read, await receiver.wait_for(2, authorized))
    assert isinstance(told, ReportVerdict)
    assert told.amount == part
    refund = {"payment_id": authorized, "refund_id": f"rfd_{authorized}", "amount": 501}
    assert (await simulator.post("/v1/refunds", refund))[0] == 409


async def test_more_than_is_authorized_cannot_be_captured(
    simulator: Simulator, authorized: str
) -> None:
    status, answer = await simulator.post(
        f"/v1/payments/{authorized}/capture", {"amount_to_capture": 2000}
    )

    assert (status, answer["error"]["code"]) == (409, "amount_too_large")
    assert await lines(simulator, authorized) == [("authorization", 1999)]


async def test_what_was_voided_or_has_lapsed_is_not_captured(
    simulator: Simulator, cards: SimulatorCards, receiver: Receiver, authorized: str
) -> None:
    assert (await cards.cancel(authorized)).verdict == Voided()
    status, lapsed = await simulator.post(f"/v1/payments/{authorized}/lapse")

    assert (status, lapsed["status"]) == (200, "canceled")
    assert (await cards.capture(authorized, PRICE)).verdict == Voided()
    assert await lines(simulator, authorized) == [("authorization", 1999), ("void", 1999)]
    assert [event["type"] for event in await receiver.wait_for(2, authorized)] == [
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
    ]


async def test_an_issuer_may_refuse_a_capture_and_pay_later(
    simulator: Simulator, cards: SimulatorCards, authorized: str
) -> None:
    fault = {"kind": "capture_fails", "on": "capture", "payment_id": authorized}
    assert (await simulator.post("/v1/faults", fault))[0] == 201

    with pytest.raises(CaptureRefused) as refused:
        await cards.capture(authorized, PRICE)

    assert refused.value.failure.code == "card_declined"
    assert (await cards.capture(authorized, PRICE)).verdict == Captured(PRICE)


async def test_an_authorization_lapses_early_on_demand(
    simulator: Simulator, cards: SimulatorCards, receiver: Receiver, payment_id: str
) -> None:
    fault = {"kind": "lapses_early", "seconds": 0, "payment_id": payment_id}
    await simulator.post("/v1/faults", fault)
    await cards.charge(
        Charge(payment_id=payment_id, amount=PRICE, token="pm_card_visa", capture=False)
    )

    told = await receiver.wait_for(2, payment_id)

    assert told[-1]["type"] == "payment_intent.canceled"
    assert await lines(simulator, payment_id) == [("authorization", 1999), ("lapse", 1999)]


async def test_it_lapses_by_itself_when_its_time_is_over(
    own_simulator: Callable[[str | None], Simulator],
    payment_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIMULATOR_AUTHORIZATION_SECONDS", "1")
    simulator = own_simulator(None)
    await simulator.start()
    async with open_simulator(simulator.url, API_KEY) as cards:
        await cards.charge(
            Charge(payment_id=payment_id, amount=PRICE, token="pm_card_visa", capture=False)
        )
        await asyncio.sleep(1)

        looked_up = await cards.look_up(payment_id)

        assert looked_up is not None
        assert looked_up.verdict == Voided()
        assert (await cards.capture(payment_id, PRICE)).verdict == Voided()
    assert await lines(simulator, payment_id) == [("authorization", 1999), ("lapse", 1999)]


async def test_nothing_is_captured_that_was_not_authorized(
    simulator: Simulator, payment_id: str
) -> None:
    path = f"/v1/payments/{payment_id}/capture"
    assert (await simulator.post(path, {}))[0] == 404
    intent = await simulator.intent(payment_id)

    status, answer = await simulator.post(f"/v1/payment_intents/{intent}/capture", {})

    assert (status, answer["error"]["code"]) == (409, "payment_intent_unexpected_state")


async def test_the_ledger_itself_refuses_a_second_end(
    simulator: Simulator, cards: SimulatorCards, authorized: str
) -> None:
    await cards.capture(authorized, PRICE)

    with sqlite3.connect(simulator.ledger, timeout=10) as database:
        for kind in ("capture", "charge", "void", "lapse", "authorization"):
            line = "INSERT INTO entries (at, kind, payment_id) VALUES (?, ?, ?)"
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(line, (utc_now().isoformat(), kind, authorized))
