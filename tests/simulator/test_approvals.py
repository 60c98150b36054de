"""A payment that its customer has to approve: in a 3-D Secure challenge, or in a wallet."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import Method, ReportVerdict
from cartwheel.providers.simulator import webhook

from .browsing import browse
from .conftest import WEBHOOK_SECRET, Answer, Receiver, Simulator

CHALLENGED = "pm_card_threeDSecure2Required"
BACK = "https://shop.example/back?order=7"


async def begin(
    simulator: Simulator, payment_id: str, token: str | None = CHALLENGED, **more: object
) -> Any:
    """Return a new intent that waits for its customer; without a token, in the wallet."""
    method = {"token": token} if token else {"payment_method_data": {"type": "wallet"}}
    new = {"payment_id": payment_id, "amount": 1999, "currency": "USD", "confirm": True}
    status, intent = await simulator.post(
        "/v1/payment_intents", {**new, **method, **more}, Idempotency_Key=payment_id
    )
    assert status == 200, intent
    return intent


def page_of(intent: Any) -> str:
    return intent["next_action"]["redirect_to_url"]["url"]


async def state(simulator: Simulator, payment_id: str) -> Answer:
    return await simulator.call("GET", f"/v1/payments/{payment_id}")


async def kinds(simulator: Simulator, payment_id: str) -> list[str]:
    return [entry["kind"] for entry in await simulator.entries(payment_id)]


@pytest.mark.parametrize("token", [CHALLENGED, None], ids=["card", "wallet"])
@pytest.mark.parametrize(
    ("said", "result", "kind"),
    [("approve", "succeeded", "charge"), ("refuse", "failed", "decline")],
)
async def test_an_answer_settles_the_payment_and_its_webhook_says_so(
    simulator: Simulator,
    receiver: Receiver,
    payment_id: str,
    token: str | None,
    said: str,
    result: str,
    kind: str,
) -> None:
    intent = await begin(simulator, payment_id, token, return_url=BACK)
    _, waiting = await state(simulator, payment_id)

    status, shown, _ = await browse(page_of(intent))
    answered, _, back = await browse(page_of(intent), said)

    assert waiting == intent
    assert intent["status"] == "requires_action"
    assert (status, "19.99 USD" in shown) == (200, True)
    assert answered == 303
    assert back
    assert back.startswith(f"{BACK}&")
    told = parse_qs(urlsplit(back).query)
    assert (told["payment_id"], told["redirect_status"]) == ([payment_id], [result])
    _, ended = await state(simulator, payment_id)
    assert (ended["status"], "next_action" in ended) == (result, False)
    assert await kinds(simulator, payment_id) == ["challenge", kind]
    events = await receiver.wait_for(2, payment_id)
    assert {event["type"] for event in events} == {
        "payment_intent.requires_action",
        "payment_intent.succeeded" if said == "approve" else "payment_intent.payment_failed",
    }
    types = {tuple(event.get("payment_method_types", ["card"])) for event in events}
    assert types == {("card",) if token else ("wallet",)}


@pytest.mark.parametrize("token", [CHALLENGED, None], ids=["card", "wallet"])
async def test_the_shop_reads_the_webhook_of_an_answer_and_needs_no_other(
    simulator: Simulator, receiver: Receiver, payment_id: str, token: str | None
) -> None:
    await browse(page_of(await begin(simulator, payment_id, token)), "refuse")
    await receiver.wait_for(2, payment_id)

    reports = [
        webhook.read(
            body,
            {"simulator-signature": signature},
            secret=WEBHOOK_SECRET,
            actor=Actor.service("gateway"),
            now=datetime.now(UTC),
        )
        for signature, body, event in receiver.received
        if event["payment_id"] == payment_id
    ]

    [report] = [each for each in reports if each is not None]
    assert isinstance(report, ReportVerdict)
    assert report.method is (Method.CARD if token else Method.WALLET)
    assert not report.captured
    assert report.amount == Money(1999, "USD")


async def test_a_refused_challenge_never_reached_the_issuer(
    simulator: Simulator, payment_id: str
) -> None:
    await browse(page_of(await begin(simulator, payment_id)), "refuse")

    _, ended = await state(simulator, payment_id)
    assert ended["failure"]["code"] == "payment_intent_authentication_failure"


async def test_an_approved_charge_may_still_be_declined(
    simulator: Simulator, payment_id: str
) -> None:
    card = await simulator.token("4000 0084 0000 1629")

    await browse(page_of(await begin(simulator, payment_id, card)), "approve")

    _, ended = await state(simulator, payment_id)
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "card_declined")


async def test_saying_nothing_leaves_it_open(simulator: Simulator, payment_id: str) -> None:
    intent = await begin(simulator, payment_id, return_url=BACK)

    _, _, back = await browse(page_of(intent), "nothing")

    assert "redirect_status=pending" in str(back)
    assert await state(simulator, payment_id) == (200, intent)
    assert await kinds(simulator, payment_id) == ["challenge"]


async def test_opening_a_page_decides_nothing(simulator: Simulator, payment_id: str) -> None:
    intent = await begin(simulator, payment_id)

    for query in ("", "?answer=approve"):
        assert (await browse(page_of(intent) + query))[0] == 200

    assert await kinds(simulator, payment_id) == ["challenge"]


async def test_many_answers_at_once_make_one_verdict(simulator: Simulator, payment_id: str) -> None:
    url = page_of(await begin(simulator, payment_id))

    await asyncio.gather(*(browse(url, said) for said in ["approve", "refuse"] * 5))

    assert len(await kinds(simulator, payment_id)) == 2


async def test_a_canceled_payment_can_no_longer_be_approved(
    simulator: Simulator, payment_id: str
) -> None:
    intent = await begin(simulator, payment_id, return_url=BACK)

    _, canceled = await simulator.post(f"/v1/payments/{payment_id}/cancel")
    _, shown, _ = await browse(page_of(intent))
    _, _, back = await browse(page_of(intent), "approve")

    assert (canceled["status"], "next_action" in canceled) == ("canceled", False)
    assert "was canceled" in shown
    assert 'name="answer"' not in shown
    assert "redirect_status=canceled" in str(back)
    assert await kinds(simulator, payment_id) == ["challenge", "cancellation"]


async def test_an_approval_stands_although_it_is_canceled_after(
    simulator: Simulator, payment_id: str
) -> None:
    await browse(page_of(await begin(simulator, payment_id)), "approve")

    _, intent = await simulator.post(f"/v1/payments/{payment_id}/cancel")

    assert intent["status"] == "succeeded"


async def test_a_repeat_of_the_request_asks_once(simulator: Simulator, payment_id: str) -> None:
    first = await begin(simulator, payment_id, return_url=BACK)
    again = await begin(simulator, payment_id, return_url=BACK)
    elsewhere = {"payment_id": payment_id, "amount": 1999, "currency": "USD", "confirm": True}
    elsewhere |= {"token": CHALLENGED, "return_url": "https://evil.example/"}

    status, refused = await simulator.post(
        "/v1/payment_intents", elsewhere, Idempotency_Key=payment_id
    )

    assert again == first
    assert (status, refused["error"]["code"]) == (409, "idempotency_error")
    assert await kinds(simulator, payment_id) == ["challenge"]


async def test_a_browser_is_sent_only_where_the_shop_has_said(
    simulator: Simulator, payment_id: str
) -> None:
    url = page_of(await begin(simulator, payment_id))

    status, shown, back = await browse(f"{url}?return_url=https://evil.example/", "approve")

    assert (status, back) == (200, None)
    assert "evil" not in shown
    assert "go back to the shop" in shown


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "https://a\nb", ""])
async def test_a_return_url_is_a_web_address(
    simulator: Simulator, payment_id: str, url: str
) -> None:
    new = {"payment_id": payment_id, "amount": 5, "currency": "USD", "token": CHALLENGED}

    status, refused = await simulator.post(
        "/v1/payment_intents", {**new, "return_url": url}, Idempotency_Key=payment_id
    )

    assert (status, refused["error"]["param"]) == (400, "return_url")


async def test_a_page_needs_its_secret_and_no_key(simulator: Simulator, payment_id: str) -> None:
    url = page_of(await begin(simulator, payment_id))

    for wrong in (url[:-1] + "!", url.rsplit("/", 1)[0] + f"/{payment_id}"):
        for said in (None, "approve"):
            assert (await browse(wrong, said))[0] == 404
    status, shown, _ = await browse(url, "anything")

    assert status == 400
    assert "anything" not in shown
    assert await kinds(simulator, payment_id) == ["challenge"]


async def test_pages_are_neither_framed_nor_kept(simulator: Simulator, payment_id: str) -> None:
    url = page_of(await begin(simulator, payment_id, return_url=BACK))

    async with aiohttp.ClientSession() as browser, browser.get(url) as response:
        headers = response.headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://shop.example;" in policy


@pytest.mark.parametrize(
    "method",
    [
        {},
        {"token": "(wallet)"},
        {"payment_method_data": {"type": "card"}},
        {"token": "pm_card_visa", "payment_method_data": {"type": "wallet"}},
    ],
    ids=str,
)
async def test_an_intent_is_by_one_known_method(
    simulator: Simulator, payment_id: str, method: dict[str, object]
) -> None:
    new = {"payment_id": payment_id, "amount": 5, "currency": "USD", **method}

    status, _ = await simulator.post("/v1/payment_intents", new, Idempotency_Key=payment_id)

    assert status == 400


async def test_the_webhook_of_an_answer_can_be_lost_or_sent_twice(
    simulator: Simulator, receiver: Receiver, payment_id: str
) -> None:
    intent = await begin(simulator, payment_id)
    fault = {"kind": "webhook_twice", "on": "answer", "payment_id": payment_id}
    status, _ = await simulator.post("/v1/faults", fault)

    await browse(page_of(intent), "approve")

    assert status == 201
    events = await receiver.wait_for(3, payment_id)
    assert len({event["id"] for event in events}) == 2
    refused, _ = await simulator.post("/v1/faults", {"kind": "drop", "on": "answer"})
    assert refused == 400


@pytest.mark.parametrize("token", [CHALLENGED, None], ids=["card", "wallet"])
async def test_an_approved_payment_may_be_authorized_only(
    simulator: Simulator, receiver: Receiver, payment_id: str, token: str | None
) -> None:
    intent = await begin(simulator, payment_id, token, capture_method="manual")

    _, shown, _ = await browse(page_of(intent), "approve")

    _, reserved = await state(simulator, payment_id)
    assert "The payment is approved" in shown
    assert (reserved["status"], "next_action" in reserved) == ("requires_capture", False)
    assert reserved["capture_before"]
    status, captured = await simulator.post(f"/v1/payments/{payment_id}/capture", {})
    assert (status, captured["amount_received"]) == (200, 1999)
    assert await kinds(simulator, payment_id) == ["challenge", "authorization", "capture"]
    events = await receiver.wait_for(3, payment_id)
    assert "payment_intent.amount_capturable_updated" in {event["type"] for event in events}


async def test_an_answer_can_be_lost(simulator: Simulator, payment_id: str) -> None:
    intent = await begin(simulator, payment_id, return_url=BACK)
    fault = {"kind": "never_answered", "on": "answer", "payment_id": payment_id}
    status, _ = await simulator.post("/v1/faults", fault)

    _, _, lost = await browse(page_of(intent), "approve")
    waiting = await kinds(simulator, payment_id)
    await browse(page_of(intent), "approve")

    assert status == 201
    assert lost
    assert parse_qs(urlsplit(lost).query)["redirect_status"] == ["pending"]
    assert waiting == ["challenge"]
    assert await kinds(simulator, payment_id) == ["challenge", "charge"]
