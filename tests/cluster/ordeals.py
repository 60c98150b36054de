"""Customers buy while faults are injected into a cluster.

The result is the number of failed requests, and the longest time without an order.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from cartwheel.local.cluster.running import Cluster

from ..chaos.customers import trading
from ..chaos.evidence import collect
from ..chaos.history import Call, History
from ..chaos.promises import Violation, violations
from ..chaos.quiet import NotQuiet, quiet
from ..chaos.verified import verified

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 3.0
"""Seconds of undisturbed trade before and after each ordeal."""
QUIET_WITHIN_SECONDS = 120.0
LONGEST_GAP_SECONDS = 15.0
"""The longest time without an order. The aim is 2 s for RabbitMQ and 5 s for MongoDB, on a machine
that is less busy than a test machine may be."""


class Ordeal(msgspec.Struct, frozen=True):
    """A fault, its duration in seconds, and how it is healed."""

    name: str
    do: Callable[[Cluster], Awaitable[object]]
    seconds: float
    undo: Callable[[Cluster], Awaitable[object]]


class Row(msgspec.Struct, frozen=True):
    """The effect of an ordeal on customers, in seconds: `gap` is the longest time without an order,
    `slowest` the time of the slowest failure."""

    name: str
    requests: int
    failed: int
    slowest: float
    gap: float

    def __str__(self) -> str:
        return (
            f"{self.name:34}{self.failed:5} of {self.requests:5} failed"
            f" (slowest {self.slowest:4.1f} s), longest gap {self.gap:5.1f} s"
        )


class Result(msgspec.Struct, frozen=True):
    rows: list[Row]
    found: list[Violation]
    failures: list[str]

    def __str__(self) -> str:
        broken = [f"promise {each.promise}: {each.what}" for each in self.found]
        return "\n".join(["", *map(str, self.rows), *broken, *self.failures[:20]])


async def endured(
    shop: Cluster,
    ordeals: Sequence[Ordeal],
    file: Path,
    *,
    customers: int = 10,
    think: float = 1.0,
    seed: int = 1,
    older: bool = False,
) -> Result:
    """Run `ordeals` one after the other; return their effects and the broken promises.

    The customers' requests are recorded in `file`. By default there are just enough
    customers for a request to be under way at any time.

    With `older`, they request nothing that an older version does not know.
    """
    history = History(file)
    spans: list[tuple[str, float, float]] = []
    found: list[Violation] = []
    try:
        async with trading(
            shop.system.url,
            history,
            seed=seed,
            customers=customers,
            purchases=10_000,
            think=think,
            older=older,
        ) as finish:
            for ordeal in ordeals:
                await asyncio.sleep(BEFORE_SECONDS)
                began = time.time()
                history.fault(ordeal.name)
                await ordeal.do(shop)
                await asyncio.sleep(ordeal.seconds)
                await ordeal.undo(shop)
                await shop.healthy()
                await asyncio.sleep(AFTER_SECONDS)
                spans.append((ordeal.name, began, time.time()))
            history.fault("healed")
            await finish()
        try:
            await quiet(shop.system, within=QUIET_WITHIN_SECONDS, deadline=False)
        except NotQuiet as error:
            found.append(Violation(5, f"not quiet: {error}"))
        found += await verified(shop.system)
        # An older version bounds nobody's orders.
        settings = {"MAX_OPEN_ORDERS": "0"} if older else {}
        found += violations(await collect(shop.system, history, settings))
    finally:
        history.close()
    failed = [call for call in history.calls if _has_failed(call)]
    return Result(
        rows=[_row(name, history.calls, began, ended) for name, began, ended in spans],
        found=found,
        failures=[
            f"{call.at:.1f} {call.took:4.1f} s {call.method} {call.path[:40]}"
            f" {call.status} {call.code or call.error}"
            for call in failed
        ],
    )


def _has_failed(call: Call) -> bool:
    return call.status is None or call.status >= 500


def _row(name: str, calls: Sequence[Call], began: float, ended: float) -> Row:
    during = [call for call in calls if began <= call.at + call.took and call.at <= ended]
    failed = [call for call in during if _has_failed(call)]
    placed = sorted(
        call.at + call.took
        for call in calls
        if call.method == "POST" and call.path == "/orders" and call.status == 201
    )
    gaps = [
        later - earlier for earlier, later in pairwise(placed) if earlier < ended and later > began
    ]
    return Row(
        name=name,
        requests=len(during),
        failed=len(failed),
        slowest=max((call.took for call in failed), default=0.0),
        gap=max(gaps, default=ended - began),
    )


def show(result: Result) -> None:
    """Print the result, for tests that are run by hand."""
    sys.stdout.write(f"{result}\n")


def check(result: Result) -> None:
    """Fail if a promise was broken, or if nobody could order for too long."""
    show(result)
    assert not result.found, str(result)
    assert all(row.gap < LONGEST_GAP_SECONDS for row in result.rows), str(result)
