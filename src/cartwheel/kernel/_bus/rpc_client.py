"""The caller's side of requests: typed answers, typed refusals, or an outage; never twice.

Requests of one type share a window (`_Outgoing`). While it has its few messages on the wire,
further requests wait and leave together as one message. An idle window sends at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from cartwheel.kernel._amqp.interface import Channel, Connection, ConnectionLost, Delivery, Message
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._core import crash_points
from cartwheel.kernel._core.messages import Request
from cartwheel.kernel._core.telemetry import log, traceparent
from cartwheel.kernel._core.time_left import time_left
from cartwheel.kernel.errors import OutcomeUnknown, Overloaded, TimedOut, Unavailable

Answer = TypeVar("Answer")

ON_THE_WIRE = 2
"""Messages of coalesced requests that may be without an answer; more would make smaller batches."""
ALONE_ON_THE_WIRE = 256
PATIENCE_SECONDS = 1.0
"""Seconds after which a message without its answers no longer keeps others of its type waiting: the
process that took it may have died."""
REOPENED_WITHIN_SECONDS = 1.5
"""Seconds that a read, lost with its connection, waits for the next one: a connection that was
reset is back by then, a RabbitMQ that has died is not."""

BATCH_REQUESTS = 64
BATCH_BYTES = 256 * 1024
MOST_WAITING = 2_000
"""Requests that may wait for one service, by type; one more is refused at once."""

_REPLY_TO = "amq.rabbitmq.reply-to"


class RemoteFailure(Exception):
    """The service failed on the request: a bug there, in its log under the same trace id."""


class _Pending:
    """A request and what is answered; `same` tells which others may share that answer.

    The answer is kept as it came: an exception kept here would be kept by the frames that it has
    passed, which it keeps itself, until the garbage collector finds them.
    """

    __slots__ = ("body", "deadline", "future", "same", "wanted_by")

    def __init__(self, body: bytes, until: float, same: bytes | None) -> None:
        self.body = body
        self.deadline = until
        self.same = same
        self.wanted_by = 0
        self.future: asyncio.Future[wire.ReplyEnvelope] = asyncio.get_running_loop().create_future()

    async def answered(self) -> wire.ReplyEnvelope:
        """Return the answer; once the last one who waits gives up, it is not wanted any more."""
        self.wanted_by += 1
        try:
            return await asyncio.shield(self.future)
        finally:
            self.wanted_by -= 1
            if not self.wanted_by:
                self.future.cancel()


class _Outgoing:
    """The requests of one type: some waiting here, some on the wire.

    A `Batcher` has one batch in flight and waits for its handler; this has several messages on the
    wire, and each request is answered by itself.
    """

    def __init__(self, kind: type[Request[Any]], caller: "RpcClient") -> None:
        self._kind = kind
        self._caller = caller
        self._batch = BATCH_REQUESTS if kind.coalesced else 1
        self._window = ON_THE_WIRE if kind.coalesced else ALONE_ON_THE_WIRE
        self.waiting: deque[_Pending] = deque()
        self.shared: dict[bytes, _Pending] = {}
        """Reads that wait here, by what they ask."""
        self._on_the_wire = 0

    def put(self, pending: _Pending) -> None:
        if len(self.waiting) >= MOST_WAITING:
            raise Overloaded(f"{len(self.waiting)} requests wait for {self._kind.service} already")
        self.waiting.append(pending)
        if pending.same is not None:
            self.shared[pending.same] = pending
        self.flush()

    def flush(self) -> None:
        while self.waiting and self._on_the_wire < self._window:
            batch = self._take()
            if not batch:
                return
            self._occupy(batch)
            self._caller.send(self._kind, batch)

    def _occupy(self, batch: list[_Pending]) -> None:
        """Count a message until all of its answers are there, or patience is at its end."""
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
            left = -1  # so that answers that come after all do not free it again
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
            if not pending.future.done():  # its caller may have given up meanwhile
                batch.append(pending)
                size += len(pending.body)
        return batch


class RpcClient:
    """Bus services. Open it on a `Connection`."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._windows: dict[type[Request[Any]], _Outgoing] = {}
        self._pending: dict[int, _Pending] = {}
        self._next_id = 0
        self._opened = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self, connection: Connection) -> Channel:
        channel = await connection.channel(confirms=False)
        await channel.consume(_REPLY_TO, self._on_replies, no_ack=True)
        self._channel = channel
        self._opened.set()
        return channel

    def lost(self) -> None:
        self._channel = None
        self._opened.clear()
        for window in self._windows.values():
            window.waiting, waiting = deque(), window.waiting
            window.shared.clear()
            for pending in waiting:
                _fail(pending, Unavailable("RabbitMQ is away"))
        for pending in list(self._pending.values()):
            _fail(pending, _ConnectionLost("the connection to RabbitMQ was lost"))

    async def request(
        self, request: Request[Answer], *, timeout: float = topology.REQUEST_DEADLINE_SECONDS
    ) -> Answer:
        """Return the service's answer.

        A `read` is sent once more if the connection is lost and soon back. Within a handler, the
        handler's own deadline holds where it is shorter than `timeout` (seconds).

        Raises:
            Refusal: the service's answer is no.
            Unavailable, Overloaded: certainly not done.
            OutcomeUnknown, TimedOut: perhaps done.
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
        """Return the service's answer as JSON; all else is as with `request`."""
        until = time.time() + time_left(at_most=timeout)
        try:
            async with asyncio.timeout(until - time.time()):
                try:
                    return await self._ask(request, until)
                except _ConnectionLost as lost:
                    if not request.read:
                        raise OutcomeUnknown(str(lost)) from None
                try:
                    async with asyncio.timeout(REOPENED_WITHIN_SECONDS):
                        await self._opened.wait()
                    return await self._ask(request, until)
                except TimeoutError:
                    raise Unavailable("RabbitMQ is away") from None
                except _ConnectionLost as lost:
                    raise Unavailable(str(lost)) from None
        except TimeoutError:
            raise TimedOut(f"{request.service} did not answer in time") from None

    async def _ask(self, request: Request[Any], until: float) -> msgspec.Raw:
        if self._channel is None:
            raise Unavailable("RabbitMQ is away")
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

    def send(self, kind: type[Request[Any]], batch: list[_Pending]) -> None:
        """Send `batch`: at once, or when RabbitMQ reads on."""
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
            return  # and so has whoever waits for them
        except ConnectionLost:
            pass
        wanted = [pending for pending in batch if not pending.future.done()]
        if wanted:
            self._send(kind, wanted)

    def _send(self, kind: type[Request[Any]], batch: list[_Pending]) -> None:
        asked: list[wire.RequestEnvelope] = []
        for pending in batch:
            self._next_id += 1
            self._pending[self._next_id] = pending
            pending.future.add_done_callback(self._forget(self._next_id))
            asked.append(
                wire.RequestEnvelope(self._next_id, pending.deadline, msgspec.Raw(pending.body))
            )
        longest = max(pending.deadline for pending in batch) - time.time()
        message = Message(
            body=wire.encode(asked),
            type=kind.type,
            reply_to=_REPLY_TO,
            expiration=max(int(longest * 1000), 1),
        )
        crash_points.reach("send.before")
        try:
            if self._channel is None:
                raise ConnectionLost
            self._channel.publish(message, routing_key=topology.request_queue(kind.service))
        except ConnectionLost:
            for pending in batch:
                _fail(pending, Unavailable("RabbitMQ is away"))
            return
        crash_points.reach_in_a_turn("send.after")

    def _forget(self, number: int) -> Callable[[object], None]:
        def forget(_: object) -> None:
            self._pending.pop(number, None)

        return forget

    def _on_replies(self, message: Delivery) -> None:
        try:
            answers = wire.read_replies(message.body)
        except wire.UNREADABLE as error:
            log.error("unreadable answers dropped", error=str(error))
            return
        for answered in answers:
            pending = self._pending.get(answered.id)
            if pending is not None and not pending.future.done():
                pending.future.set_result(answered)


class _ConnectionLost(Exception):
    """The request had left; whether it was done is not known."""


def _fail(pending: _Pending, error: Exception) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)


def _unreadable(kind: type[Request[Any]], error: Exception) -> RemoteFailure:
    return RemoteFailure(f"unreadable answer from {kind.service}: {error}")


def _answer(kind: type[Request[Any]], answered: wire.ReplyEnvelope) -> msgspec.Raw:
    """Return the answer's JSON, or raise what was answered in its place."""
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
