import asyncio
import contextlib
import sqlite3
from collections.abc import Callable

import aiohttp
import pytest

from cartwheel.kernel import new_id

from .conftest import Simulator


async def test_answered_charges_survive_a_kill(
    own_simulator: Callable[[], Simulator], payment_id: str
) -> None:
    simulator = own_simulator()
    await simulator.start()
    intent_id = await simulator.intent(payment_id)
    before = await simulator.confirm(intent_id)

    await simulator.kill()
    await simulator.start()

    assert await simulator.confirm(intent_id) == before
    assert [entry["kind"] for entry in await simulator.entries(payment_id)] == ["charge"]


async def test_a_kill_under_load_loses_no_answered_charge_and_charges_nothing_twice(
    own_simulator: Callable[[], Simulator],
) -> None:
    simulator = own_simulator()
    await simulator.start()
    intents: dict[str, str] = {}
    answered: set[str] = set()
    in_full_swing = asyncio.Event()

    async def shop() -> None:
        while True:
            payment_id = new_id("pay")
            try:
                intents[payment_id] = await simulator.intent(payment_id)
                await simulator.confirm(intents[payment_id])
            except aiohttp.ClientError:
                return
            answered.add(payment_id)
            if len(answered) == 50:
                in_full_swing.set()

    shoppers = [asyncio.create_task(shop()) for _ in range(8)]
    await asyncio.wait_for(in_full_swing.wait(), 30)
    await simulator.kill()
    await asyncio.gather(*shoppers, return_exceptions=True)
    await simulator.start()

    _, page = await simulator.call("GET", "/v1/ledger?limit=1000")
    charged = [entry["payment_id"] for entry in page["data"]]
    assert page["next_after"] is None
    assert answered <= set(charged) <= set(intents)
    assert len(charged) == len(set(charged))


async def test_the_ledger_only_grows(simulator: Simulator, payment_id: str) -> None:
    await simulator.confirm(await simulator.intent(payment_id))
    intruder = sqlite3.connect(simulator.ledger, timeout=5)

    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        intruder.execute("UPDATE entries SET amount = 1 WHERE payment_id = ?", (payment_id,))
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        intruder.execute("DELETE FROM entries WHERE payment_id = ?", (payment_id,))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        intruder.execute(
            "INSERT INTO entries (at, kind, payment_id) VALUES ('', 'charge', ?)", (payment_id,)
        )
    intruder.close()
    assert len(await simulator.entries(payment_id)) == 1


async def test_a_ledger_of_an_older_version_is_migrated(
    own_simulator: Callable[[], Simulator], payment_id: str
) -> None:
    """It lacks columns: how an intent's key was first used, whether it is only authorized, which
    payment has used up a payment method, which refund or dispute an entry is about, until when an
    authorization is live, and what challenges need."""
    simulator = own_simulator()
    await simulator.start()
    token = await simulator.token()
    announced = await simulator.announce(payment_id, token)
    await simulator.stop()
    with contextlib.closing(sqlite3.connect(simulator.ledger)) as older:
        older.executescript(
            "ALTER TABLE intents DROP COLUMN confirm; ALTER TABLE tokens DROP COLUMN used_by;"
            " DROP TABLE sessions; DROP INDEX once; DROP INDEX by_payment;"
            " ALTER TABLE entries DROP COLUMN about;"
            " ALTER TABLE intents DROP COLUMN capture_method; DROP INDEX one_authorization;"
            " ALTER TABLE entries DROP COLUMN capture_before;"
            " DROP TABLE challenges; ALTER TABLE tokens DROP COLUMN challenged;"
            " ALTER TABLE intents DROP COLUMN return_url;"
            " PRAGMA user_version = 0;"
        )

    await simulator.start()

    assert await simulator.announce(payment_id, token) == announced
    assert (await simulator.confirm(announced[1]["id"]))[1]["status"] == "succeeded"


async def test_it_stops_on_request_even_while_an_answer_is_delayed(
    own_simulator: Callable[[], Simulator], payment_id: str
) -> None:
    simulator = own_simulator()
    await simulator.start()
    intent_id = await simulator.intent(payment_id)
    await simulator.post("/v1/faults", {"kind": "answer_late", "seconds": 60})
    confirming = asyncio.create_task(simulator.confirm(intent_id))
    await asyncio.sleep(0.1)

    status = await simulator.stop()

    assert status == 0
    (outcome,) = await asyncio.gather(confirming, return_exceptions=True)
    assert isinstance(outcome, aiohttp.ClientError)
