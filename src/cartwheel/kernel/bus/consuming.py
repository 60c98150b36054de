"""Events in. Each ends in exactly one of four ways:

    done       the effect is stored (or the domain refused it): acknowledged after that
    retried    the event's handling failed: again after 5 s, 60 s, 60 s
    parked     it failed four times, cannot be read, or killed its reader: in `dead.<service>`,
               with reason, stack, attempts and origin
    waiting    a part is away (database, mail): the consumer keeps what it holds (at most
               `PREFETCH`, so no more comes) and goes on when a probe succeeds, however long
               that takes. Given back, each event would count as delivered again, and a part
               that is away for a minute would park it

At least once, in any order: handlers guard their effect in the same write as the effect.
"""

import asyncio
import contextlib
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import aiormq.exceptions
import msgspec
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
    HeadersType,
)

from cartwheel.kernel import crash_points
from cartwheel.kernel.bus import topology, wire
from cartwheel.kernel.bus.connection import CONNECTION_ERRORS, open_channel
from cartwheel.kernel.bus.deadline import until
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.errors import DeadLetter, Refusal, RetryLater
from cartwheel.kernel.lane import Lane
from cartwheel.kernel.messages import CloudEvent, Event
from cartwheel.kernel.outages import is_outage
from cartwheel.kernel.telemetry import continue_trace, log

Data = TypeVar("Data", bound=Event)

PREFETCH = 64
PUBLISH_TIMEOUT = 10.0
HANDLE_WITHIN = 20.0
"""Seconds for one event, after which the part it waits for counts as away."""

PROBE_WITHIN = 5.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two probes of a part that is away, or two tries after probes that succeeded."""

ATTEMPTS = "attempts"
Probe = Callable[[], Awaitable[object]]


class On(msgspec.Struct, frozen=True):
    """A row of a service's table: what `handler` does on events of `kind`.

    `alone` handles a single event past the batch, for one that may have killed its reader.
    """

    kind: type[Event]
    handler: Callable[[CloudEvent[Any]], Awaitable[object]]
    alone: Callable[[CloudEvent[Any]], Awaitable[object]]


def on(kind: type[Data], handler: Callable[[CloudEvent[Data]], Awaitable[object]]) -> On:
    """Handle each event of `kind` by itself, many at once."""
    return On(kind, handler, handler)


def on_batch(
    kind: type[Data],
    handler: Callable[[list[CloudEvent[Data]]], Awaitable[Sequence[Refusal | None]]],
    *,
    limit: int = 64,
) -> On:
    """Handle events of `kind` together; `handler` returns, in their order, None or a refusal."""
    lane: Lane[CloudEvent[Data], None] = Lane(handler, limit=limit)

    async def alone(event: CloudEvent[Data]) -> None:
        for result in await handler([event]):
            if result is not None:
                raise result

    return On(kind, lane.submit, alone)


class Consumer:
    """Takes a service's events. Open it on a `Connection`."""

    def __init__(self, service: str, table: Iterable[On], *, probe: Probe) -> None:
        self._service = service
        self._table = {row.kind.type: row for row in table}
        self._kinds = {name: row.kind for name, row in self._table.items()}
        self._probe = probe
        self._channel: AbstractChannel | None = None
        self._queue: AbstractQueue | None = None
        self._tag: str | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        self._pause: asyncio.Task[None] | None = None
        self._pause_for = SHORTEST_PAUSE
        self._connection_number = 0
        self._stopping = False

    async def open(self, connection: AbstractConnection) -> AbstractChannel:
        channel = await open_channel(connection, confirms=True, prefetch=PREFETCH)
        self._channel = channel
        self._queue = await channel.get_queue(topology.event_queue(self._service), ensure=False)
        if not self._stopping:
            self._tag = await self._queue.consume(self._on_message)
        return channel

    def lost(self) -> None:
        self._connection_number += 1
        self._channel = None
        self._queue = None
        self._tag = None

    async def drain(self) -> None:
        """Take nothing new, give back what has not begun, and return when the rest is done."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        if self._queue is not None and self._tag is not None:
            with contextlib.suppress(*CONNECTION_ERRORS):
                await self._queue.cancel(self._tag)
        while self._in_hand:
            await asyncio.wait(self._in_hand)

    async def _on_message(self, message: AbstractIncomingMessage) -> None:
        # The library cancels this callback with its channel; the work itself must go on.
        task = asyncio.create_task(self._handle(message))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        connection = self._connection_number
        try:
            while connection == self._connection_number:
                if self._pause is not None:
                    await asyncio.wait({self._pause})
                elif self._stopping:
                    await message.reject(requeue=True)
                    return
                elif await self._done_with(message):
                    self._pause_for = SHORTEST_PAUSE
                    # Ack after the effect is stored: a crash between the two repeats the event.
                    crash_points.reach("ack.before")
                    await message.ack()
                    crash_points.reach("ack.after")
                    return
        except CONNECTION_ERRORS as error:
            # Unacknowledged, so RabbitMQ delivers it again.
            log.warning("event given back with the connection", error=repr(error))

    async def _done_with(self, message: AbstractIncomingMessage) -> bool:
        """Handle, retry or park `message`; return False if a part is away instead."""
        try:
            event = wire.read_event(message, self._kinds)
        except wire.Undecodable as error:
            await self._park(message, error)
            return True
        continue_trace(event.traceparent)
        row = self._table[event.type]
        handler = row.alone if message.redelivered else row.handler
        try:
            async with until(time.time() + HANDLE_WITHIN):
                await handler(event)
            log.info("event handled", type=event.type, subject=event.subject)
        except Refusal as refusal:
            log.info(
                "event refused",
                type=event.type,
                subject=event.subject,
                code=refusal.code,
                detail=refusal.detail,
            )
        except DeadLetter as error:
            await self._park(message, error, _attempts(message) + 1)
        except RetryLater as error:
            attempts = _attempts(message) + 1
            delay = topology.RETRY_DELAYS[min(attempts, len(topology.RETRY_DELAYS)) - 1]
            log.warning("event again later", type=event.type, delay=delay, error=str(error))
            queue = topology.retry_queue(self._service, delay)
            await self._send(message, queue, {ATTEMPTS: attempts})
        except Exception as error:
            if is_outage(error):
                log.warning("a part is away: consuming stops", type=event.type, error=repr(error))
                self._start_pause()
                return False
            await self._retry(message, event, error)
        return True

    async def _retry(
        self, message: AbstractIncomingMessage, event: CloudEvent[Any], error: Exception
    ) -> None:
        attempts = _attempts(message) + 1
        delays = (*topology.RETRY_DELAYS, topology.RETRY_DELAYS[-1])
        if attempts > len(delays):
            await self._park(message, error, attempts)
            return
        delay = delays[attempts - 1]
        log.exception(
            "event failed", type=event.type, subject=event.subject, attempts=attempts, delay=delay
        )
        await self._send(message, topology.retry_queue(self._service, delay), {ATTEMPTS: attempts})

    async def _park(
        self, message: AbstractIncomingMessage, error: Exception, attempts: int = 1
    ) -> None:
        log.error("event parked", id=message.message_id, attempts=attempts, error=repr(error))
        await self._send(
            message,
            topology.dead_queue(self._service),
            {
                ATTEMPTS: attempts,
                "reason": str(error)[:1000] or type(error).__name__,
                "stack": "".join(traceback.format_exception(error))[-8000:],
                "origin": topology.event_queue(self._service),
                "parked_at": utc_now().isoformat(),
            },
        )

    async def _send(
        self, message: AbstractIncomingMessage, queue: str, headers: HeadersType
    ) -> None:
        if self._channel is None:
            raise aiormq.exceptions.ChannelInvalidStateError("the channel is gone")
        copy = wire.copy_of(message, {**message.headers, **headers})
        async with asyncio.timeout(PUBLISH_TIMEOUT):
            await self._channel.default_exchange.publish(copy, queue, mandatory=True)

    def _start_pause(self) -> None:
        if self._pause is None and not self._stopping:
            self._pause = asyncio.create_task(self._wait_for_parts())

    async def _wait_for_parts(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._pause_for)
                # Longer each time, also when the probe succeeds and the handlers fail all the same.
                self._pause_for = min(self._pause_for * 2, LONGEST_PAUSE)
                try:
                    async with until(time.time() + PROBE_WITHIN):
                        await self._probe()
                    break
                except Exception as error:
                    log.warning("still waiting for a part", error=repr(error))
        finally:
            self._pause = None
        log.info("the part is back: consuming goes on")


def _attempts(message: AbstractIncomingMessage) -> int:
    return int(str(message.headers.get(ATTEMPTS, 0)))
