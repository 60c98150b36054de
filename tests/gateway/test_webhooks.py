"""What the gateway makes of a webhook before it asks payments: nobody answers for them here."""

import time
from typing import Any

import msgspec
import pytest

from cartwheel.simulator.webhooks import sign

from .conftest import WEBHOOK_SECRET, Gateway, Reply

PATH = "/api/v1/webhooks/simulator"


async def send(gateway: Gateway, body: bytes) -> Reply:
    signature = sign(WEBHOOK_SECRET, body, int(time.time()))
    return await gateway.post(PATH, body, headers={"Simulator-Signature": signature})


@pytest.mark.parametrize(
    "event",
    [
        {"type": "payment_intent.created", "payment_id": "pay_1", "payment_intent": "pi_1"},
        {"type": "payment_intent.succeeded.v2", "payment_id": "pay_1", "amount": 1999},
        {"type": "charge.refunded", "refund": {"id": "rfd_1"}},
        {"type": "account.updated"},
        {"type": ""},
    ],
)
async def test_a_webhook_of_an_unknown_type_is_taken_and_asks_for_nothing(
    real: Gateway, event: dict[str, Any]
) -> None:
    reply = await send(real, msgspec.json.encode(event))

    assert (reply.status, reply.body) == (204, b"")


@pytest.mark.parametrize("kind", ["payment_intent.succeeded", "account.updated"])
@pytest.mark.parametrize("deep", [b"[" * 100_000 + b"]" * 100_000, b"[" * 100_000])
async def test_a_webhook_that_is_nested_too_deeply_is_400(
    real: Gateway, kind: str, deep: bytes
) -> None:
    body = b'{"type":"%s","payment_id":"pay_1","ignored":%s}' % (kind.encode(), deep)

    reply = await send(real, body)

    assert (reply.status, reply.problem["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"type=payment_intent.succeeded"])
async def test_a_webhook_that_is_not_json_is_400(real: Gateway, body: bytes) -> None:
    reply = await send(real, body)

    assert (reply.status, reply.problem["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({}, "type"),
        ({"type": 7}, "type"),
        ({"type": "payment_intent.succeeded"}, "payment_id"),
        ({"type": "payment_intent.succeeded", "payment_id": "x" * 101}, "payment_id"),
        (
            {
                "type": "payment_intent.succeeded",
                "payment_id": "pay_1",
                "payment_intent": "x" * 101,
            },
            "payment_intent",
        ),
    ],
)
async def test_a_webhook_that_names_no_payment_is_422_and_names_the_field(
    real: Gateway, event: dict[str, Any], field: str
) -> None:
    reply = await send(real, msgspec.json.encode(event))

    assert reply.status == 422
    assert [error["field"] for error in reply.problem["errors"]] == [field]
