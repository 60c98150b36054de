import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cartwheel.providers.simulator.webhook import BadSignature, verify_signature
from cartwheel.simulator.webhooks import GIVE_UP_AFTER, pause_before_retry, sign

from ..waiting import eventually
from .conftest import WEBHOOK_SECRET, Receiver, Simulator

BODY = b'{"id":"evt_1"}'
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("4242424242424242", "payment_intent.succeeded"),
        ("4000000000000002", "payment_intent.payment_failed"),
    ],
)
async def test_a_verdict_is_reported_by_a_signed_webhook(
    simulator: Simulator, receiver: Receiver, payment_id: str, number: str, kind: str
) -> None:
    await simulator.confirm(await simulator.intent(payment_id, number))

    await receiver.wait_for(1, payment_id)

    ((signature, body, event),) = [
        got for got in receiver.received if got[2]["payment_id"] == payment_id
    ]
    verify_signature(WEBHOOK_SECRET, signature, body, now=datetime.now(UTC))
    assert (event["type"], event["amount"], event["currency"]) == (kind, 1999, "USD")
    assert event["id"].startswith("evt_")
    assert ("failure" in event) == (kind == "payment_intent.payment_failed")


async def test_a_cancellation_is_reported_too(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    await simulator.intent(payment_id)

    await simulator.post(f"/v1/payments/{payment_id}/cancel")

    (event,) = await receiver.wait_for(1, payment_id)
    assert event["type"] == "payment_intent.canceled"


async def test_repeating_a_confirmation_sends_no_further_webhook(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    intent_id = await simulator.intent(payment_id)

    for _ in range(3):
        await simulator.confirm(intent_id)

    await receiver.wait_for(1, payment_id)
    await asyncio.sleep(0.2)
    assert len(receiver.events(payment_id)) == 1


async def test_a_webhook_is_repeated_until_it_is_accepted(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    receiver.answers[payment_id] = [503, 304]

    await simulator.confirm(await simulator.intent(payment_id))

    events = await receiver.wait_for(3, payment_id)
    assert len({event["id"] for event in events}) == 1
    await asyncio.sleep(0.2)
    assert len(receiver.events(payment_id)) == 3
    assert receiver.answers[payment_id] == []


async def test_a_redirect_is_not_followed(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    receiver.answers[payment_id] = [307]

    await simulator.confirm(await simulator.intent(payment_id))

    await receiver.wait_for(1, payment_id)
    await asyncio.sleep(0.2)
    assert len(receiver.events(payment_id)) == 1


async def test_webhooks_go_on_after_a_crash(
    own_simulator: Callable[[str | None], Simulator], receiver: Receiver, payment_id: str
) -> None:
    receiver.answers[payment_id] = [503]
    simulator = own_simulator(receiver.url)
    await simulator.start()
    await simulator.confirm(await simulator.intent(payment_id))
    await receiver.wait_for(1, payment_id)

    await simulator.kill()
    await simulator.start()

    first, second = await receiver.wait_for(2, payment_id)
    assert first == second

    async def none_is_left() -> None:
        with contextlib.closing(sqlite3.connect(simulator.ledger)) as outside:
            assert outside.execute("SELECT count(*) FROM webhooks").fetchone() == (0,)

    await eventually(none_is_left)


def test_pauses_grow_to_an_hour() -> None:
    pauses = [pause_before_retry(attempts, None, age=0) for attempts in (0, 1, 2, 10, 12, 5000)]

    assert pauses == [1, 2, 4, 1024, 3600, 3600]


def test_a_missing_route_is_tried_at_most_once_a_minute() -> None:
    assert pause_before_retry(0, 404, age=0) == 60
    assert pause_before_retry(0, 503, age=0) == 1


def test_a_webhook_is_not_retried_after_three_days() -> None:
    assert pause_before_retry(80, 503, age=GIVE_UP_AFTER + 1) is None


def signed(secret: str = WEBHOOK_SECRET, body: bytes = BODY, at: datetime = NOW) -> str:
    return sign(secret, body, at.timestamp())


def test_a_genuine_signature_is_accepted() -> None:
    verify_signature(WEBHOOK_SECRET, signed(), BODY, now=NOW + timedelta(seconds=299))


def test_one_of_several_signatures_is_enough() -> None:
    other = signed(secret="older").partition("v1=")[2]

    verify_signature(WEBHOOK_SECRET, f"{signed()}, v1={other}", BODY, now=NOW)
    verify_signature("older", f"{signed()}, v1={other}", BODY, now=NOW)


@pytest.mark.parametrize(
    ("header", "body", "now"),
    [
        (signed(secret="guessed"), BODY, NOW),
        (signed(), BODY + b" ", NOW),
        (signed(), BODY, NOW + timedelta(seconds=301)),
        (signed(), BODY, NOW - timedelta(seconds=301)),
        (signed().replace("t=1", "t=2"), BODY, NOW),
        (signed().replace("v1=", "v0="), BODY, NOW),
        ("t=x,v1=y", BODY, NOW),
        ("t=9999999999999999999999,v1=y", BODY, NOW),
        ("t=1893456000,v1=€", BODY, NOW),
        ("v1=,t=", BODY, NOW),
        ("", BODY, NOW),
        ("=", BODY, NOW),
    ],
    ids=[
        *("another secret", "another body", "too old", "from the future", "another time"),
        *("another scheme", "no number", "no time at all", "no hex", "empty values"),
        *("empty", "nameless"),
    ],
)
def test_any_other_signature_is_refused(header: str, body: bytes, now: datetime) -> None:
    with pytest.raises(BadSignature):
        verify_signature(WEBHOOK_SECRET, header, body, now=now)
