"""The caller's side of requests: typed answers, typed refusals or an outage, never a write twice.

Requests of one type share a window (`_Outgoing`). While its few messages are in flight, further
requests wait, and leave together as one message. An idle window sends at once.

The caller chooses the replica that gets a message (`replicas`, docs/adr/0021).
"""

import asyncio
import contextlib
import math
import time
from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

import msgspec

from cartwheel.kernel._amqp.interface import Channel, Connection, ConnectionLost, Delivery, Message
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._bus.replicas import GIVEN_UP_SECONDS, Replica, Replicas
from cartwheel.kernel._core import crash_points
from cartwheel.kernel._core.messages import Request
from cartwheel.kernel._core.telemetry import log, traceparent
from cartwheel.kernel._core.time_left import time_left
from cartwheel.kernel.errors import OutcomeUnknown, Overloaded, TimedOut, Unavailable

Answer = TypeVar("Answer")

ON_THE_WIRE = 2
"""Messages of coalesced requests that may be in flight. More would make the batches smaller."""
ALONE_ON_THE_WIRE = 256
PATIENCE_SECONDS = 1.0
"""Seconds after which an unanswered message no longer delays others of its type: its replica may
have died."""
SOMEBODY_WITHIN_SECONDS = 1.5
"""Seconds that reads wait while there is no replica, or no RabbitMQ. A restarted service is back by
then, and so is a reset connection."""
LOOK_AGAIN_SECONDS = 0.1
TICK_SECONDS = 0.25
MOST_RETURNS = 8
"""How many replicas in a row a request may find gone."""

BATCH_REQUESTS = 64
BATCH_BYTES = 256 * 1024
MOST_WAITING = 2_000
"""Requests of one type that may wait; one more is rejected at once."""

_REPLY_TO = "amq.rabbitmq.reply-to"
_ALL, _ONE, _OLDER = "all", "one", "older"
"""The target of a ping, at the start of its message id. Messages with requests have a number."""


class RemoteFailure(Exception):
    """The service failed on the request. The bug is in its log under the same trace id."""


class _Pending:
    """A request and its answer. Identical reads, which have the same `same`, share the answer.

    The answer is stored undecoded. A stored exception would form a reference cycle with its frames,
    which only the garbage collector frees.
    """

    __slots__ = ("body", "deadline", "future", "same", "sent", "wanted_by")

    def __init__(self, body: bytes, until: float, same: bytes | None) -> None:
        self.sent: _Sent | None = None
        self.body = body
        self.deadline = until
        self.same = same
        self.wanted_by = 0
        self.future: asyncio.Future[wire.ReplyEnvelope] = asyncio.get_running_loop().create_future()

    async def answered(self) -> wire.ReplyEnvelope:
        """Return the answer. Once all callers have given up, the request is dropped."""
        self.wanted_by += 1
        try:
            return await asyncio.shield(self.future)
        finally:
            self.wanted_by -= 1
            if not self.wanted_by:
                self.future.cancel()


class _Sent:
    """A message sent to `replica`, until each of its requests is answered, has failed or was
    abandoned."""

    __slots__ = ("batch", "left", "message_id", "read", "replica")

    def __init__(
        self, message_id: str, batch: list[_Pending], replica: "Replica[_Sent]", *, read: bool
    ) -> None:
        self.message_id = message_id
        self.batch = batch
        self.replica = replica
        self.read = read
        self.left = len(batch)
        replica.sent.add(self)

    def one_done(self) -> bool:
        """Return whether that was the last one."""
        self.left -= 1
        if self.left:
            return False
        self.replica.sent.discard(self)
        self.batch.clear()  # its requests refer to this
        return True

    def fail(self, error: type[Exception], text: str) -> None:
        for pending in self.batch:
            _fail(pending, error(text))


class _Outgoing:
    """The requests of one type, waiting or in flight.

    A `Batcher` has one batch in flight and waits for it. Here, several messages are in flight, and
    each request is answered by itself.
    """

    def __init__(self, kind: type[Request[Any]], caller: "RpcClient") -> None:
        self._kind = kind
        self._caller = caller
        self._batch = BATCH_REQUESTS if kind.coalesced else 1
        self._window = ON_THE_WIRE if kind.coalesced else ALONE_ON_THE_WIRE
        self.waiting: deque[_Pending] = deque()
        self.shared: dict[bytes, _Pending] = {}
        """The waiting reads, by their content."""
        self._on_the_wire = 0

    def put(self, pending: _Pending) -> None:
        if len(self.waiting) >= MOST_WAITING:
            raise Overloaded(f"{len(self.waiting)} requests wait for {self._kind.service} already")
        self.waiting.append(pending)
        if pending.same is not None:
            self.shared[pending.same] = pending
        self.flush()

    def flush(self) -> None:
        while self.waiting and self._on_the_wire < self._caller.window(self._kind, self._window):
            batch = self._take()
            if not batch:
                return
            self._occupy(batch)
            self._caller.send(self._kind, batch)

    def _occupy(self, batch: list[_Pending]) -> None:
        """Count a message as in flight until it is answered, or for PATIENCE_SECONDS."""
        self._on_the_wire += 1
        left = len(batch)

        def one_done(_: asyncio.Future[Any]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                impatient.cancel()
                free()

        def free() -> None:
            nonlocal left
            left = -1  # so that late answers do not free it again
            self._on_the_wire -= 1
            self.flush()

        impatient = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, free)
        for pending in batch:
            pending.future.add_done_callback(one_done)

    def _take(self) -> list[_Pending]:
        batch: list[_Pending] = []
        size = 0
        while self.waiting and len(batch) < self._batch and size < BATCH_BYTES:
            pending = self.waiting.popleft()
            if pending.same is not None:
                self.shared.pop(pending.same, None)
            if not pending.future.done():  # its callers may have given up
                batch.append(pending)
                size += len(pending.body)
        return batch


class RpcClient:
    """Sends requests to services. Add it to a `Connection`."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._windows: dict[type[Request[Any]], _Outgoing] = {}
        self._services: dict[str, Replicas[_Sent]] = {}
        self._pending: dict[int, _Pending] = {}
        self._sent: dict[str, _Sent] = {}
        """By message id."""
        self._next_id = wire.PONG
        self._lost_at = -math.inf
        self._sending: set[asyncio.Task[None]] = set()
        self._tick: asyncio.TimerHandle | None = None

    async def open(self, connection: Connection) -> Channel:
        channel = await connection.channel(confirms=False, on_return=self._on_return)
        await channel.consume(_REPLY_TO, self._on_replies, no_ack=True)
        self._channel = channel
        self._look_after_replicas()
        return channel

    def lost(self) -> None:
        if self._channel is not None:
            self._lost_at = time.monotonic()
        self._channel = None
        if self._tick is not None:
            self._tick.cancel()
        for replicas in self._services.values():
            replicas.forget_all()
        for window in self._windows.values():
            window.waiting, waiting = deque(), window.waiting
            window.shared.clear()
            for pending in waiting:
                _fail(pending, _Nobody("RabbitMQ is away"))
        for pending in list(self._pending.values()):
            _fail(pending, _Lost("the connection to RabbitMQ was lost"))

    def watch(self, services: Iterable[str]) -> None:
        """Track the replicas of `services` even while there are no requests."""
        for service in services:
            self._replicas(service)

    def answered_ago(self) -> dict[str, float | None]:
        """Return how many seconds ago each known service last answered; None if never."""
        return {name: replicas.answered_ago() for name, replicas in self._services.items()}

    async def request(
        self, request: Request[Answer], *, timeout: float = topology.REQUEST_DEADLINE_SECONDS
    ) -> Answer:
        """Return the service's answer.

        A `read` is sent once more if its replica or the connection is lost, and waits a while if
        there is no replica. Within a handler, the handler's deadline also applies. `timeout` is in
        seconds.

        Raises:
            Refusal: the service refused the request.
            Unavailable, Overloaded: it was not done.
            OutcomeUnknown, TimedOut: it may have been done.
            RemoteFailure: the service has a bug.
        """
        answer = await self.request_raw(request, timeout=timeout)
        try:
            return wire.answer_decoder(type(request)).decode(answer)
        except wire.UNREADABLE as error:
            raise _unreadable(type(request), error) from error

    async def request_raw(
        self, request: Request[Any], *, timeout: float = topology.REQUEST_DEADLINE_SECONDS
    ) -> msgspec.Raw:
        """Return the service's answer as JSON. Otherwise the same as `request`."""
        until = time.time() + time_left(at_most=timeout)
        replicas = self._replicas(request.service)
        failures: Counter[type[_NotAnswered]] = Counter()
        try:
            async with asyncio.timeout(until - time.time()):
                while True:
                    try:
                        if not replicas.found.is_set():
                            await self._find(replicas)
                        answer = await self._ask(request, until)
                        replicas.missing_since = None
                        return answer
                    except _NotAnswered as why:
                        failures[type(why)] += 1
                        await self._may_ask_again(request, replicas, why, failures[type(why)])
        except TimeoutError:
            raise TimedOut(f"{request.service} did not answer in time") from None

    async def _may_ask_again(
        self,
        request: Request[Any],
        replicas: "Replicas[_Sent]",
        why: "_NotAnswered",
        times: int,
    ) -> None:
        """Return when `request` may be sent again, after it failed `times` times for this reason.

        Raises:
            Unavailable, OutcomeUnknown: it may not be sent again.
        """
        match why:
            case _Returned() if times < MOST_RETURNS:
                return
            case _Nobody() if request.read and self._missed(replicas) < SOMEBODY_WITHIN_SECONDS:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            case _Lost() if not request.read:
                raise OutcomeUnknown(str(why)) from None
            case _Lost() if times == 1:
                return
            case _:
                raise Unavailable(str(why)) from None

    def _missed(self, replicas: "Replicas[_Sent]") -> float:
        """Return for how many seconds there has been no replica to ask."""
        now = time.monotonic()
        if self._channel is None:
            return now - self._lost_at
        if replicas.missing_since is None:
            replicas.missing_since = now
        return now - replicas.missing_since

    async def _find(self, replicas: "Replicas[_Sent]") -> None:
        """Return when there is a replica to ask.

        Raises:
            _Nobody: there is none.
        """
        if self._channel is None:
            raise _Nobody("RabbitMQ is away")
        if not replicas.is_asked(time.monotonic(), within=LOOK_AGAIN_SECONDS):
            self._ping_all(replicas)
        try:
            async with asyncio.timeout(SOMEBODY_WITHIN_SECONDS):
                await replicas.found.wait()
        except TimeoutError:
            raise _Nobody(f"{replicas.service} does not answer") from None

    async def _ask(self, request: Request[Any], until: float) -> msgspec.Raw:
        kind = type(request)
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Outgoing(kind, self)
        same = wire.encode(request) if kind.read and kind.coalesced else None
        pending = window.shared.get(same) if same is not None else None
        if pending is None or pending.future.done():
            traced = msgspec.structs.replace(request, traceparent=traceparent())
            pending = _Pending(wire.encode(traced), until, same)
            window.put(pending)
        pending.deadline = max(pending.deadline, until)
        return _answer(kind, await pending.answered())

    def window(self, kind: type[Request[Any]], least: int) -> int:
        """Return how many messages of `kind` may be in flight: at least one for each replica."""
        return max(least, len(self._services[kind.service].known))

    def send(self, kind: type[Request[Any]], batch: list[_Pending]) -> None:
        """Send `batch`: at once, or when RabbitMQ reads again."""
        if self._channel is None or self._channel.reads_on:
            self._send(kind, batch)
            return
        task = asyncio.create_task(self._send_later(self._channel, kind, batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_later(
        self, channel: Channel, kind: type[Request[Any]], batch: list[_Pending]
    ) -> None:
        try:
            async with asyncio.timeout(max(pending.deadline for pending in batch) - time.time()):
                await channel.written()
        except TimeoutError:
            return  # their callers have timed out, too
        except ConnectionLost:
            pass
        wanted = [pending for pending in batch if not pending.future.done()]
        if wanted:
            self._send(kind, wanted)

    def _send(self, kind: type[Request[Any]], batch: list[_Pending]) -> None:
        replica = self._services[kind.service].choose()
        if replica is None:
            for pending in batch:  # the last replica disappeared while they waited
                _fail(pending, _Returned(f"{kind.service} is away"))
            return
        sent = _Sent(f"{self._next_id + 1}", batch, replica, read=kind.read)
        self._sent[sent.message_id] = sent
        asked: list[wire.RequestEnvelope] = []
        for pending in batch:
            self._next_id += 1
            pending.sent = sent
            self._pending[self._next_id] = pending
            pending.future.add_done_callback(partial(self._done, self._next_id, sent))
            asked.append(
                wire.RequestEnvelope(self._next_id, pending.deadline, msgspec.Raw(pending.body))
            )
        longest = max(pending.deadline for pending in batch) - time.time()
        message = Message(
            body=wire.encode(asked),
            type=kind.type,
            reply_to=_REPLY_TO,
            message_id=sent.message_id,
            expiration=max(int(longest * 1000), 1),
        )
        crash_points.reach("send.before")
        try:
            if self._channel is None:
                raise ConnectionLost
            self._channel.publish(
                message, exchange=replica.exchange, routing_key=replica.name, mandatory=True
            )
        except ConnectionLost:
            sent.fail(_Nobody, "RabbitMQ is away")
            return
        crash_points.reach_in_a_turn("send.after")

    def _done(self, number: int, sent: _Sent, _: object) -> None:
        self._pending.pop(number, None)
        if sent.one_done():
            self._sent.pop(sent.message_id, None)

    def _replicas(self, service: str) -> "Replicas[_Sent]":
        replicas = self._services.get(service)
        if replicas is None:
            replicas = self._services[service] = Replicas(service)
        return replicas

    def _look_after_replicas(self) -> None:
        """Send the pings that are due, and schedule the next round."""
        self._tick = asyncio.get_running_loop().call_later(TICK_SECONDS, self._look_after_replicas)
        if self._channel is None or not self._channel.reads_on:
            return
        now = time.monotonic()
        for replicas in self._services.values():
            if replicas.is_due(now):
                self._ping_all(replicas)
            replicas.forget_silent(now)
        for replica in {sent.replica for sent in self._sent.values()}:
            if replica.is_silent(now):
                replica.pinged(now)
                self._ping(f"{_ONE} {replica.name}", topology.presence(replica.name))
            if replica.is_frozen(now) and self._replicas(replica.service).has_better(replica, now):
                given_up = replica.is_frozen(now, GIVEN_UP_SECONDS)
                for sent in [each for each in replica.sent if each.read or given_up]:
                    sent.fail(_Lost, f"{replica.service} does not answer")

    def _ping_all(self, replicas: "Replicas[_Sent]") -> None:
        replicas.pinged(time.monotonic())
        self._ping(f"{_ALL} {replicas.service}", topology.everybody(replicas.service))

    def _ping(self, message_id: str, key: str, exchange: str = topology.REQUESTS) -> None:
        message = Message(
            body=wire.NO_REQUESTS,
            type=wire.PING,
            reply_to=_REPLY_TO,
            message_id=message_id,
            expiration=int(SOMEBODY_WITHIN_SECONDS * 1000),
        )
        if self._channel is not None:
            with contextlib.suppress(ConnectionLost):  # `lost` will handle it
                self._channel.publish(message, exchange=exchange, routing_key=key, mandatory=True)

    def _on_return(self, message_id: str) -> None:
        """Handle a message that RabbitMQ returned because no queue got it."""
        kind, _, name = message_id.partition(" ")
        if kind == _ALL:
            if (older := self._replicas(name).nobody()) is not None:
                self._ping(f"{_OLDER} {name}", older.name, exchange=older.exchange)
        elif kind == _OLDER:
            self._replicas(name).forget_older()
        elif kind == _ONE:
            for sent in [each for each in self._sent.values() if each.replica.name == name]:
                self._replicas(sent.replica.service).forget(sent.replica)
                sent.fail(_Lost, "the process that had the request is gone")
        elif (sent := self._sent.get(message_id)) is not None:
            self._replicas(sent.replica.service).forget(sent.replica)
            # The older queue stands for all replicas of the previous version.
            why = _Returned if sent.replica.exchange else _Nobody
            sent.fail(why, f"{sent.replica.service} is away")

    def _on_replies(self, message: Delivery) -> None:
        try:
            answers = wire.read_replies(message.body)
        except wire.UNREADABLE as error:
            log.error("unreadable answers dropped", error=str(error))
            return
        for answered in answers:
            if answered.id == wire.PONG:
                service, name = wire.read_pong(answered.body)
                self._replicas(service).answered(name)
                continue
            pending = self._pending.get(answered.id)
            if pending is not None and not pending.future.done():
                pending.future.set_result(answered)
                if pending.sent is not None:
                    pending.sent.replica.heard()


class _NotAnswered(Exception):
    """Why a request has no answer."""


class _Lost(_NotAnswered):
    """It was sent; whether it was done is unknown."""


class _Returned(_NotAnswered):
    """The replica is gone or stopping and did not get it. There may be another one."""


class _Nobody(_NotAnswered):
    """There is no replica to ask, so it was not done."""


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)


def _unreadable(kind: type[Request[Any]], error: Exception) -> RemoteFailure:
    return RemoteFailure(f"unreadable answer from {kind.service}: {error}")


def _answer(kind: type[Request[Any]], answered: wire.ReplyEnvelope) -> msgspec.Raw:
    """Return the answer's JSON, or raise the refusal, outage or failure that came instead."""
    try:
        match answered.outcome:
            case wire.Outcome.DONE:
                return answered.body
            case wire.Outcome.REFUSED:
                raise wire.read_refusal(answered.body)
            case wire.Outcome.OUTAGE:
                raise wire.read_outage(answered.body, read=kind.read)
            case wire.Outcome.FAILED:
                raise RemoteFailure(f"{kind.service} failed on {kind.type}")
    except wire.UNREADABLE as error:
        raise _unreadable(kind, error) from error
