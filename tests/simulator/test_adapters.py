import asyncio

import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import CardSummary
from cartwheel.kernel import new_id
from cartwheel.kernel.errors import TimedOut, Unavailable
from cartwheel.kernel.http_client import UnexpectedAnswer
from cartwheel.providers.port import (
    ActionRequired,
    Captured,
    Charge,
    Declined,
    Outcome,
    TokenRefused,
    Voided,
)
from cartwheel.providers.simulator import client as payments_simulator
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator

from .browsing import browse
from .conftest import API_KEY, Simulator

DECLINED = "pm_card_chargeDeclined"
PRICE = Money(1999, "USD")


def charge_of(payment_id: str, payment_method: str = "pm_card_visa") -> Charge:
    return Charge(payment_id=payment_id, amount=PRICE, token=payment_method)


async def test_a_good_card_is_captured_once_however_often_it_is_asked_for(
    cards: SimulatorCards, payment_id: str, simulator: Simulator
) -> None:
    charge = charge_of(payment_id)

    first, *others = await asyncio.gather(*[cards.charge(charge) for _ in range(5)])

    assert first.verdict == Captured(PRICE)
    assert first.reference
    assert others == [first] * 4
    assert await cards.cancel(payment_id) == first
    assert len(await simulator.entries(payment_id)) == 1


async def test_a_declined_card_is_a_verdict_not_an_exception(
    cards: SimulatorCards, payment_id: str
) -> None:
    charge = charge_of(payment_id, DECLINED)

    outcome = await cards.charge(charge)

    assert outcome.verdict == Declined(code="card_declined", message="Your card was declined.")
    assert await cards.cancel(payment_id) == outcome


@pytest.mark.parametrize("token", ["pm_card_threeDSecure2Required", None])
async def test_a_customer_is_asked_and_what_they_refuse_does_not_count(
    cards: SimulatorCards, payment_id: str, token: str | None
) -> None:
    charge = Charge(payment_id=payment_id, amount=PRICE, token=token)

    asked = await cards.charge(charge)
    seen = await cards.look_up(payment_id)
    assert isinstance(asked.verdict, ActionRequired)
    await browse(asked.verdict.url, "refuse")

    assert seen == asked
    assert (asked.card is None) == (token is None)
    ended = await cards.cancel(payment_id)
    assert isinstance(ended.verdict, Declined)
    assert ended.verdict.counts is False


async def test_what_a_customer_was_asked_is_void_once_it_is_canceled(
    cards: SimulatorCards, payment_id: str
) -> None:
    asked = await cards.charge(Charge(payment_id=payment_id, amount=PRICE, token=None))

    assert (await cards.cancel(payment_id)).verdict == Voided()
    assert isinstance(asked.verdict, ActionRequired)
    await browse(asked.verdict.url, "approve")
    assert (await cards.cancel(payment_id)).verdict == Voided()


async def test_a_charge_after_its_cancellation_is_void(
    cards: SimulatorCards, payment_id: str, simulator: Simulator
) -> None:
    assert await cards.cancel(payment_id) == Outcome(Voided())

    outcome = await cards.charge(charge_of(payment_id))

    assert outcome.verdict == Voided()
    assert await cards.cancel(payment_id) == outcome
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["cancellation"]


async def test_a_lookup_returns_the_verdict_and_prevents_nothing(
    cards: SimulatorCards, payment_id: str, simulator: Simulator
) -> None:
    assert await cards.look_up(payment_id) is None
    await simulator.announce(payment_id, await simulator.token())
    assert await cards.look_up(payment_id) is None

    await simulator.post(f"/v1/payments/{payment_id}/cancel")
    assert (await cards.look_up(payment_id)) == await cards.cancel(payment_id)

    another = new_id("pay")
    assert await cards.look_up(another) is None
    charged = await cards.charge(charge_of(another))
    assert charged.verdict == Captured(PRICE)
    assert await cards.look_up(another) == charged


async def test_a_lookup_of_a_payment_canceled_before_it_was_made_returns_void(
    cards: SimulatorCards, payment_id: str
) -> None:
    await cards.cancel(payment_id)

    assert await cards.look_up(payment_id) == Outcome(Voided())


@pytest.mark.parametrize("kind", ["charge_then_drop", "charge_then_error"])
async def test_no_answer_is_an_outage_and_canceling_finds_the_truth(
    cards: SimulatorCards,
    payment_id: str,
    simulator: Simulator,
    kind: str,
) -> None:
    charge = charge_of(payment_id)
    await simulator.post("/v1/faults", {"kind": kind, "payment_id": payment_id})

    with pytest.raises(Unavailable):
        await cards.charge(charge)

    assert (await cards.cancel(payment_id)).verdict == Captured(PRICE)


async def test_a_refused_connection_is_an_outage(unused_tcp_port: int) -> None:
    async with open_simulator(f"http://127.0.0.1:{unused_tcp_port}", API_KEY) as cards:
        with pytest.raises(Unavailable):
            await cards.cancel("pay_1")
        with pytest.raises(Unavailable):
            await cards.look_up("pay_1")


async def test_silence_is_a_timeout(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments_simulator, "ANSWER_WITHIN_SECONDS", 0.2)
    async with open_simulator(f"http://127.0.0.1:{silent_port}", API_KEY) as cards:
        with pytest.raises(TimedOut):
            await cards.cancel("pay_1")


async def test_a_wrong_key_is_an_error_and_no_refusal(
    simulator: Simulator, payment_id: str
) -> None:
    wrong = "sk_wrong"
    async with open_simulator(simulator.url, wrong) as cards:
        with pytest.raises(UnexpectedAnswer, match="401 unauthorized") as charging:
            await cards.cancel("pay_1")
        with pytest.raises(UnexpectedAnswer, match="401 unauthorized"):
            await cards.look_up("pay_1")
        with pytest.raises(UnexpectedAnswer, match="401 unauthorized"):
            await cards.charge(charge_of(payment_id))
    assert wrong not in str(charging.value)


@pytest.mark.parametrize("token", ["pm_none", "tok_visa", "pm_card_Visa"])
async def test_an_unknown_token_is_refused_and_nothing_has_happened(
    cards: SimulatorCards, payment_id: str, token: str
) -> None:
    with pytest.raises(TokenRefused):
        await cards.charge(charge_of(payment_id, token))

    assert await cards.look_up(payment_id) is None


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000000002"])
async def test_a_token_pays_once_and_a_repeat_of_its_payment_gets_the_same_answer(
    cards: SimulatorCards, simulator: Simulator, payment_id: str, number: str
) -> None:
    token, another = await simulator.token(number), new_id("pay")
    first = await cards.charge(charge_of(payment_id, token))

    with pytest.raises(TokenRefused):
        await cards.charge(charge_of(another, token))

    assert await cards.charge(charge_of(payment_id, token)) == first
    assert await cards.look_up(another) is None
    assert await simulator.entries(another) == []


async def test_the_verdict_has_the_card_details_that_may_be_shown(
    cards: SimulatorCards, payment_id: str
) -> None:
    outcome = await cards.charge(charge_of(payment_id, "pm_card_amex"))

    assert outcome.card == CardSummary(brand="amex", last4="0005")
    assert (await cards.look_up(payment_id)) == outcome
