"""Checks that can fail: with a guard broken, the suite goes red, and over the right promise.

Each needs a system of its own, a minute or so: `make guards`.
"""

import os
from pathlib import Path

import pytest

from . import faults
from .faults import Fault
from .round import Plan, play
from .test_rolling_restart import failures, roll_out

BROKEN: dict[str, tuple[int, list[Fault]]] = {
    "stock": (2, []),
    "idempotency key": (1, []),
    "ack after effect": (6, [faults.crash("notifications", "ack.after", 5)]),
    "confirm before clearing": (
        5,
        [faults.break_off("orders", "rabbitmq", 2), faults.break_off("payments", "rabbitmq", 2)],
    ),
    "journal": (1, [faults.kill("mongod")] * 4),
    "outbox": (5, [faults.crash("orders", "commit.after", 20)] * 2),
    "charge once": (3, [faults.provider(3, 2)]),
    "mail once": (7, [faults.crash("notifications", "ack.before", 5)]),
}


long = pytest.mark.skipif(not os.environ.get("GUARDS"), reason="takes minutes: make guards")


@long
@pytest.mark.parametrize("guard", BROKEN)
async def test_a_broken_guard_is_seen(guard: str, tmp_path: Path) -> None:
    promise, suffered = BROKEN[guard]
    plan = Plan(
        seed=1,
        faults=lambda _: [*suffered, faults.time_passes(10)],
        purchases=30,
        think=0.3,
        quiet_within=15,
        settings=_broken(guard),
    )

    result = await play(plan, tmp_path / "system")

    assert promise in {violation.promise for violation in result.found}, str(result)


@long
async def test_a_stop_that_drops_what_is_in_hand_is_seen(tmp_path: Path) -> None:
    result = await roll_out(tmp_path / "system", _broken("finish what is in hand"))

    assert failures(result) - {"503"}, str(result)


def _broken(guard: str) -> dict[str, str]:
    return {"BREAK": guard}
