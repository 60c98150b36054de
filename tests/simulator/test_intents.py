import asyncio

import aiohttp
import pytest

from cartwheel.kernel import new_id

from .conftest import Simulator

DECLINED = "4000000000000002"
BROKE = "4000000000009995"


async def described(simulator: Simulator, payment_id: str) -> dict[str, object]:
    """Return the body of a request for an intent."""
    return {
        "payment_id": payment_id,
        "amount": 5,
        "currency": "USD",
        "token": await simulator.token(),
    }


async def test_a_confirmed_intent_is_charged(simulator: Simulator, payment_id: str) -> None:
    intent_id = await simulator.intent(payment_id)

    status, intent = await simulator.confirm(intent_id)

    assert (status, intent["status"]) == (200, "succeeded")
    (entry,) = await simulator.entries(payment_id)
    assert (entry["kind"], entry["amount"], entry["currency"]) == ("charge", 1999, "USD")


async def test_an_intent_alone_charges_nothing(simulator: Simulator, payment_id: str) -> None:
    intent_id = await simulator.intent(payment_id)

    _, intent = await simulator.call("GET", f"/v1/payment_intents/{intent_id}")

    assert intent["status"] == "requires_confirmation"
    assert await simulator.entries(payment_id) == []


@pytest.mark.parametrize(
    ("number", "code"), [(DECLINED, "card_declined"), (BROKE, "insufficient_funds")]
)
async def test_a_bad_card_is_declined_with_the_reason(
    simulator: Simulator, payment_id: str, number: str, code: str
) -> None:
    intent_id = await simulator.intent(payment_id, number)

    status, intent = await simulator.confirm(intent_id)

    assert (status, intent["status"], intent["failure"]["code"]) == (200, "failed", code)
    (entry,) = await simulator.entries(payment_id)
    assert (entry["kind"], entry["failure"]["code"]) == ("decline", code)


async def test_confirming_again_answers_the_same_and_charges_once(
    simulator: Simulator, payment_id: str
) -> None:
    intent_id = await simulator.intent(payment_id)

    answers = [await simulator.confirm(intent_id) for _ in range(3)]

    assert answers == [answers[0]] * 3
    assert len(await simulator.entries(payment_id)) == 1


async def test_confirmations_at_once_charge_once(simulator: Simulator, payment_id: str) -> None:
    intent_id = await simulator.intent(payment_id)

    answers = await asyncio.gather(*[simulator.confirm(intent_id) for _ in range(20)])

    assert {intent["status"] for _, intent in answers} == {"succeeded"}
    assert len(await simulator.entries(payment_id)) == 1


async def test_an_intent_may_be_confirmed_as_it_is_made_and_again_changes_nothing(
    simulator: Simulator, payment_id: str
) -> None:
    new = {**await described(simulator, payment_id), "confirm": True}

    answers = await asyncio.gather(
        *[simulator.post("/v1/payment_intents", new, Idempotency_Key=payment_id) for _ in range(5)]
    )

    assert {(status, intent["status"]) for status, intent in answers} == {(200, "succeeded")}
    assert await simulator.confirm(answers[0][1]["id"]) == answers[0]
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["charge"]


async def test_the_same_key_and_body_get_the_first_answer_again(
    simulator: Simulator, payment_id: str
) -> None:
    new = await described(simulator, payment_id)
    first = await simulator.post("/v1/payment_intents", new, Idempotency_Key=payment_id)
    await simulator.confirm(first[1]["id"])

    again = await simulator.post("/v1/payment_intents", new, Idempotency_Key=payment_id)

    assert again == first
    assert first[1]["status"] == "requires_confirmation"


@pytest.mark.parametrize(
    "change", [{"amount": 6}, {"currency": "EUR"}, {"payment_id": "pay_x"}, {"confirm": True}]
)
async def test_the_same_key_with_another_body_is_a_conflict(
    simulator: Simulator, payment_id: str, change: dict[str, object]
) -> None:
    new = await described(simulator, payment_id)
    await simulator.post("/v1/payment_intents", new, Idempotency_Key=payment_id)

    status, answer = await simulator.post(
        "/v1/payment_intents", {**new, **change}, Idempotency_Key=payment_id
    )

    assert (status, answer["error"]["code"]) == (409, "idempotency_error")
    assert await simulator.entries(payment_id) == []


async def test_the_key_of_a_charge_cannot_be_used_for_an_intent_without_confirmation(
    simulator: Simulator, payment_id: str
) -> None:
    new = await described(simulator, payment_id)
    await simulator.post(
        "/v1/payment_intents", {**new, "confirm": True}, Idempotency_Key=payment_id
    )

    status, answer = await simulator.post("/v1/payment_intents", new, Idempotency_Key=payment_id)

    assert (status, answer["error"]["code"]) == (409, "idempotency_error")


async def test_a_payment_has_one_intent_whatever_the_key(
    simulator: Simulator, payment_id: str
) -> None:
    await simulator.intent(payment_id)
    new = {
        "payment_id": payment_id,
        "amount": 1999,
        "currency": "USD",
        "token": await simulator.token(),
    }

    status, answer = await simulator.post("/v1/payment_intents", new, Idempotency_Key="other")

    assert (status, answer["error"]["code"]) == (409, "payment_intent_exists")


async def test_an_intent_needs_a_key(simulator: Simulator, payment_id: str) -> None:
    new = await described(simulator, payment_id)

    status, answer = await simulator.post("/v1/payment_intents", new)

    assert (status, answer["error"]["code"]) == (400, "idempotency_key_missing")


async def test_a_canceled_intent_is_never_charged(simulator: Simulator, payment_id: str) -> None:
    intent_id = await simulator.intent(payment_id)

    _, canceled = await simulator.post(f"/v1/payments/{payment_id}/cancel")
    _, confirmed = await simulator.confirm(intent_id)

    assert (canceled["status"], confirmed["status"]) == ("canceled", "canceled")
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["cancellation"]


async def test_an_unknown_payment_is_canceled_for_good(
    simulator: Simulator, payment_id: str
) -> None:
    for _ in range(2):
        _, tombstone = await simulator.post(f"/v1/payments/{payment_id}/cancel")
        assert tombstone == {"payment_id": payment_id, "status": "canceled"}

    _, born = await simulator.announce(payment_id, await simulator.token())
    _, confirmed = await simulator.confirm(born["id"])

    assert (born["status"], confirmed["status"]) == ("canceled", "canceled")
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["cancellation"]


@pytest.mark.parametrize(
    ("number", "status"), [("4242424242424242", "succeeded"), (DECLINED, "failed")]
)
async def test_canceling_a_completed_payment_returns_its_outcome(
    simulator: Simulator, payment_id: str, number: str, status: str
) -> None:
    await simulator.confirm(await simulator.intent(payment_id, number))

    _, answer = await simulator.post(f"/v1/payments/{payment_id}/cancel")

    assert answer["status"] == status
    assert len(await simulator.entries(payment_id)) == 1


@pytest.mark.parametrize(
    ("number", "status"), [("4242424242424242", "succeeded"), (DECLINED, "failed")]
)
async def test_a_payments_current_state_is_found_by_its_id(
    simulator: Simulator, payment_id: str, number: str, status: str
) -> None:
    intent_id = await simulator.intent(payment_id, number)
    _, announced = await simulator.call("GET", f"/v1/payments/{payment_id}")
    _, confirmed = await simulator.confirm(intent_id)

    found = await simulator.call("GET", f"/v1/payments/{payment_id}")

    assert (announced["id"], announced["status"]) == (intent_id, "requires_confirmation")
    assert found == (200, confirmed)
    assert confirmed["status"] == status


async def test_reading_a_payment_changes_nothing(simulator: Simulator, payment_id: str) -> None:
    unseen, answer = await simulator.call("GET", f"/v1/payments/{payment_id}")
    assert (unseen, answer["error"]["code"]) == (404, "resource_missing")

    intent_id = await simulator.intent(payment_id)
    await simulator.call("GET", f"/v1/payments/{payment_id}")
    _, confirmed = await simulator.confirm(intent_id)

    assert confirmed["status"] == "succeeded"


async def test_a_payment_that_was_canceled_before_it_was_made_is_found_canceled(
    simulator: Simulator, payment_id: str
) -> None:
    _, tombstone = await simulator.post(f"/v1/payments/{payment_id}/cancel")

    assert await simulator.call("GET", f"/v1/payments/{payment_id}") == (200, tombstone)


async def test_confirming_and_canceling_at_once_have_one_verdict(simulator: Simulator) -> None:
    for _ in range(10):
        payment_id = new_id("pay")
        intent_id = await simulator.intent(payment_id)

        (_, confirmed), (_, canceled) = await asyncio.gather(
            simulator.confirm(intent_id), simulator.post(f"/v1/payments/{payment_id}/cancel")
        )

        assert confirmed["status"] == canceled["status"]
        assert len(await simulator.entries(payment_id)) == 1


async def test_refunds_are_repeatable_and_never_exceed_the_capture(
    simulator: Simulator, payment_id: str
) -> None:
    await simulator.confirm(await simulator.intent(payment_id))
    part = {"payment_id": payment_id, "refund_id": new_id("rfd"), "amount": 1500}

    first = await simulator.post("/v1/refunds", part)
    again = await simulator.post("/v1/refunds", part)
    changed = await simulator.post("/v1/refunds", {**part, "amount": 1})
    too_much = await simulator.post("/v1/refunds", {**part, "refund_id": new_id("rfd")})

    assert first == again
    assert (first[0], first[1]["status"]) == (200, "succeeded")
    assert (changed[0], changed[1]["error"]["code"]) == (409, "idempotency_error")
    assert (too_much[0], too_much[1]["error"]["code"]) == (409, "amount_too_large")
    kinds = [entry["kind"] for entry in await simulator.entries(payment_id)]
    assert kinds == ["charge", "refund"]


async def test_a_payment_without_a_capture_cannot_be_refunded(
    simulator: Simulator, payment_id: str
) -> None:
    await simulator.confirm(await simulator.intent(payment_id, DECLINED))
    whole = {"payment_id": payment_id, "refund_id": new_id("rfd"), "amount": 1999}

    status, answer = await simulator.post("/v1/refunds", whole)

    assert (status, answer["error"]["code"]) == (409, "payment_not_captured")


@pytest.mark.parametrize("key", ["", "Bearer ", "Bearer wrong", "Bearer \u20ac"])
async def test_nobody_gets_in_without_the_key(simulator: Simulator, key: str) -> None:
    headers = {"Authorization": key} if key else {}
    async with (
        aiohttp.ClientSession(simulator.url, headers=headers) as stranger,
        stranger.get("/v1/ledger") as response,
    ):
        assert response.status == 401


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/v1/refunds", {"amount": 0}, 400, "parameter_invalid"),
        ("POST", "/v1/payment_intents/pi_none/confirm", None, 404, "resource_missing"),
        ("POST", "/v1/payments/%ff%00/cancel", None, 400, "parameter_invalid"),
        ("GET", "/v1/payment_intents/pi_none", None, 404, "resource_missing"),
        ("GET", "/v1/payments/%ff%00", None, 400, "parameter_invalid"),
        ("GET", "/v1/ledger?limit=x", None, 400, "parameter_invalid"),
        ("GET", "/v1/ledger?limit=0", None, 400, "parameter_invalid"),
        ("GET", "/v1/ledger?after=99999999999999999999", None, 400, "parameter_invalid"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("PUT", "/v1/refunds", None, 405, "method_not_allowed"),
    ],
)
async def test_a_malformed_request_is_refused(
    simulator: Simulator, method: str, path: str, content: object, status: int, code: str
) -> None:
    answer = await simulator.call(method, path, content)

    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
