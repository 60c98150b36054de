"""Replaying and dropping dead letters. No message is lost, even if the tool is killed.

replay   Write the audit line, publish, wait for RabbitMQ's confirm, acknowledge the dead letter.
         If the tool is killed in between, the event is replayed and still dead-lettered. A second
         replay is harmless, because consumers apply an event once in effect.
drop     Write the audit line with the whole message, acknowledge the dead letter.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from aio_pika.abc import AbstractConnection

from cartwheel.kernel.operating import topology, wire
from cartwheel.operations.dead_letters import queue
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.operations.dead_letters.queue import Fetched, as_published

_CONFIRM_WITHIN = 10.0
_TOGETHER = 50
"""Messages whose audit lines share one write, and whose confirms are awaited together."""

_HELD_AT_MOST = 60.0
"""Seconds for which a window's messages stay unacknowledged. RabbitMQ permits 30 minutes."""

OnDone = Callable[[Line], None]


async def find(
    connection: AbstractConnection, services: Sequence[str], ids: frozenset[str]
) -> list[DeadLetter]:
    """Return all dead letters with one of `ids`; they stay in their queues."""
    found: list[DeadLetter] = []
    for service in services:
        async with queue.fetching(connection, service) as windows:
            async for window in windows:
                found += [each.letter for each in window if each.letter.id in ids]
    return found


async def act(
    connection: AbstractConnection,
    services: Sequence[str],
    ids: frozenset[str],
    *,
    action: Action,
    why: str | None = None,
    audit: Audit,
    on_done: OnDone,
) -> frozenset[str]:
    """Replay or drop all dead letters with one of `ids`; return the ids that were found."""
    found: set[str] = set()
    for service in services:
        async with queue.fetching(connection, service) as windows:
            async for window in windows:
                matching = [each for each in window if each.letter.id in ids]
                found |= {each.letter.id for each in matching}
                await _settle(matching, action, why, audit, on_done)
    return frozenset(found)


async def replay_all(
    connection: AbstractConnection,
    services: Sequence[str],
    *,
    rate: float,
    audit: Audit,
    on_done: OnDone,
) -> int:
    """Replay all current dead letters, at most `rate` a second; return their number."""
    window = min(queue.WINDOW, max(1, int(rate * _HELD_AT_MOST)))
    replayed = 0
    for service in services:
        async with queue.fetching(connection, service, window=window) as windows:
            async for batch in _paced(windows, rate):
                await _settle(batch, Action.REPLAY, None, audit, on_done)
                replayed += len(batch)
    return replayed


async def _paced(
    windows: AsyncIterator[list[Fetched]], rate: float
) -> AsyncIterator[list[Fetched]]:
    together = max(1, min(_TOGETHER, int(rate / 5)))
    next_at = time.monotonic()
    async for window in windows:
        for start in range(0, len(window), together):
            await asyncio.sleep(next_at - time.monotonic())
            batch = window[start : start + together]
            next_at = max(next_at, time.monotonic()) + len(batch) / rate
            yield batch


async def _settle(
    batch: Sequence[Fetched], action: Action, why: str | None, audit: Audit, on_done: OnDone
) -> None:
    if not batch:
        return
    lines = await audit.begin(action, [each.letter for each in batch], why=why)
    if action is Action.REPLAY:
        outcomes = await asyncio.gather(*(_publish(each) for each in batch), return_exceptions=True)
    else:
        outcomes = [None] * len(batch)
    done: list[Line] = []
    for each, line, outcome in zip(batch, lines, outcomes, strict=True):
        if outcome is None:
            # Acknowledge last: from here on, the message exists only where it was published.
            await each.delivery.ack()
            done.append(line)
    for line in await audit.finish(done):
        on_done(line)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def _publish(fetched: Fetched) -> None:
    """Send the message to its service's queue; when this returns, RabbitMQ has it on disk."""
    message = wire.copy_of(fetched.delivery, fetched.letter.headers_to_replay())
    async with asyncio.timeout(_CONFIRM_WITHIN):
        await fetched.channel.default_exchange.publish(
            as_published(message), topology.event_queue(fetched.letter.service), mandatory=True
        )
