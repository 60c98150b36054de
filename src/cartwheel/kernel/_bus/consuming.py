"""Consumes events. Handling an event has one of four outcomes:

    done            the effect is stored, or the domain refused it; then the event is acknowledged
    retried         the handler failed; the event comes again after 5 s, 60 s and 60 s
    dead-lettered   it failed four times, cannot be read, or killed its consumer; it is moved to
                    `dead.<service>` with reason, stack, attempts and origin
    waiting         a dependency is down (database, mail); the consumer keeps its events (at most
                    `PREFETCH`, so no more arrive) and resumes when a probe succeeds, however long
                    that takes

A consumer requeues events only when it stops, since each requeue counts as a delivery, and too many
deliveries dead-letter an event (`intake`). If RabbitMQ does not accept the copy for the retry or
dead-letter queue, the consumer keeps the event and sends the copy until it is confirmed. After
`RENEW_AFTER_SECONDS` an event is renewed: the consumer publishes a fresh copy to its own queue and
acknowledges the old one. Otherwise RabbitMQ would close the channel at its consumer timeout, and
count that as a delivery, too.

Events arrive at least once, in any order: handlers guard their effect in the same write as the
effect.
"""

import asyncio
import contextlib
import random
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from cartwheel.kernel._amqp.interface import (
    AmqpError,
    Channel,
    Connection,
    ConnectionLost,
    Delivery,
    Message,
    NotTaken,
)
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._bus.intake import Intake
from cartwheel.kernel._core import crash_points
from cartwheel.kernel._core.backoff import backoff
from cartwheel.kernel._core.batcher import BATCH_ITEMS, Batcher, Gather
from cartwheel.kernel._core.clock import utc_now
from cartwheel.kernel._core.deadline import until
from cartwheel.kernel._core.messages import CloudEvent, Event
from cartwheel.kernel._core.outages import is_contention, is_outage
from cartwheel.kernel._core.telemetry import continue_trace, log
from cartwheel.kernel.errors import DeadLetter, Refusal, RetryLater

Data = TypeVar("Data", bound=Event)
Given = ParamSpec("Given")

HANDLE_WITHIN_SECONDS = 20.0
"""Seconds for one event, after which the dependency that it waits for counts as down."""

RENEW_REDELIVERY_AFTER_SECONDS = 5.0
"""Seconds to keep a redelivery that has been tried. Then it is renewed, and no longer handled
alone."""

RENEW_AFTER_SECONDS = 600.0
"""Seconds to keep an event before it is renewed. RabbitMQ's consumer timeout is 30 minutes
(https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout) and must be much longer."""

REQUEUE_AFTER_SECONDS = 2.0
"""Seconds for copies of events to be confirmed when the consumer stops."""

ACKS_ARRIVE_SECONDS = 0.25
"""Seconds from the last acknowledgement until the channel may close. RabbitMQ passes few at a time
to a quorum queue and drops the rest when the channel closes. Those events would be redelivered
(https://github.com/rabbitmq/rabbitmq-server/blob/v3.10.8/deps/rabbit/src/rabbit_fifo_client.erl)."""

PROBE_WITHIN_SECONDS = 5.0
_pause_after = partial(backoff, first=0.5, longest=5.0)
"""Seconds between probes of a dependency that is down, between tries after successful probes, or
between attempts to publish a copy."""

CONTENTION_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The longest pauses, in seconds, between tries during contention. After the last one the event
counts as failed."""

ATTEMPTS = "attempts"
"""The header that counts failures."""

RETRIES_REQUESTED = "retries_requested"
"""The header that counts `RetryLater`, without a limit."""

_COUNT = re.compile(r"[0-9]{1,6}")
Probe = Callable[[], Awaitable[object]]


class On(msgspec.Struct, frozen=True):
    """A row of a service's table: `handler` handles events of `kind`.

    `alone` handles a redelivery, which may have killed its consumer. It bypasses the batch and runs
    at once, since nothing else is in progress meanwhile.
    """

    kind: type[Event]
    handler: Callable[[CloudEvent[Any]], Awaitable[object]]
    alone: Callable[[CloudEvent[Any]], Awaitable[object]]

    def redelivered_to(
        self,
        handler: Callable[Concatenate[CloudEvent[Any], Given], Awaitable[object]],
        *args: Given.args,
        **given: Given.kwargs,
    ) -> "On":
        """Return this row with another handler for redeliveries. A handler that gathers needs one
        that does the same at once."""
        return On(self.kind, self.handler, lambda event: handler(event, *args, **given))


def on(
    kind: type[Data],
    handler: Callable[Concatenate[CloudEvent[Data], Given], Awaitable[object]],
    *args: Given.args,
    **given: Given.kwargs,
) -> On:
    """Handle each event of `kind` by itself, many concurrently. `handler` also gets `given`.

        on(PaymentCaptured, payment_captured, orders=orders)

    Events may be repeated, and arrive in any order.
    """

    def handle(event: CloudEvent[Data]) -> Awaitable[object]:
        return handler(event, *args, **given)

    return On(kind, handle, handle)


def on_batch(
    kind: type[Data],
    handler: Callable[
        Concatenate[list[CloudEvent[Data]], Given], Awaitable[Sequence[Refusal | None]]
    ],
    gather: Gather | None = None,
    /,
    *args: Given.args,
    **given: Given.kwargs,
) -> On:
    """Handle events of `kind` in batches. `handler` returns None or a refusal for each, in order.

    With `gather`, a batch waits to fill:

        on_batch(OrderPaid, commit_stock, Gather(0.2, core.stop), reservations=reservations)

    If the handler raises for a batch, each event is handled alone.
    """

    def handle(events: list[CloudEvent[Data]]) -> Awaitable[Sequence[Refusal | None]]:
        return handler(events, *args, **given)

    batcher: Batcher[CloudEvent[Data], None] = Batcher(
        handle, limit=gather.limit if gather else BATCH_ITEMS, gather=gather
    )

    async def alone(event: CloudEvent[Data]) -> None:
        for result in await handle([event]):
            if result is not None:
                raise result

    return On(kind, batcher.submit, alone)


class _Outcome(Enum):
    """The outcome for an event, unless it is a copy to another queue."""

    DONE = auto()
    WAITING = auto()
    """A dependency is down."""


class _Copy(msgspec.Struct, frozen=True):
    """The event moves to another queue, with these additional headers."""

    queue: str
    headers: Mapping[str, Any] = {}


class Consumer:
    """Consumes a service's events. Add it to a `Connection`."""

    def __init__(self, service: str, table: Iterable[On], *, probe: Probe) -> None:
        self._service = service
        self._table = {row.kind.type: row for row in table}
        self._kinds = {name: row.kind for name, row in self._table.items()}
        self._probe = probe
        self._intake: Intake | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        self._pause: asyncio.Task[None] | None = None
        self._outages = 0
        """How many pauses in a row."""
        self._stopping = False

    async def open(self, connection: Connection) -> Channel:
        channel = await connection.channel(confirms=True)
        self._intake = intake = Intake(channel, topology.event_queue(self._service))
        if not self._stopping:
            await intake.begin(partial(self._on_delivery, intake))
        return channel

    def lost(self) -> None:
        if self._intake is not None:
            self._intake.ended.set()
            self._intake = None

    async def drain(self) -> None:
        """Take no more events, requeue those not begun, and return when the rest is done."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        if (intake := self._intake) is not None:
            await intake.stop()
            asyncio.get_running_loop().call_later(REQUEUE_AFTER_SECONDS, intake.ended.set)
        if self._in_hand:
            while self._in_hand:
                await asyncio.wait(self._in_hand)
            await asyncio.sleep(ACKS_ARRIVE_SECONDS)

    def _on_delivery(self, intake: Intake, message: Delivery) -> None:
        task = asyncio.create_task(self._handle(message, intake))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _handle(self, message: Delivery, intake: Intake) -> None:
        waiting = asyncio.timeout(RENEW_AFTER_SECONDS)
        try:
            try:
                async with waiting:
                    await self._settle(message, intake, waiting)
            except TimeoutError:
                if not waiting.expired():
                    raise
                await self._send(message, intake, _Copy(topology.event_queue(self._service)))
                message.ack()
        except (AmqpError, OSError, TimeoutError) as error:
            # Unacknowledged, so RabbitMQ will redeliver it.
            log.warning("event requeued: the connection was lost", error=repr(error))
        except Exception:
            # A bug in the consumer itself. RabbitMQ dead-letters an event rejected for good.
            log.exception("consumer failed: event dead-lettered", id=message.message_id)
            with contextlib.suppress(ConnectionLost):
                message.reject(requeue=False)

    async def _settle(self, message: Delivery, intake: Intake, waiting: asyncio.Timeout) -> None:
        """Return when `message` is acknowledged, or requeued because the consumer stops.

        `waiting` limits the waiting for others, but not the handling.
        """
        renew_at = waiting.when()
        while not intake.ended.is_set():
            if self._pause is not None:
                await asyncio.wait({self._pause})
            elif self._stopping:
                message.reject(requeue=True)
                return
            else:
                async with intake.turn(message):
                    if self._pause is not None or self._stopping:
                        continue
                    waiting.reschedule(None)
                    outcome = await self._handled(message)
                if message.redelivered and renew_at is not None:
                    # It has been tried and did not kill the consumer, so others need not wait.
                    soon = asyncio.get_running_loop().time() + RENEW_REDELIVERY_AFTER_SECONDS
                    renew_at = min(renew_at, soon)
                if outcome is _Outcome.WAITING:
                    waiting.reschedule(renew_at)
                    continue
                if isinstance(outcome, _Copy):
                    waiting.reschedule(renew_at)
                    await self._send(message, intake, outcome)
                    waiting.reschedule(None)
                self._outages = 0
                # Ack after the effect is stored: a crash in between repeats the event.
                crash_points.reach("ack.before")
                message.ack()
                crash_points.reach_in_a_turn("ack.after")
                return

    async def _handled(self, message: Delivery) -> "_Outcome | _Copy":
        """Handle `message` and return the outcome."""
        try:
            event = wire.read_event(message, self._kinds)
            failures = _count(message, ATTEMPTS)
            requested = _count(message, RETRIES_REQUESTED)
        except wire.Undecodable as error:
            return self._dead(message, error)
        continue_trace(event.traceparent)
        row = self._table[event.type]
        try:
            await _past_contention(row.alone if message.redelivered else row.handler, event)
            log.info("event handled", type=event.type, subject=event.subject)
        except Refusal as refusal:
            log.info(
                "event refused",
                type=event.type,
                subject=event.subject,
                code=refusal.code,
                detail=refusal.detail,
            )
        except RetryLater as error:
            log.warning(
                "event will be retried, as its handler asked", type=event.type, error=repr(error)
            )
            return self._later(RETRIES_REQUESTED, requested + 1)
        except DeadLetter as error:
            return self._dead(message, error, failures + requested + 1)
        except Exception as error:
            if is_outage(error) and not is_contention(error):
                log.warning("outage: consuming paused", type=event.type, error=repr(error))
                self._start_pause()
                return _Outcome.WAITING
            if failures >= topology.RETRIES:
                return self._dead(message, error, failures + 1)
            attempts = failures + 1
            log.exception("event failed", type=event.type, subject=event.subject, attempts=attempts)
            return self._later(ATTEMPTS, attempts)
        return _Outcome.DONE

    def _later(self, header: str, count: int) -> "_Copy":
        delay = topology.RETRY_DELAYS[min(count, len(topology.RETRY_DELAYS)) - 1]
        return _Copy(topology.retry_queue(self._service, delay), {header: count})

    def _dead(self, message: Delivery, error: Exception, attempts: int = 1) -> "_Copy":
        log.error(
            "event dead-lettered", id=message.message_id, attempts=attempts, error=repr(error)
        )
        return _Copy(
            topology.dead_queue(self._service),
            {
                ATTEMPTS: attempts,
                "reason": str(error)[:1000] or type(error).__name__,
                "stack": "".join(traceback.format_exception(error))[-8000:],
                "origin": topology.event_queue(self._service),
                "parked_at": utc_now().isoformat(),
            },
        )

    async def _send(self, message: Delivery, intake: Intake, to: "_Copy") -> None:
        """Publish a copy of `message`; retry until RabbitMQ confirms it.

        Raises:
            ConnectionLost: the connection is lost, or the consumer is stopping.
        """
        # RabbitMQ's own headers describe this delivery. In a copy they would pass for the client's.
        try:
            kept = {name: value for name, value in message.headers.items() if name[:2] != "x-"}
        except ValueError:  # the headers cannot be decoded, so they cannot be copied
            kept = {}
        copy = wire.copy_of(message, {**kept, **to.headers})
        failures = 0
        while not await self._confirmed(copy, intake, to.queue):
            failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_pause_after(failures)):
                    await intake.ended.wait()

    async def _confirmed(self, copy: Message, intake: Intake, queue: str) -> bool:
        """Publish `copy`; return False if RabbitMQ rejects it."""
        publishing = asyncio.ensure_future(
            intake.channel.publish_confirmed(copy, routing_key=queue, mandatory=True)
        )
        ending = asyncio.ensure_future(intake.ended.wait())
        try:
            # No time limit: during an alarm RabbitMQ has the copy but does not confirm it, and each
            # further attempt would add a duplicate.
            await asyncio.wait({publishing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise ConnectionLost("the connection has ended")
            await publishing
        except NotTaken as error:
            log.warning("RabbitMQ rejected a republished event", queue=queue, error=repr(error))
            return False
        finally:
            publishing.cancel()
            ending.cancel()
        return True

    def _start_pause(self) -> None:
        if self._pause is None and not self._stopping:
            self._pause = asyncio.create_task(self._wait_for_dependencies())

    async def _wait_for_dependencies(self) -> None:
        try:
            while True:
                # The pauses also grow if probes succeed but the handlers still fail.
                self._outages += 1
                await asyncio.sleep(_pause_after(self._outages))
                try:
                    async with until(time.time() + PROBE_WITHIN_SECONDS):
                        await self._probe()
                    break
                except Exception as error:
                    log.warning("the outage continues", error=repr(error))
        finally:
            self._pause = None
        log.info("outage over: consuming resumed")


async def _past_contention(
    handler: Callable[[CloudEvent[Any]], Awaitable[object]], event: CloudEvent[Any]
) -> None:
    """Handle `event`; during contention, retry after a short pause."""
    for longest in (*CONTENTION_PAUSES, None):
        try:
            async with until(time.time() + HANDLE_WITHIN_SECONDS):
                await handler(event)
            return
        except Exception as error:
            if longest is None or not is_contention(error):
                raise
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 to spread, not secret


def _count(message: Delivery, header: str) -> int:
    """Return how often the event has failed, or was retried by `RetryLater`.

    Raises:
        Undecodable: the header is not a count.
    """
    told = str(message.headers.get(header, 0))
    if not _COUNT.fullmatch(told):
        raise wire.Undecodable(f"the header {header!r} is no count")
    return int(told)
