"""What the servers have counted: how many steps a purchase takes, beside what they cost.

Read from counters that mongod and RabbitMQ keep anyway, before and after a run, so that counting
disturbs nothing. `make test` counts the steps of one purchase alone exactly, by a proxy on every
way (tests/cost); here they are those of many at once, on average.
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
"""By what is counted, in the order in which it is shown."""


class CannotCount(Exception):
    """A server does not say what it has counted."""


class Counter:
    """Reads what `system`'s servers have counted. Made by `counter`."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._by_the_clock: Counts = {}
        """Of MongoDB's counts, those of one second in which nobody buys."""

    async def look_at_rest(self, seconds: float) -> None:
        """Learn what the clock does (sweeps, leases, jobs), so that `between` leaves it out."""
        before = await self._of_mongodb()
        await asyncio.sleep(seconds)
        after = await self._of_mongodb()
        self._by_the_clock = {name: (after[name] - before[name]) / seconds for name in after}

    async def now(self) -> Counts:
        """Return all counters. Takes a second: RabbitMQ is asked by `rabbitmqctl`."""
        return {
            **await self._of_mongodb(),
            **await self._of_rabbitmq(),
            "HTTP requests at the gateway": float(_lines(self._system.supervisor.log("gateway"))),
        }

    def between(self, before: Counts, after: Counts, *, seconds: float) -> Counts:
        """Return what was counted in `seconds`, less what the clock does in them."""
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
    """Return what `rabbit_global_counters:overview()` tells.

    It does not count answers, which go past all queues. Events are what is confirmed, so all else
    that is published is a request, a ping or an answer, and is delivered once. The bench's own
    queue is a classic one, and not among the deliveries.

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
