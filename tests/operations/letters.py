"""Dead-lettered events, and the service that they are for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection

from cartwheel.kernel import CloudEvent, on
from cartwheel.kernel.lowlevel import Connection
from cartwheel.kernel.operating import ATTEMPTS, topology, wire
from cartwheel.kernel.testing import Consumer, StoredEvent
from cartwheel.operations.dead_letters import actions, listing
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.operations.dead_letters.queue import as_published

from ..kernel.messages import Happened
from ..waiting import eventually
from .conftest import SERVICE

DEAD = topology.dead_queue(SERVICE)
EVENTS = topology.event_queue(SERVICE)


def happened(number: int, id: str | None = None) -> StoredEvent:
    return StoredEvent(
        id=id or f"evt_{number}",
        type=Happened.type,
        source="tests",
        subject=f"thing_{number}",
        sequence=1,
        time=datetime(2026, 11, 22, tzinfo=UTC),
        data=wire.encode(Happened(number=number)).decode(),
    )


async def dead_letter(channel: AbstractChannel, *numbers: int, **headers: Any) -> None:
    """Dead-letter events in the way a consumer does."""
    told = {"reason": "by zero", "stack": "Traceback …", ATTEMPTS: 4, "origin": EVENTS}

    def message(number: int) -> Message:
        letter = as_published(wire.write_event(happened(number)))
        letter.headers.update({**told, **headers})
        return letter

    publish = channel.default_exchange.publish
    await asyncio.gather(*(publish(message(number), DEAD) for number in numbers))


async def count(channel: AbstractChannel, name: str) -> int:
    declared = await channel.declare_queue(name, passive=True)
    return declared.declaration_result.message_count or 0


async def holds(channel: AbstractChannel, name: str, number: int) -> None:
    """Wait until a queue has this many messages: requeuing takes a moment."""

    async def look() -> None:
        assert await count(channel, name) == number

    await eventually(look, within=5)


async def all_dead_letters(rabbitmq: AbstractConnection, limit: int = 0) -> list[DeadLetter]:
    pieces = [some async for some in listing.dead_letters(rabbitmq, [SERVICE], limit=limit)]
    return [each for some in pieces for each in some]


@asynccontextmanager
async def consuming(url: str, handled: list[int], *, broken: bool = False) -> AsyncGenerator[None]:
    """Run the tests' service. A `broken` one fails on every event."""

    async def handle(event: CloudEvent[Happened]) -> None:
        if broken:
            raise ZeroDivisionError("by zero")
        handled.append(event.data.number)

    async def probe() -> None:
        """All dependencies are up."""

    connection = Connection(url, process="tests")
    connection.add(Consumer(SERVICE, [on(Happened, handle)], probe=probe))
    await connection.start()
    try:
        yield
    finally:
        await connection.stop()


async def ids_in(channel: AbstractChannel, name: str) -> set[str]:
    """Consume all messages of a queue; return their ids."""
    taken = await channel.get_queue(name)
    ids: set[str] = set()
    while (message := await taken.get(fail=False, no_ack=True)) is not None:
        ids.add(message.message_id or "")
    return ids


def nobody(line: Line) -> None:
    """Ignore the audit line."""


async def replay(rabbitmq: AbstractConnection, audit: Audit, *ids: str) -> frozenset[str]:
    return await actions.act(
        rabbitmq, [SERVICE], frozenset(ids), action=Action.REPLAY, audit=audit, on_done=nobody
    )
