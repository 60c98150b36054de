"""Replay and drop. Nothing is gone before it is somewhere else, wherever the tool is killed.

replay   audit line, publish, wait for RabbitMQ's confirm, acknowledge what was parked.
         Killed in between, the event is both replayed and parked: repeating it changes
         nothing, as consumers apply an event once in effect.
drop     audit line with the whole message, acknowledge.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from aio_pika.abc import AbstractConnection

from cartwheel.kernel.operating import topology, wire
from cartwheel.operations.dead_letters import queue
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.parked import Parked
from cartwheel.operations.dead_letters.queue import Letter, as_published

_CONFIRM_WITHIN = 10.0
_TOGETHER = 50
"""Messages that share one write of audit lines and wait for their confirms together."""

_HELD_AT_MOST = 60.0
"""Seconds for which a window's messages are in hand; RabbitMQ takes them back after 30 min."""

Told = Callable[[Line], None]


async def find(
    connection: AbstractConnection, services: Sequence[str], ids: frozenset[str]
) -> list[Parked]:
    """Return everything parked under `ids`, and give it back."""
    found: list[Parked] = []
    for service in services:
        async with queue.in_hand(connection, service) as windows:
            async for window in windows:
                found += [letter.parked for letter in window if letter.parked.id in ids]
    return found


async def act(
    connection: AbstractConnection,
    services: Sequence[str],
    ids: frozenset[str],
    *,
    action: Action,
    why: str | None = None,
    audit: Audit,
    told: Told,
) -> frozenset[str]:
    """Replay or drop everything parked under `ids`; return those of them that were found."""
    found: set[str] = set()
    for service in services:
        async with queue.in_hand(connection, service) as windows:
            async for window in windows:
                letters = [letter for letter in window if letter.parked.id in ids]
                found |= {letter.parked.id for letter in letters}
                await _settle(letters, action, why, audit, told)
    return frozenset(found)


async def replay_all(
    connection: AbstractConnection,
    services: Sequence[str],
    *,
    rate: float,
    audit: Audit,
    told: Told,
) -> int:
    """Replay everything parked at this moment, `rate` a second at most; return how many."""
    window = min(queue.WINDOW, max(1, int(rate * _HELD_AT_MOST)))
    replayed = 0
    for service in services:
        async with queue.in_hand(connection, service, window=window) as windows:
            async for letters in _paced(windows, rate):
                await _settle(letters, Action.REPLAY, None, audit, told)
                replayed += len(letters)
    return replayed


async def _paced(windows: AsyncIterator[list[Letter]], rate: float) -> AsyncIterator[list[Letter]]:
    together = max(1, min(_TOGETHER, int(rate / 5)))
    next_at = time.monotonic()
    async for window in windows:
        for start in range(0, len(window), together):
            await asyncio.sleep(next_at - time.monotonic())
            batch = window[start : start + together]
            next_at = max(next_at, time.monotonic()) + len(batch) / rate
            yield batch


async def _settle(
    letters: Sequence[Letter], action: Action, why: str | None, audit: Audit, told: Told
) -> None:
    if not letters:
        return
    lines = await audit.begin(action, [letter.parked for letter in letters], why=why)
    if action is Action.REPLAY:
        outcomes = await asyncio.gather(
            *(_publish(letter) for letter in letters), return_exceptions=True
        )
    else:
        outcomes = [None] * len(letters)
    done: list[Line] = []
    for letter, line, outcome in zip(letters, lines, outcomes, strict=True):
        if outcome is None:
            # Only now: what is acknowledged is nowhere else than where it was sent.
            await letter.delivery.ack()
            done.append(line)
    for line in await audit.finish(done):
        told(line)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def _publish(letter: Letter) -> None:
    """Send the message to its service's queue; when this returns, RabbitMQ has it on disk."""
    message = wire.copy_of(letter.delivery, letter.parked.headers_to_replay())
    async with asyncio.timeout(_CONFIRM_WITHIN):
        await letter.channel.default_exchange.publish(
            as_published(message), topology.event_queue(letter.parked.service), mandatory=True
        )
