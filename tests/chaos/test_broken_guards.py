"""The chaos suite detects broken guards: it fails, and names the right promise.

Each guard needs its own system for about a minute: `make guards`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from . import bad_neighbours, failovers, faults
from .faults import Fault
from .round import Plan, play
from .test_guessing import ALLOWED, guess
from .test_rolling_restart import failures, roll_out


class Broken(msgspec.Struct, frozen=True):
    """The promise that a broken guard breaks, and the faults and settings that reveal it."""

    promise: int
    faults: Sequence[Fault] = ()
    replicated: bool = False
    settings: Mapping[str, str] = {}


AT_SHIPMENT = {"CARD_CAPTURE": "shipment"}
BROKEN = {
    "stock": Broken(2),
    "adjusted stock": Broken(2),
    "an adjustment's event": Broken(5),
    "open orders": Broken(11, [faults.time_passes(20)]),
    "pieces": Broken(11),
    "expected total": Broken(12),
    "canceled payments": Broken(5),
    "ship or cancel": Broken(13),
    "restock once": Broken(13, [faults.disorder("products", 20)]),
    "idempotency key": Broken(1),
    "whose key": Broken(1),
    "ack after effect": Broken(6, [faults.crash("notifications", "ack.after", 5)]),
    "confirm before clearing": Broken(
        5,
        [faults.lose_what_is_sent(who, "rabbitmq", 2) for who in ("orders", "payments")],
    ),
    "write before publishing": Broken(
        7, [faults.crash("orders", "commit.before", count) for count in (20, 21, 22)]
    ),
    "journal": Broken(1, [faults.kill("mongod")] * 4),
    "majority": Broken(3, [failovers.roll_back(alone) for alone in (7, 8, 9, 10)], replicated=True),
    "outbox": Broken(5, [faults.crash("orders", "commit.after", 20)] * 2),
    "charge once": Broken(3, [faults.provider(3, 2)]),
    "one payment": Broken(3),
    "the payment's address": Broken(1),
    "mail once": Broken(7, [faults.crash("notifications", "ack.before", 5)]),
    "dead letters once": Broken(7, [bad_neighbours.a_dead_letter_waits("orders")]),
    "redeliveries alone": Broken(6, [bad_neighbours.event_kills_its_reader("notifications")]),
    "refused copies": Broken(5, [bad_neighbours.retries_are_refused("orders", 5, full=False)]),
    "past what fails": Broken(3, [bad_neighbours.one_payment_fails()]),
    "a mail's own failure": Broken(7, [bad_neighbours.most_mail_fails(40)]),
    "addresses": Broken(1),
    "the provider asked": Broken(3, [faults.webhooks_lie(8)]),
    "actions ended": Broken(3, [faults.time_passes(20)]),
    "what is left": Broken(3, [faults.time_passes(20)]),
    "refunds by id": Broken(5, [faults.time_passes(20)]),
    "captured first": Broken(3, [faults.time_passes(20)], settings=AT_SHIPMENT),
    "voided with its order": Broken(3, [faults.time_passes(20)], settings=AT_SHIPMENT),
}


long = pytest.mark.skipif(not os.environ.get("GUARDS"), reason="takes minutes: make guards")


@long
@pytest.mark.parametrize("guard", BROKEN)
async def test_a_broken_guard_is_detected(guard: str, tmp_path: Path) -> None:
    broken = BROKEN[guard]
    plan = Plan(
        seed=1,
        faults=lambda _: [*broken.faults, faults.time_passes(10)],
        replicated=broken.replicated,
        purchases=300,
        think=0.3,
        quiet_within=15,
        settings={**broken.settings, **_broken(guard)},
    )

    result = await play(plan, tmp_path / "system")

    assert broken.promise in {violation.promise for violation in result.found}, str(result)


@long
async def test_a_stop_that_drops_running_work_is_detected(tmp_path: Path) -> None:
    result = await roll_out(tmp_path / "system", _broken("finish what is in hand"))

    assert failures(result) - {"503"}, str(result)


@long
@pytest.mark.parametrize("guard", ["limits shared", "limits beforehand"])
async def test_a_broken_rate_limit_is_detected(guard: str, tmp_path: Path) -> None:
    assert await guess(tmp_path / "system", _broken(guard)) > ALLOWED


def _broken(guard: str) -> dict[str, str]:
    return {"BREAK": guard}
