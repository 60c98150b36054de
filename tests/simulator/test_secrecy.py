"""Card numbers and CVCs exist only in memory, for the time of a request to the simulator."""

import re
import resource
import sqlite3
from collections.abc import Callable

import msgspec

from .conftest import Receiver, Simulator
from .conftest import card as card_of

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
            card = card_of(number, cvc=cvc)
            status, token = await simulator.tokenize(card)
            await simulator.tokenize({**card, "card": {"number": [number]}})
            await simulator.tokenize({**card, "type": number})
            await simulator.tokenize(f"{number},{cvc}".encode())
            await simulator.post("/v1/payment_methods", card)  # the wrong key
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


async def test_answers_to_bad_cards_contain_no_card_data(simulator: Simulator) -> None:
    for content in (
        card_of("4111111111111112", cvc="987"),
        card_of(cvc="98765"),
        card_of(exp_month="4242424242424242"),
        {"type": "card", "card": {"number": ["4242424242424242"]}},
        {**card_of(), "type": "4242424242424242"},
        {"4242424242424242": 1},
        b'{"type": "card", "card": {"number": "4242424242424242", "cvc": 987',
    ):
        status, answer = await simulator.tokenize(content)

        told = msgspec.json.encode(answer)
        assert status in (400, 402)
        assert b"42424242" not in told
        assert b"41111111" not in told
        assert b"987" not in told


async def test_the_simulator_leaves_no_core_dump(
    own_simulator: Callable[[str | None], Simulator],
) -> None:
    """It would hold card numbers."""
    before, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    try:
        simulator = own_simulator(None)
        await simulator.start()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (before, most))

    assert most != 0
    assert resource.prlimit(simulator.pid, resource.RLIMIT_CORE)[0] == 0
