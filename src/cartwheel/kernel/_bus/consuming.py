"""Events in. Each ends in exactly one of four ways:

    done       the effect is stored (or the domain refused it): acknowledged after that
    retried    the event's handling failed: again after 5 s, 60 s, 60 s
    parked     it failed four times, cannot be read, or killed its reader: in `dead.<service>`,
               with reason, stack, attempts and origin
    waiting    a part is away (database, mail): the consumer keeps what it holds (at most
               `PREFETCH`, so no more comes) and goes on when a probe succeeds, however long
               that takes

A consumer returns events only when it stops: each return counts as a delivery, and too many of
those dead-letter an event (`intake`). So it also keeps an event whose copy for the retry or dead
letter queue RabbitMQ does not take, and sends that copy until it is confirmed. An event kept for
`RENEW_AFTER_SECONDS` is renewed: a fresh copy goes to the consumer's own queue, and the old one is
acknowledged. RabbitMQ would otherwise close the channel at its consumer timeout, which counts too.

At least once, in any order: handlers guard their effect in the same write as the effect.
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
"""Seconds for one event, after which the part it waits for counts as away."""

RENEW_REDELIVERY_AFTER_SECONDS = 5.0
"""Seconds for which a redelivery is kept once it has been tried. Then it is renewed, and waits
beside others."""

RENEW_AFTER_SECONDS = 600.0
"""Seconds for which an event is kept until it is renewed. RabbitMQ's consumer timeout is 30 minutes
(https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout) and must be well above this."""

GIVE_BACK_AFTER_SECONDS = 2.0
"""Seconds that the copies of events have to be confirmed in when the consumer stops."""

ACKS_ARRIVE_SECONDS = 0.25
"""After the last acknowledgements, before the channel may close. RabbitMQ hands few at a time to a
quorum queue, and forgets the others when their channel closes. Those events would come again
(https://github.com/rabbitmq/rabbitmq-server/blob/v3.10.8/deps/rabbit/src/rabbit_fifo_client.erl)."""

PROBE_WITHIN_SECONDS = 5.0
_pause_after = partial(backoff, first=0.5, longest=5.0)
"""Seconds between two probes of a part that is away, two tries after probes that succeeded, or two
copies of an event that RabbitMQ does not take."""

CONTENTION_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds, at most, between tries that fail because others change the same things. After them the
event counts as failed."""

ATTEMPTS = "attempts"
"""The header that counts failures."""

RETRIES_REQUESTED = "retries_requested"
"""The header that counts `RetryLater`, which has no limit."""

_COUNT = re.compile(r"[0-9]{1,6}")
Probe = Callable[[], Awaitable[object]]


class On(msgspec.Struct, frozen=True):
    """A row of a service's table: what `handler` does on events of `kind`.

    `alone` handles a redelivery, which may have killed its reader: past the batch, and at once, for
    as long as it is in hand nothing else is.
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
        """Return this row with another handler for redeliveries: one that gathers needs another
        that does the same at once."""
        return On(self.kind, self.handler, lambda event: handler(event, *args, **given))


def on(
    kind: type[Data],
    handler: Callable[Concatenate[CloudEvent[Data], Given], Awaitable[object]],
    *args: Given.args,
    **given: Given.kwargs,
) -> On:
    """Handle each event of `kind` by itself, many at once; `handler` gets what is `given`.

        on(PaymentCaptured, payment_captured, orders=orders)

    An event may come again, and in any order.
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
    """Handle events of `kind` together; `handler` returns, in their order, None or a refusal.

    With `gather`, a batch waits a while to fill:

        on_batch(OrderPaid, commit_stock, Gather(0.2, core.stop), reservations=reservations)

    If it raises for a batch, each event is handled alone.
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
    """What became of an event, if it is not to go on as a copy."""

    DONE = auto()
    WAITING = auto()
    """A dependency is down."""


class _Copy(msgspec.Struct, frozen=True):
    """An event is to go on in another queue, with these headers in addition."""

    queue: str
    headers: Mapping[str, Any] = {}


class Consumer:
    """Takes a service's events. Open it on a `Connection`."""

    def __init__(self, service: str, table: Iterable[On], *, probe: Probe) -> None:
        self._service = service
        self._table = {row.kind.type: row for row in table}
        self._kinds = {name: row.kind for name, row in self._table.items()}
        self._probe = probe
        self._intake: Intake | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        self._pause: asyncio.Task[None] | None = None
        self._outages = 0
        """Pauses in a row."""
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
        """Take nothing new, give back what has not begun, and return when the rest is done."""
        self._stopping = True
        if self._pause is not None:
            self._pause.cancel()
        if (intake := self._intake) is not None:
            await intake.stop()
            asyncio.get_running_loop().call_later(GIVE_BACK_AFTER_SECONDS, intake.ended.set)
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
            # Unacknowledged, so RabbitMQ delivers it again.
            log.warning("event given back with the connection", error=repr(error))
        except Exception:
            # A bug of the consumer's own. RabbitMQ dead-letters what is rejected for good.
            log.exception("event dead-lettered as it came", id=message.message_id)
            with contextlib.suppress(ConnectionLost):
                message.reject(requeue=False)

    async def _settle(self, message: Delivery, intake: Intake, waiting: asyncio.Timeout) -> None:
        """Return when `message` is acknowledged, or returned because the consumer stops.

        `waiting` ends all waiting for others, and no handling.
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
                    # It has been tried and has killed nobody, so it need not keep others waiting.
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
                # Ack after the effect is stored: a crash between the two repeats the event.
                crash_points.reach("ack.before")
                message.ack()
                crash_points.reach_in_a_turn("ack.after")
                return

    async def _handled(self, message: Delivery) -> "_Outcome | _Copy":
        """Handle `message`; return what is to become of it."""
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
            log.warning("event asked for later", type=event.type, error=repr(error))
            return self._later(RETRIES_REQUESTED, requested + 1)
        except DeadLetter as error:
            return self._dead(message, error, failures + requested + 1)
        except Exception as error:
            if is_outage(error) and not is_contention(error):
                log.warning("a part is away: consuming stops", type=event.type, error=repr(error))
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
        log.error("event parked", id=message.message_id, attempts=attempts, error=repr(error))
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
        """Return when RabbitMQ has a copy of `message`, however long that takes.

        Raises:
            ConnectionLost: the connection is lost, or the consumer stops.
        """
        # RabbitMQ's own headers tell of this delivery; in a copy they would count as a client's.
        try:
            kept = {name: value for name, value in message.headers.items() if name[:2] != "x-"}
        except ValueError:  # a dead letter: its headers cannot be read, nor written again
            kept = {}
        copy = wire.copy_of(message, {**kept, **to.headers})
        failures = 0
        while not await self._confirmed(copy, intake, to.queue):
            failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_pause_after(failures)):
                    await intake.ended.wait()

    async def _confirmed(self, copy: Message, intake: Intake, queue: str) -> bool:
        """Publish `copy`; return False if RabbitMQ does not take it."""
        publishing = asyncio.ensure_future(
            intake.channel.publish_confirmed(copy, routing_key=queue, mandatory=True)
        )
        ending = asyncio.ensure_future(intake.ended.wait())
        try:
            # Without a time limit: during an alarm RabbitMQ has the copy and is silent, and each
            # further one would be a copy more.
            await asyncio.wait({publishing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise ConnectionLost("the connection has ended")
            await publishing
        except NotTaken as error:
            log.warning("a copy of an event is not taken", queue=queue, error=repr(error))
            return False
        finally:
            publishing.cancel()
            ending.cancel()
        return True

    def _start_pause(self) -> None:
        if self._pause is None and not self._stopping:
            self._pause = asyncio.create_task(self._wait_for_parts())

    async def _wait_for_parts(self) -> None:
        try:
            while True:
                # Longer each time, also when the probe succeeds and the handlers fail all the same.
                self._outages += 1
                await asyncio.sleep(_pause_after(self._outages))
                try:
                    async with until(time.time() + PROBE_WITHIN_SECONDS):
                        await self._probe()
                    break
                except Exception as error:
                    log.warning("still waiting for a part", error=repr(error))
        finally:
            self._pause = None
        log.info("the part is back: consuming goes on")


async def _past_contention(
    handler: Callable[[CloudEvent[Any]], Awaitable[object]], event: CloudEvent[Any]
) -> None:
    """Handle `event`; where others change the same things just then, again after a short while."""
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
    """Return how often the event has failed, or was asked for later.

    Raises:
        Undecodable: the header does not tell.
    """
    told = str(message.headers.get(header, 0))
    if not _COUNT.fullmatch(told):
        raise wire.Undecodable(f"the header {header!r} is no count")
    return int(told)
