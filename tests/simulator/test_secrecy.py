"""Card numbers and CVCs are in the request's memory and nowhere else."""

import re
import sqlite3
from collections.abc import Callable

import msgspec
import pytest
from rich.pretty import pretty_repr

from cartwheel.gateway.card import Card
from cartwheel.gateway.simulator import open_card_tokens
from cartwheel.kernel.errors import Invalid, Unavailable

from .conftest import API_KEY, Receiver, Simulator

NUMBERS = (
    "378282246310005",
    "4242424242424242",
    "4000000000000002",
    "4111111111111111",
    "4111111111111112",
)
CVC = "7319"


async def test_card_data_is_in_no_file_of_the_simulator(
    own_simulator: Callable[[str | None], Simulator], receiver: Receiver
) -> None:
    simulator = own_simulator(receiver.url)
    await simulator.start()
    for number in NUMBERS:
        for cvc in (CVC, f"{CVC}{CVC}", "123"):  # right for Amex, for none, for the others
            card = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": cvc}
            status, token = await simulator.post("/v1/tokens", card)
            await simulator.post("/v1/tokens", {"card": card, "number": [number]})
            await simulator.post("/v1/tokens", f"{number},{cvc}".encode())
            if status == 200:
                new = {"payment_id": token["id"], "amount": 1, "currency": "USD"}
                _, intent = await simulator.post(
                    "/v1/payment_intents",
                    {**new, "token": token["id"]},
                    Idempotency_Key=token["id"],
                )
                await simulator.confirm(intent["id"])

    await simulator.kill()  # leaves the write-ahead log where it is

    files = list(simulator.folder.iterdir())
    assert {"ledger.sqlite", "ledger.sqlite-wal", "log"} <= {file.name for file in files}
    for file in files:
        if file.is_file():
            content = file.read_bytes()
            assert not any(number[:-4].encode() in content for number in NUMBERS), file
            assert (CVC + CVC).encode() not in content, file
        if file.name == "log":
            assert not re.search(rb"\b%b\b" % CVC.encode(), file.read_bytes())
    with sqlite3.connect(simulator.ledger) as outside:
        values = re.findall(r"\w+", "\n".join(outside.iterdump()))
    outside.close()
    assert "amex" in values
    assert CVC not in values
    assert b"card_declined" in b"".join(file.read_bytes() for file in files if file.is_file())


async def test_answers_to_bad_cards_repeat_nothing_of_them(simulator: Simulator) -> None:
    for content in (
        {"number": "4111111111111112", "exp_month": 12, "exp_year": 2034, "cvc": "987"},
        {"number": "4242424242424242", "exp_month": 12, "exp_year": 2034, "cvc": "98765"},
        {"number": "4242424242424242", "exp_month": "4242424242424242", "exp_year": 2034},
        {"number": ["4242424242424242"]},
        b'{"number": "4242424242424242", "cvc": 987',
    ):
        status, answer = await simulator.post("/v1/tokens", content)

        told = msgspec.json.encode(answer)
        assert status in (400, 402)
        assert b"42424242" not in told
        assert b"41111111" not in told
        assert b"987" not in told


@pytest.mark.parametrize("show", [repr, str, pretty_repr, "{!r}".format])
def test_a_card_shows_neither_number_nor_cvc(show: Callable[[Card], str], card: Card) -> None:
    shown = show(card)

    assert "4242" not in shown
    assert "123" not in shown


async def test_an_outage_while_tokenizing_carries_no_card(card: Card, unused_tcp_port: int) -> None:
    async with open_card_tokens(f"http://127.0.0.1:{unused_tcp_port}", API_KEY) as tokens:
        with pytest.raises(Unavailable) as outage:
            await tokens.tokenize(card)

    # What a log that shows local variables would print: the frames of the exception and of
    # everything a logger follows from it.
    assert outage.value.__cause__ is None
    assert outage.value.__suppress_context__
    trace = outage.value.__traceback__
    while trace:
        if "/cartwheel/" in trace.tb_frame.f_code.co_filename:
            assert "4242" not in repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


async def test_a_refusal_carries_no_card(simulator: Simulator) -> None:
    bad = Card(number="4242 4242 4242 4241", exp_month=12, exp_year=2034, cvc="987")
    async with open_card_tokens(simulator.url, API_KEY) as tokens:
        with pytest.raises(Invalid) as refused:
            await tokens.tokenize(bad)

    told = repr((refused.value, refused.value.detail, refused.value.errors))
    assert "4242" not in told
    assert "987" not in told


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": "4242424242424242x"},
        {"number": "42 4242"},
        {"exp_month": 13},
        {"exp_year": 34},
        {"cvc": "12"},
        {"cvc": "4242424242424242"},
        {"holder": ""},
    ],
)
def test_a_malformed_card_is_refused_without_being_quoted(wrong: dict[str, object]) -> None:
    good = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    msgspec.convert(good, Card)

    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({**good, **wrong}, Card)

    assert "4242" not in str(refused.value)
