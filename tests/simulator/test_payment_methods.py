"""Payment methods: they stand for cards; the shop's page makes them with a publishable key."""

import asyncio
from typing import Any

import aiohttp
import pytest

from cartwheel.kernel import new_id

from .conftest import API_KEY, PUBLISHABLE_KEY, Simulator, card

PATH = "/v1/payment_methods"
SHOP = "https://shop.example"


async def charge(simulator: Simulator, token: str) -> tuple[int, Any]:
    """Charge a new payment in one step."""
    payment_id = new_id("pay")
    new = {"payment_id": payment_id, "amount": 5, "currency": "USD", "token": token}
    return await simulator.post(
        "/v1/payment_intents", {**new, "confirm": True}, Idempotency_Key=payment_id
    )


async def test_a_card_becomes_a_payment_method_that_shows_brand_and_last_digits(
    simulator: Simulator,
) -> None:
    status, made = await simulator.tokenize(card("3782 822463 10005", cvc="1234"))

    assert status == 200
    assert made == {
        "id": made["id"],
        "type": "card",
        "card": {"brand": "amex", "last4": "0005"},
    }
    assert made["id"].startswith("pm_")


@pytest.mark.parametrize(
    ("wrong", "code", "param"),
    [
        ({"number": "4242424242424241"}, "incorrect_number", "number"),
        ({"exp_year": 2020}, "invalid_expiry_year", "exp_year"),
        ({"exp_month": 13}, "invalid_expiry_month", "exp_month"),
        ({"cvc": "12"}, "invalid_cvc", "cvc"),
    ],
)
async def test_an_invalid_card_is_refused_with_the_field(
    simulator: Simulator, wrong: dict[str, Any], code: str, param: str
) -> None:
    status, answer = await simulator.tokenize(card(**wrong))

    assert status == 402
    assert (answer["error"]["code"], answer["error"]["param"]) == (code, param)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "parameter_invalid"),
        (b"\xff", 400, "parameter_invalid"),
        (b"", 400, "parameter_invalid"),
        (b'{"x":' + b"[" * 16_000, 400, "parameter_invalid"),
        ({"type": "card", "card": {"number": 4242}}, 400, "parameter_invalid"),
        ({"type": "goats", "card": card()["card"]}, 400, "parameter_invalid"),
        (card()["card"], 400, "parameter_invalid"),
        (b" " * 20_000, 413, "request_entity_too_large"),
    ],
)
async def test_a_malformed_request_is_refused(
    simulator: Simulator, content: object, status: int, code: str
) -> None:
    answer = await simulator.tokenize(content)

    assert (answer[0], answer[1]["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/payment_intents"),
        ("GET", "/v1/payment_intents/pi_1"),
        ("POST", "/v1/payment_intents/pi_1/confirm"),
        ("GET", "/v1/payments/pay_1"),
        ("POST", "/v1/payments/pay_1/cancel"),
        ("POST", "/v1/refunds"),
        ("GET", "/v1/ledger"),
        ("POST", "/v1/faults"),
        ("GET", "/v1/faults"),
        ("DELETE", "/v1/faults"),
        ("GET", "/v1/nothing"),
        ("POST", f"{PATH}/"),
    ],
)
async def test_the_publishable_key_opens_nothing_else(
    simulator: Simulator, method: str, path: str
) -> None:
    key = f"Bearer {PUBLISHABLE_KEY}"

    status, answer = await simulator.call(method, path, {}, Authorization=key)

    assert (status, answer["error"]["code"]) == (403, "secret_key_required")


async def test_the_secret_key_makes_no_payment_method(simulator: Simulator) -> None:
    """A server has that key, and no card number should pass through a server."""
    status, answer = await simulator.post(PATH, card(), Authorization=f"Bearer {API_KEY}")

    assert (status, answer["error"]["code"]) == (403, "publishable_key_required")


@pytest.mark.parametrize("key", ["", "Bearer ", "Bearer pk_other", f"Basic {PUBLISHABLE_KEY}"])
async def test_without_a_valid_key_no_payment_method_is_made(
    simulator: Simulator, key: str
) -> None:
    status, answer = await simulator.post(PATH, card(), Authorization=key)

    assert (status, answer["error"]["code"]) == (401, "unauthorized")


async def test_a_page_of_any_origin_may_ask_and_read_the_answer(simulator: Simulator) -> None:
    """The requests are a browser's: https://fetch.spec.whatwg.org/#http-cors-protocol"""
    asking = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    key = {"Origin": SHOP, "Authorization": f"Bearer {PUBLISHABLE_KEY}"}
    async with aiohttp.ClientSession(simulator.url) as page:
        async with page.options(PATH, headers=asking) as preflight:
            allowed = preflight.headers
            assert preflight.status == 204
        async with page.post(PATH, json=card(), headers=key) as made:
            assert made.status == 200
        async with page.post(PATH, json=card("4242"), headers=key) as refused:
            assert refused.status == 402
        async with page.post(PATH, json=card(), headers={"Origin": SHOP}) as unknown:
            assert unknown.status == 401

    assert allowed["Access-Control-Allow-Methods"] == "POST"
    assert allowed["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    for answer in (preflight, made, refused, unknown):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_no_page_may_read_anything_else(simulator: Simulator) -> None:
    headers = {"Origin": SHOP, "Authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(simulator.url, headers=headers) as page:
        async with page.options("/v1/ledger") as preflight:
            assert preflight.status == 405
        async with page.get("/v1/ledger") as read:
            assert read.status == 200

    for answer in (preflight, read):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000000002"])
async def test_a_payment_method_is_used_up_by_a_charge_or_a_decline(
    simulator: Simulator, number: str
) -> None:
    token = await simulator.token(number)

    (used, _), (status, answer) = await charge(simulator, token), await charge(simulator, token)

    assert used == 200
    assert (status, answer["error"]["code"], answer["error"]["param"]) == (
        400,
        "payment_method_unexpected_state",
        "token",
    )


async def test_of_many_charges_at_once_by_one_payment_method_one_is_made(
    simulator: Simulator,
) -> None:
    token = await simulator.token()

    answers = await asyncio.gather(*(charge(simulator, token) for _ in range(20)))

    assert sorted(status for status, _ in answers) == [200] + [400] * 19


async def test_of_two_intents_with_one_payment_method_one_is_charged(
    simulator: Simulator,
) -> None:
    token = await simulator.token()
    first, second = new_id("pay"), new_id("pay")
    intents = [(await simulator.announce(each, token))[1]["id"] for each in (first, second)]

    answers = [await simulator.confirm(each) for each in intents]

    assert [status for status, _ in answers] == [200, 400]
    assert [len(await simulator.entries(each)) for each in (first, second)] == [1, 0]
    assert await simulator.confirm(intents[0]) == answers[0]


async def test_a_canceled_payment_leaves_its_payment_method_for_another(
    simulator: Simulator, payment_id: str
) -> None:
    token = await simulator.token()
    await simulator.post(f"/v1/payments/{payment_id}/cancel")
    _, born = await simulator.announce(payment_id, token)

    status, _ = await charge(simulator, token)

    assert (born["status"], status) == ("canceled", 200)


async def test_a_ready_made_payment_method_is_never_used_up(simulator: Simulator) -> None:
    answers = await asyncio.gather(*(charge(simulator, "pm_card_visa") for _ in range(5)))

    assert [(status, intent["status"]) for status, intent in answers] == [(200, "succeeded")] * 5
    assert answers[0][1]["card"] == {"brand": "visa", "last4": "4242"}


async def test_an_unknown_payment_method_is_refused(simulator: Simulator) -> None:
    status, answer = await charge(simulator, "pm_none")

    assert (status, answer["error"]["code"], answer["error"]["param"]) == (
        400,
        "resource_missing",
        "token",
    )
