"""Counts the steps of a purchase, from the servers' own counters.

mongod and RabbitMQ keep these counters anyway, and they are read before and after a run, so
counting does not disturb the run. `make test` counts the steps of a single purchase exactly, with
proxies (tests/cost). Here they are averages over many concurrent purchases.
"""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient

from cartwheel.local.up import System

_UNWRAPPED = "/usr/lib/rabbitmq/bin/rabbitmqctl"
"""Debian's on PATH is a wrapper that switches to the user of the system service."""

_COMMANDS = ("find", "insert", "update", "findAndModify", "delete", "aggregate", "getMore")
_SHOWN = ("find", "insert", "update")
_ENDS = ("commitTransaction", "abortTransaction")
_GATEWAY_REQUEST = b'"event":"request"'

Counts = Mapping[str, float]
"""Numbers by step, in the order in which they are shown."""


class CannotCount(Exception):
    """A server's counters cannot be read."""


class Counter:
    """Reads the counters of `system`'s servers. Made by `counter`."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._by_the_clock: Counts = {}
        """MongoDB's counts in one second without purchases."""

    async def look_at_rest(self, seconds: float) -> None:
        """Measure background work (sweeps, leases, jobs), so that `between` can subtract it."""
        before = await self._of_mongodb()
        await asyncio.sleep(seconds)
        after = await self._of_mongodb()
        self._by_the_clock = {name: (after[name] - before[name]) / seconds for name in after}

    async def now(self) -> Counts:
        """Return all counters. This takes a second, because `rabbitmqctl` is slow."""
        return {
            **await self._of_mongodb(),
            **await self._of_rabbitmq(),
            "HTTP requests at the gateway": float(_lines(self._system.supervisor.log("gateway"))),
        }

    def between(self, before: Counts, after: Counts, *, seconds: float) -> Counts:
        """Return the counts during `seconds`, without background work."""
        return {
            name: after[name] - before[name] - self._by_the_clock.get(name, 0.0) * seconds
            for name in after
        }

    async def _of_mongodb(self) -> Counts:
        uri = self._system.environment["MONGODB_URI"]
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            status = await client.admin.command("serverStatus")
        commands = status["metrics"]["commands"]
        total = {name: float(commands[name]["total"]) for name in (*_COMMANDS, *_ENDS)}
        log = status["wiredTiger"]["log"]
        return {
            "MongoDB commands": sum(total.values()),
            **{name: total[name] for name in _SHOWN},
            "transactions": sum(total[name] for name in _ENDS),
            "journal fsyncs": float(log["log sync operations"]),
            "journal bytes": float(log["log bytes written"]),
        }

    async def _of_rabbitmq(self) -> Counts:
        supervisor = self._system.supervisor
        process = await asyncio.create_subprocess_exec(
            *(_rabbitmqctl(), "--silent", "eval", "rabbit_global_counters:overview()."),
            env=supervisor.command("rabbitmq").environment,
            stdout=PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise CannotCount(f"rabbitmqctl: {printed[-500:]}")
        return of_overview(printed)


def of_overview(printed: str) -> Counts:
    """Return the counters in `rabbit_global_counters:overview()`.

    Answers bypass all queues and are not counted as deliveries. Events are the confirmed messages,
    so everything else that is published is a request, a ping or an answer, delivered once. The
    benchmark's own queue is a classic queue, and not among the deliveries.

    Source: https://www.rabbitmq.com/docs/prometheus#global-counters
    """

    def total(name: str, of: str = printed) -> float:
        return float(sum(map(int, re.findall(rf"\b{name} =>\s*(\d+)", of))))

    published, confirmed = total("messages_received_total"), total("messages_confirmed_total")
    _, _, of_quorum_queues = printed.partition("{queue_type,rabbit_quorum_queue}] =>")
    events = total(
        "messages_delivered_total", of_quorum_queues.partition("#{")[2].partition("}")[0]
    )
    return {
        "publishes": published,
        "of them events": confirmed,
        "deliveries": events + published - confirmed,
        "acks": total("messages_acknowledged_total"),
    }


def _lines(log: Path) -> int:
    return log.read_bytes().count(_GATEWAY_REQUEST)


def _rabbitmqctl() -> str:
    found = _UNWRAPPED if Path(_UNWRAPPED).exists() else shutil.which("rabbitmqctl")
    if found is None:
        raise CannotCount("rabbitmqctl is not installed")
    return found
