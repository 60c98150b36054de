"""One poison event among a thousand good ones does not affect the others, and is not lost.

This is a long test: `make chaos`, or `LONG=1`.
"""

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import msgspec
import pytest
from aio_pika.abc import AbstractChannel
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.contracts.identity import User
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import Line, OrderPaid, OrderSnapshot
from cartwheel.kernel import mongodb, new_id
from cartwheel.kernel.operating import ATTEMPTS, topology, wire
from cartwheel.local.up import System, running
from cartwheel.operations.dead_letters.queue import as_published

from ..journeys.command_line import cartwheel
from ..journeys.outside import mailed
from ..waiting import eventually
from .mischief import with_breaking

GOOD = 1000
A_SECOND = 40
WARM = 100
"""Good events before the measurement."""

SERVICE = "notifications"
EVENTS, DEAD = topology.event_queue(SERVICE), topology.dead_queue(SERVICE)
POISONED = "poisoned@example.com"

RATIO = 3.0
SHORTEST = 0.1
"""Seconds. On a noisy machine, latencies below this cannot be told apart."""


class Latency(msgspec.Struct, frozen=True):
    """Seconds from an event's publication until its mail was sent."""

    median: float
    p99: float
    most: float

    def is_like(self, other: "Latency") -> bool:
        return all(
            ours < RATIO * max(theirs, SHORTEST)
            for ours, theirs in zip(
                msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True
            )
        )


@pytest.mark.skipif(not os.environ.get("LONG"), reason="takes minutes: make chaos")
async def test_one_poison_event_among_a_thousand_affects_no_other(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "system", given={}) as system,
        mongodb.connect(system.environment["MONGODB_URI"], process="tests") as client,
        await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):
        mail = mongodb.database(client, SERVICE)["mail"]
        await _deploy(system, BREAK="one customer", PYTHONPATH=with_breaking())
        poison = _paid(POISONED)
        failing = as_published(wire.write_event(poison))
        failing.headers[ATTEMPTS] = len(topology.RETRY_DELAYS) + 1  # its last attempt, not in 125 s

        await _latency(mail, channel, WARM)
        without = await _latency(mail, channel, GOOD)
        among = await _latency(mail, channel, GOOD, failing)

        told = f"without poison {without}, with it {among}"
        print(told)  # noqa: T201 the numbers, for docs/reliability-runs.md: pytest -s or -rP
        assert among.is_like(without), told

        # It is dead-lettered once, whatever else arrives.
        assert await _count(channel, DEAD) == 1
        log = (tmp_path / "system" / "logs" / f"{SERVICE}.log").read_text()
        assert log.count('"event dead-lettered"') == 1
        listed = await cartwheel(system, "dlq", "list", "--json")
        (found,) = msgspec.json.decode(listed.output)
        assert (found["service"], found["id"]) == (SERVICE, poison.id)
        assert (found["reason"], found["attempts"]) == ("by zero", 4)

        shown = await cartwheel(system, "dlq", "show", poison.id)
        assert shown.status == 0, shown.errors
        for words in (
            *("reason: by zero", "attempts: 4", "ZeroDivisionError", "in tell_customer"),
            POISONED,
        ):
            assert words in shown.output

        await _deploy(system)  # the fix
        replayed = await cartwheel(system, "dlq", "replay", poison.id)
        assert replayed.status == 0, replayed.errors

        async def told_after_all() -> None:
            document = await mail.find_one({"_id": poison.id})
            assert document is not None
            assert (document["status"], document["sends"]) == ("SENT", 1)

        await eventually(told_after_all)
        await mailed(system, POISONED, count=1)
        assert await _count(channel, DEAD) == 0
        assert await mail.count_documents({}) == WARM + 2 * GOOD + 1


async def _deploy(system: System, **environment: str) -> None:
    """Restart the service, unchanged or with a broken guard."""
    await system.supervisor.stop(SERVICE)
    system.supervisor.next_time(SERVICE, environment)
    await system.supervisor.start(SERVICE)


async def _latency(
    mail: AsyncCollection[mongodb.Document],
    channel: AbstractChannel,
    count: int,
    poison: aio_pika.Message | None = None,
) -> Latency:
    """Publish good events at a steady rate, with `poison` in the middle; return their latency."""
    publish = channel.default_exchange.publish
    published: dict[str, float] = {}
    start = time.time()
    async with asyncio.TaskGroup() as publishing:
        for number in range(count):
            await asyncio.sleep(start + number / A_SECOND - time.time())
            if poison is not None and number == count // 2:
                publishing.create_task(publish(poison, EVENTS))
            event = _paid("grace@example.com")
            published[event.id] = time.time()
            publishing.create_task(publish(as_published(wire.write_event(event)), EVENTS))

    async def all_sent() -> list[Any]:
        query = {"_id": {"$in": list(published)}, "status": "SENT"}
        documents: list[Any] = await mail.find(query, {"sent_at": 1}).to_list()
        assert len(documents) == count
        return documents

    sent = await eventually(all_sent, within=30)
    took = sorted(each["sent_at"].timestamp() - published[each["_id"]] for each in sent)
    return Latency(took[count // 2], took[count * 99 // 100], took[-1])


def _paid(email: str) -> wire.StoredEvent:
    order_id = new_id("ord")
    price = Money(1999, "USD")
    order = OrderSnapshot(
        id=order_id,
        number=order_id[-8:],
        user=User(id=new_id("usr"), name="Grace Hopper", email=email),
        lines=[Line(product_id=new_id("prd"), name="Robot", quantity=1, unit_price=price)],
        total=price,
    )
    return wire.StoredEvent(
        id=new_id("evt"),
        type=OrderPaid.type,
        source="orders",
        subject=order_id,
        sequence=2,
        time=datetime.now(UTC),
        data=wire.encode(OrderPaid(order=order, payment_id=new_id("pay"))).decode(),
    )


async def _count(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count or 0
