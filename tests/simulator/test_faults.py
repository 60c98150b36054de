import asyncio
import time

import aiohttp
import pytest

from cartwheel.kernel import new_id

from ..waiting import eventually
from .conftest import Answer, Receiver, Simulator


async def ask_for(
    simulator: Simulator, kind: str, payment_id: str, seconds: float = 0.3, **more: object
) -> None:
    status, _ = await simulator.post(
        "/v1/faults", {"kind": kind, "payment_id": payment_id, "seconds": seconds, **more}
    )
    assert status == 201


async def paid(simulator: Simulator, payment_id: str) -> None:
    status, intent = await simulator.confirm(await simulator.intent(payment_id))
    assert (status, intent["status"]) == (200, "succeeded")


async def refund(simulator: Simulator, payment_id: str) -> Answer:
    new = {"payment_id": payment_id, "refund_id": f"ref_{payment_id[4:]}", "amount": 1999}
    return await simulator.post("/v1/refunds", new)


async def cancel(simulator: Simulator, payment_id: str) -> Answer:
    return await simulator.post(f"/v1/payments/{payment_id}/cancel")


@pytest.mark.parametrize(("kind", "charged"), [("drop", 0), ("charge_then_drop", 1)])
async def test_a_connection_is_dropped_before_or_after_charging(
    simulator: Simulator, payment_id: str, kind: str, charged: int
) -> None:
    intent_id = await simulator.intent(payment_id)
    await ask_for(simulator, kind, payment_id)

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await simulator.confirm(intent_id)

    assert len(await simulator.entries(payment_id)) == charged
    _, intent = await simulator.confirm(intent_id)
    assert intent["status"] == "succeeded"
    assert len(await simulator.entries(payment_id)) == 1


@pytest.mark.parametrize(("kind", "charged"), [("error", 0), ("charge_then_error", 1)])
async def test_an_error_is_answered_before_or_after_charging(
    simulator: Simulator, payment_id: str, kind: str, charged: int
) -> None:
    intent_id = await simulator.intent(payment_id)
    await ask_for(simulator, kind, payment_id)

    status, answer = await simulator.confirm(intent_id)

    assert (status, answer["error"]["code"]) == (500, "api_error")
    assert len(await simulator.entries(payment_id)) == charged


async def test_a_late_answer_comes_after_the_charge(simulator: Simulator, payment_id: str) -> None:
    intent_id = await simulator.intent(payment_id)
    await ask_for(simulator, "answer_late", payment_id, seconds=1.5)

    asked = time.monotonic()
    confirming = asyncio.create_task(simulator.confirm(intent_id))

    async def charged() -> None:
        assert len(await simulator.entries(payment_id)) == 1

    await eventually(charged)
    assert not confirming.done()
    _, intent = await confirming
    assert intent["status"] == "succeeded"
    assert time.monotonic() - asked >= 1.5


async def test_a_cancellation_prevents_a_delayed_charge(
    simulator: Simulator, payment_id: str
) -> None:
    intent_id = await simulator.intent(payment_id)
    await ask_for(simulator, "charge_late", payment_id, seconds=1.5)

    confirming = asyncio.create_task(simulator.confirm(intent_id))
    await asyncio.sleep(0.1)
    _, canceled = await simulator.post(f"/v1/payments/{payment_id}/cancel")
    _, confirmed = await confirming

    assert (canceled["status"], confirmed["status"]) == ("canceled", "canceled")
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["cancellation"]


async def test_a_fault_occurs_count_times(simulator: Simulator, payment_id: str) -> None:
    intent_id = await simulator.intent(payment_id)
    await simulator.post("/v1/faults", {"kind": "error", "count": 2})

    statuses = [(await simulator.confirm(intent_id))[0] for _ in range(3)]

    assert statuses == [500, 500, 200]


async def test_a_fault_of_one_payment_does_not_affect_others(
    simulator: Simulator, payment_id: str
) -> None:
    other = new_id("pay")
    await ask_for(simulator, "error", payment_id)

    status, _ = await simulator.confirm(await simulator.intent(other))
    _, listed = await simulator.call("GET", "/v1/faults")
    cleared, _ = await simulator.call("DELETE", "/v1/faults")
    after, _ = await simulator.confirm(await simulator.intent(payment_id))

    assert (status, cleared, after) == (200, 204, 200)
    assert [fault["payment_id"] for fault in listed["data"]] == [payment_id]


@pytest.mark.parametrize(
    ("kind", "refunded"),
    [("error", 0), ("charge_then_error", 1), ("drop", 0), ("charge_then_drop", 1)],
)
async def test_a_refund_fails_before_or_after_it_is_made(
    simulator: Simulator, payment_id: str, kind: str, refunded: int
) -> None:
    await paid(simulator, payment_id)
    await ask_for(simulator, kind, payment_id, on="refund")

    if kind.endswith("drop"):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await refund(simulator, payment_id)
    else:
        assert (await refund(simulator, payment_id))[0] == 500

    kinds = [entry["kind"] for entry in await simulator.entries(payment_id)]
    assert kinds == ["charge", *["refund"] * refunded]
    assert (await refund(simulator, payment_id))[0] == 200
    kinds = [entry["kind"] for entry in await simulator.entries(payment_id)]
    assert kinds == ["charge", "refund"]


async def test_a_cancellation_is_answered_late(simulator: Simulator, payment_id: str) -> None:
    await ask_for(simulator, "answer_late", payment_id, on="cancel")

    asked = time.monotonic()
    status, intent = await cancel(simulator, payment_id)

    assert (status, intent["status"]) == (200, "canceled")
    assert time.monotonic() - asked >= 0.3


async def test_a_fault_affects_no_other_step(simulator: Simulator, payment_id: str) -> None:
    await ask_for(simulator, "error", payment_id, on="cancel")

    await paid(simulator, payment_id)
    refunded, _ = await refund(simulator, payment_id)
    canceled, _ = await cancel(simulator, payment_id)

    assert (refunded, canceled) == (200, 500)


async def test_a_fault_without_a_count_lasts_until_it_is_removed(
    simulator: Simulator, payment_id: str
) -> None:
    other = new_id("pay")
    for each in (payment_id, other):
        await paid(simulator, each)
    await ask_for(simulator, "error", payment_id, on="refund", count=None)

    spoilt = [(await refund(simulator, payment_id))[0] for _ in range(3)]
    spared, _ = await refund(simulator, other)
    await simulator.call("DELETE", "/v1/faults")
    after, _ = await refund(simulator, payment_id)

    assert (spoilt, spared, after) == ([500, 500, 500], 200, 200)


async def test_a_webhook_fault_needs_a_confirmation(simulator: Simulator) -> None:
    status, _ = await simulator.post("/v1/faults", {"kind": "webhook_late", "on": "refund"})

    assert status == 400


async def test_a_webhook_is_sent_twice_as_the_same_event(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    await ask_for(simulator, "webhook_twice", payment_id)

    await simulator.confirm(await simulator.intent(payment_id))

    one, two = await receiver.wait_for(2, payment_id)
    assert one == two


async def test_a_webhook_is_sent_late(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    await ask_for(simulator, "webhook_late", payment_id)

    intent_id = await simulator.intent(payment_id)
    asked = time.monotonic()
    await simulator.confirm(intent_id)

    assert len(await receiver.wait_for(1, payment_id)) == 1
    assert time.monotonic() - asked > 0.29


async def test_a_webhook_is_sent_after_a_newer_one(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    younger = new_id("pay")
    await ask_for(simulator, "webhook_out_of_order", payment_id, seconds=60)

    await simulator.confirm(await simulator.intent(payment_id))
    await simulator.confirm(await simulator.intent(younger))

    events = await receiver.wait_for(2, payment_id, younger)
    assert [event["payment_id"] for event in events] == [younger, payment_id]


async def test_a_webhook_is_never_sent(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    younger = new_id("pay")
    await ask_for(simulator, "webhook_never", payment_id)

    await simulator.confirm(await simulator.intent(payment_id))
    await simulator.confirm(await simulator.intent(younger))

    await receiver.wait_for(1, younger)
    await asyncio.sleep(0.1)
    assert receiver.events(payment_id) == []
    assert len(await simulator.entries(payment_id)) == 1


async def test_an_unknown_fault_is_refused(simulator: Simulator) -> None:
    status, answer = await simulator.post("/v1/faults", {"kind": "explode"})

    assert (status, answer["error"]["param"]) == (400, "kind")
