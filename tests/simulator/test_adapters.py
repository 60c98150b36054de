import asyncio

import pytest

from cartwheel.gateway import simulator as gateway_simulator
from cartwheel.gateway.card import Card
from cartwheel.gateway.simulator import CardTokens, InvalidCard, open_card_tokens
from cartwheel.kernel.errors import TimedOut, Unavailable
from cartwheel.kernel.http_client import UnexpectedAnswer
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.money import Money
from cartwheel.payments import simulator as payments_simulator
from cartwheel.payments.provider import Captured, Charge, Declined, Outcome, Voided
from cartwheel.payments.simulator import SimulatorCards, open_simulator

from .conftest import API_KEY, Simulator

DECLINED = "4000 0000 0000 0002"
PRICE = Money(1999, "USD")


async def charge_of(tokens: CardTokens, card: Card, payment_id: str) -> Charge:
    token = await tokens.tokenize(card)
    return Charge(payment_id=payment_id, amount=PRICE, token=token.token)


def card_with(number: str, month: int = 12, year: int = 2034, cvc: str = "123") -> Card:
    return Card(number=number, exp_month=month, exp_year=year, cvc=cvc)


async def test_a_card_becomes_a_token_with_brand_and_last_digits(
    tokens: CardTokens, card: Card
) -> None:
    token = await tokens.tokenize(card)

    assert token.token.startswith("tok_")
    assert (token.brand, token.last4) == ("visa", "4242")


async def test_a_good_card_is_captured_once_however_often_it_is_asked_for(
    cards: SimulatorCards, tokens: CardTokens, card: Card, payment_id: str, simulator: Simulator
) -> None:
    charge = await charge_of(tokens, card, payment_id)

    first, *others = await asyncio.gather(*[cards.charge(charge) for _ in range(5)])

    assert first.verdict == Captured(PRICE)
    assert first.reference
    assert others == [first] * 4
    assert await cards.cancel(payment_id) == first
    assert len(await simulator.entries(payment_id)) == 1


async def test_a_declined_card_is_a_verdict_not_an_exception(
    cards: SimulatorCards, tokens: CardTokens, payment_id: str
) -> None:
    charge = await charge_of(tokens, card_with(DECLINED), payment_id)

    outcome = await cards.charge(charge)

    assert outcome.verdict == Declined(code="card_declined", message="Your card was declined.")
    assert await cards.cancel(payment_id) == outcome


async def test_a_charge_that_comes_after_its_cancellation_is_void(
    cards: SimulatorCards, tokens: CardTokens, card: Card, payment_id: str, simulator: Simulator
) -> None:
    assert await cards.cancel(payment_id) == Outcome(Voided())

    outcome = await cards.charge(await charge_of(tokens, card, payment_id))

    assert outcome.verdict == Voided()
    assert await cards.cancel(payment_id) == outcome
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["cancellation"]


async def test_looking_a_payment_up_tells_its_verdict_and_prevents_nothing(
    cards: SimulatorCards, tokens: CardTokens, card: Card, payment_id: str, simulator: Simulator
) -> None:
    assert await cards.look_up(payment_id) is None
    await simulator.announce(payment_id, await simulator.token())
    assert await cards.look_up(payment_id) is None

    await simulator.post(f"/v1/payments/{payment_id}/cancel")
    assert (await cards.look_up(payment_id)) == await cards.cancel(payment_id)

    another = new_id("pay")
    assert await cards.look_up(another) is None
    charged = await cards.charge(await charge_of(tokens, card, another))
    assert charged.verdict == Captured(PRICE)
    assert await cards.look_up(another) == charged


async def test_looking_up_a_payment_canceled_before_it_was_made_tells_that_it_is_void(
    cards: SimulatorCards, payment_id: str
) -> None:
    await cards.cancel(payment_id)

    assert await cards.look_up(payment_id) == Outcome(Voided())


@pytest.mark.parametrize("kind", ["charge_then_drop", "charge_then_error"])
async def test_no_answer_is_an_outage_and_canceling_finds_the_truth(
    cards: SimulatorCards,
    tokens: CardTokens,
    card: Card,
    payment_id: str,
    simulator: Simulator,
    kind: str,
) -> None:
    charge = await charge_of(tokens, card, payment_id)
    await simulator.post("/v1/faults", {"kind": kind, "payment_id": payment_id})

    with pytest.raises(Unavailable):
        await cards.charge(charge)

    assert (await cards.cancel(payment_id)).verdict == Captured(PRICE)


async def test_nobody_there_is_an_outage(card: Card, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with open_simulator(url, API_KEY) as cards, open_card_tokens(url, API_KEY) as tokens:
        with pytest.raises(Unavailable):
            await cards.cancel("pay_1")
        with pytest.raises(Unavailable):
            await cards.look_up("pay_1")
        with pytest.raises(Unavailable):
            await tokens.tokenize(card)


async def test_silence_is_a_timeout(
    card: Card, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments_simulator, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(gateway_simulator, "ANSWER_WITHIN", 0.2)
    url = f"http://127.0.0.1:{silent_port}"
    async with open_simulator(url, API_KEY) as cards, open_card_tokens(url, API_KEY) as tokens:
        with pytest.raises(TimedOut):
            await cards.cancel("pay_1")
        with pytest.raises(TimedOut):
            await tokens.tokenize(card)


async def test_a_wrong_key_is_nobodys_refusal(simulator: Simulator, card: Card) -> None:
    wrong = "sk_wrong"
    async with (
        open_simulator(simulator.url, wrong) as cards,
        open_card_tokens(simulator.url, wrong) as tokens,
    ):
        with pytest.raises(UnexpectedAnswer, match="401 unauthorized") as charging:
            await cards.cancel("pay_1")
        with pytest.raises(UnexpectedAnswer, match="401 unauthorized"):
            await cards.look_up("pay_1")
        with pytest.raises(UnexpectedAnswer, match="401 unauthorized"):
            await tokens.tokenize(card)
    assert wrong not in str(charging.value)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (card_with("4242424242424241"), "method.number"),
        (card_with("4242424242424242", year=2020), "method.exp_year"),
        (card_with("4242424242424242", month=13), "method.exp_month"),
        (card_with("4242424242424242", cvc="12"), "method.cvc"),
    ],
)
async def test_a_malformed_card_is_refused_by_field(
    tokens: CardTokens, bad: Card, field: str
) -> None:
    with pytest.raises(InvalidCard) as refused:
        await tokens.tokenize(bad)

    assert [error.field for error in refused.value.errors] == [field]
    assert refused.value.code == "invalid_card"
