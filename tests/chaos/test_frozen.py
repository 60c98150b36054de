"""RabbitMQ freezes for half a minute while the shop is busy.

No request waits forever, no backlog fills the memory, and the shop soon works again. This is a long
test: `make chaos`, or `LONG=1`.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from cartwheel.kernel.testing import REQUEST_DEADLINE_SECONDS

from ..journeys.shop import Customer, Shelf, open_shop
from ..waiting import eventually
from . import faults
from .faults import Fault
from .history import Call, Injected
from .promises import BACK_WITHIN
from .rig import OWN, Rig
from .round import Plan, play

FROZEN = 30.0
ANSWERED_WITHIN = REQUEST_DEADLINE_SECONDS + 2
"""Seconds: the deadline, and a margin for the network and a busy machine."""

MOST_GROWTH = 100 * 2**20
"""Bytes by which a process may grow."""

SMALLEST = 10 * 2**20
"""The least memory of a process, in bytes. With less, the wrong process was measured."""

LOOK_EVERY = 0.5
BEFORE, AFTER = 10.0, 5.0
"""Seconds of trade on the healthy system."""


class Seen(msgspec.Struct):
    """The measurements: bytes per process, number of readings, and Unix times."""

    before: dict[str, int] = {}
    growth: dict[str, int] = {}
    looks: int = 0
    frozen: float = 0
    thawed: float = 0
    bought: float = 0


@pytest.mark.skipif(not os.environ.get("LONG"), reason="takes minutes: make chaos")
async def test_a_frozen_broker_delays_requests_only_while_it_is_frozen(tmp_path: Path) -> None:
    home = tmp_path / "system"
    seen = Seen()
    plan = Plan(
        seed=1,
        faults=lambda _: [
            faults.time_passes(BEFORE),
            _freeze(seen),
        ],
        purchases=10_000,
        think=0.6,
    )

    result = await play(plan, home)

    calls = _calls(home)
    slowest = max(calls, key=lambda call: call.took)
    back = max(
        (call.at for call in calls if call.status is None or call.status >= 500),
        default=seen.thawed,
    )
    told = (
        f"{result}\nslowest {slowest.took:.2f} s ({slowest.method} {slowest.path}"
        f" {slowest.status}), bought {seen.bought - seen.thawed:.2f} s after the thaw,"
        f" the last request to fail was sent {back - seen.thawed:+.2f} s from it;"
        f" {seen.looks} looks at the memory, in MB: before {_megabytes(seen.before)},"
        f" grown by {_megabytes(seen.growth)}"
    )
    print(told)  # noqa: T201 the numbers, for docs/reliability-runs.md: pytest -s or -rP
    assert not result.found, told
    during = [call for call in calls if seen.frozen < call.at < seen.thawed]
    assert any(call.status in (503, 504) for call in during), told  # otherwise nothing was frozen
    assert slowest.took < ANSWERED_WITHIN, told
    assert seen.looks > FROZEN, told  # about two a second
    assert min(seen.before.values()) > SMALLEST, told
    assert max(seen.growth.values()) < MOST_GROWTH, told
    assert seen.bought - seen.thawed < BACK_WITHIN, told


def _freeze(seen: Seen) -> Fault:
    async def run(rig: Rig) -> None:
        async with open_shop(rig.system.url) as shop:
            customer = await shop.sign_up("Newcomer")
            product = await Shelf(await shop.admin()).put_up(stock=100)
            watching = asyncio.create_task(_watch_memory(rig, seen))
            try:
                seen.frozen = time.time()
                await faults.freeze(None, "rabbitmq", FROZEN).run(rig)
                seen.thawed = time.time()
                await eventually(lambda: _buy(customer, product), within=BACK_WITHIN)
                seen.bought = time.time()
                await asyncio.sleep(AFTER)  # the backlog is processed now
            finally:
                watching.cancel()
                # A watcher that died would not have seen any growth.
                with contextlib.suppress(asyncio.CancelledError):
                    await watching

    return Fault(f"freeze all to rabbitmq for {FROZEN:.0f} s, until somebody has bought", run)


async def _buy(customer: Customer, product: object) -> None:
    order = (await customer.order(product)).made
    payment = (await customer.pay(order)).made
    assert payment["status"] == "PAID"
    await customer.sees(order, "PAID", within=5)


async def _watch_memory(rig: Rig, seen: Seen) -> None:
    names = (*OWN, "rabbitmq")
    seen.before = {name: _memory(rig, name) for name in names}
    while True:
        for name in names:
            grown = _memory(rig, name) - seen.before[name]
            seen.growth[name] = max(grown, seen.growth.get(name, grown))
        seen.looks += 1
        await asyncio.sleep(LOOK_EVERY)


def _memory(rig: Rig, name: str) -> int:
    """Return the memory of a process and its helpers in bytes."""
    process = psutil.Process(rig.supervisor.pid(name))
    held = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # RabbitMQ has short-lived helpers
            held += each.memory_info().rss
    return held


def _megabytes(held: dict[str, int]) -> dict[str, float]:
    return {name: round(number / 2**20, 1) for name, number in held.items()}


def _calls(home: Path) -> list[Call]:
    read = msgspec.json.Decoder(Call | Injected).decode
    entries = [read(line) for line in (home / "history.jsonl").read_bytes().splitlines()]
    return [entry for entry in entries if isinstance(entry, Call)]
