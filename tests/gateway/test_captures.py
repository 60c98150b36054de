"""Which webhooks the gateway answers itself, and about which it asks payments."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    CardSummary,
    Failure,
    Method,
    PaymentStatus,
    PaymentView,
    ReportVerdict,
)
from cartwheel.gateway.captures import Captures
from cartwheel.kernel import Created
from cartwheel.kernel.errors import OutcomeUnknown

AT = datetime(2026, 1, 1, tzinfo=UTC)
TOTAL = Money(1999, "USD")
AT_ONCE = 0.5
"""Seconds: far less than a webhook waits."""
VISA = CardSummary(brand="visa", last4="4242")


def answered(
    payment_id: str = "pay_1", *, replayed: bool = False, **otherwise: object
) -> Created[PaymentView]:
    """Return what payments answers when it has charged a card, or `otherwise`."""
    payment = PaymentView(
        id=payment_id,
        order_id="ord_1",
        user_id="usr_1",
        amount=TOTAL,
        method=Method.CARD,
        provider="simulator",
        provider_reference="pi_1",
        card=VISA,
        status=PaymentStatus.PAID,
        failure=None,
        timeline=[],
        created_at=AT,
        updated_at=AT,
    )
    return Created(made=msgspec.structs.replace(payment, **otherwise), replayed=replayed)


def told(payment_id: str = "pay_1", **otherwise: object) -> ReportVerdict:
    """Return what the webhook of that payment tells, or `otherwise`."""
    report = ReportVerdict(
        provider="simulator",
        payment_id=payment_id,
        captured=True,
        reference="pi_1",
        method=Method.CARD,
        amount=TOTAL,
        card=VISA,
    )
    return msgspec.structs.replace(report, **otherwise)


async def begun(captures: Captures, report: ReportVerdict) -> asyncio.Task[bool]:
    """Return the webhook's task once it waits for whatever it waits for."""
    webhook = asyncio.create_task(captures.repeats(report))
    await asyncio.sleep(0.01)
    return webhook


async def test_the_webhook_of_a_capture_that_was_answered_repeats_it_once() -> None:
    captures = Captures()

    captures.remember(answered())

    assert await captures.repeats(told())
    assert not await captures.repeats(told())


@pytest.mark.parametrize(
    "otherwise",
    [
        {"amount": Money(TOTAL.amount - 1, TOTAL.currency)},
        {"amount": Money(TOTAL.amount, "EUR")},
        {"amount": None},
        {"reference": "pi_2"},
        {"reference": None},
        {"provider": "stranger"},
        {"method": Method.CASH_ON_DELIVERY},
        {"captured": False},
        {"card": None},
        {"failure": Failure(code="card_declined", message="No.")},
    ],
    ids=str,
)
async def test_a_webhook_that_differs_in_any_field_is_not_a_repeat(otherwise: Any) -> None:
    """It makes nobody forget the capture, either."""
    captures = Captures()
    captures.remember(answered())

    assert not await captures.repeats(told(**otherwise))

    assert await captures.repeats(told())


@pytest.mark.parametrize(
    "otherwise",
    [
        {"status": PaymentStatus.REJECTED},
        {"status": PaymentStatus.AWAITING_PAYMENT},
        {"status": PaymentStatus.REFUNDED},
        {"replayed": True},
    ],
    ids=str,
)
async def test_only_a_capture_made_just_now_is_remembered(otherwise: Any) -> None:
    captures = Captures()

    captures.remember(answered(**otherwise))

    assert not await captures.repeats(told())


async def test_another_gateway_does_not_know_the_capture() -> None:
    Captures().remember(answered())

    assert not await Captures().repeats(told())


async def test_a_webhook_that_comes_first_waits_for_the_answer() -> None:
    captures = Captures()

    with captures.awaited("pay_1"):
        webhook = await begun(captures, told())
        waits = not webhook.done()
        captures.remember(answered())

    assert waits
    assert await webhook


async def test_a_webhook_that_has_waited_is_compared_like_any_other() -> None:
    captures = Captures()

    with captures.awaited("pay_1"):
        webhook = await begun(captures, told(reference="pi_2"))
        captures.remember(answered())

    assert not await webhook


async def test_no_second_webhook_of_a_payment_waits() -> None:
    """So no more wait than payments are being made, however often one is sent."""
    captures = Captures()

    with captures.awaited("pay_1"):
        first = await begun(captures, told())
        async with asyncio.timeout(AT_ONCE):
            second = await captures.repeats(told())
        captures.remember(answered())

    assert not second
    assert await first


@pytest.mark.parametrize("otherwise", [{"captured": False}, {"payment_id": "pay_2"}], ids=str)
async def test_a_webhook_of_a_decline_or_another_payment_does_not_wait(otherwise: Any) -> None:
    captures = Captures()

    with captures.awaited("pay_1"):
        async with asyncio.timeout(AT_ONCE):
            assert not await captures.repeats(msgspec.structs.replace(told(), **otherwise))


async def test_a_webhook_waits_for_a_limited_time() -> None:
    captures = Captures(patience=0.05)

    with captures.awaited("pay_1"):
        async with asyncio.timeout(AT_ONCE):
            assert not await captures.repeats(told())


@pytest.mark.parametrize("outage", [OutcomeUnknown("lost"), asyncio.CancelledError()], ids=repr)
async def test_a_webhook_stops_waiting_when_payments_fails(outage: BaseException) -> None:
    captures = Captures()

    async def ask() -> None:
        with captures.awaited("pay_1"):
            await asyncio.sleep(0.1)
            raise outage

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    webhook = await begun(captures, told())

    with pytest.raises(type(outage)):
        await asking
    async with asyncio.timeout(AT_ONCE):
        assert not await webhook


async def test_the_oldest_capture_is_forgotten_when_there_are_too_many() -> None:
    captures = Captures(most=2)

    for payment_id in ("pay_1", "pay_2", "pay_3"):
        captures.remember(answered(payment_id))

    assert not await captures.repeats(told("pay_1"))
    assert await captures.repeats(told("pay_2"))
    assert await captures.repeats(told("pay_3"))


async def test_an_old_capture_is_forgotten() -> None:
    captures = Captures(kept_for=0.1)

    captures.remember(answered("pay_1"))
    await asyncio.sleep(0.15)
    captures.remember(answered("pay_2"))

    assert not await captures.repeats(told("pay_1"))
    assert await captures.repeats(told("pay_2"))
