"""The caller's side of requests: typed answers, typed refusals or an outage, never a write twice.

Requests of one type share a window (`outgoing`). The caller chooses the replica that gets a message
(`replicas`, docs/adr/0021).
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

import msgspec

from cartwheel.kernel._amqp.interface import Channel, Connection, ConnectionLost, Delivery, Message
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._bus.outgoing import Outgoing, Pending, Sent
from cartwheel.kernel._bus.replicas import GIVEN_UP_SECONDS, Replicas
from cartwheel.kernel._core import crash_points
from cartwheel.kernel._core.messages import Request
from cartwheel.kernel._core.telemetry import log, traceparent
from cartwheel.kernel._core.time_left import time_left
from cartwheel.kernel.errors import OutcomeUnknown, TimedOut, Unavailable

Answer = TypeVar("Answer")

SOMEBODY_WITHIN_SECONDS = 1.5
"""Seconds that reads wait while there is no replica, or no RabbitMQ. A restarted service is back by
then, and so is a reset connection."""
LOOK_AGAIN_SECONDS = 0.1
TICK_SECONDS = 0.25
MOST_RETURNS = 8
"""How many replicas in a row a request may find gone."""

_REPLY_TO = "amq.rabbitmq.reply-to"
_ALL, _ONE, _OLDER = "all", "one", "older"
"""The target of a ping, at the start of its message id. Messages with requests have a number."""


class RemoteFailure(Exception):
    """The service failed on the request. The bug is in its log under the same trace id."""


class RpcClient:
    """Sends requests to services. Add it to a `Connection`."""

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._windows: dict[type[Request[Any]], Outgoing] = {}
        self._services: dict[str, Replicas[Sent]] = {}
        self._pending: dict[int, Pending] = {}
        self._sent: dict[str, Sent] = {}
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
            window.fail_waiting(_Nobody, "RabbitMQ is down")
        for pending in list(self._pending.values()):
            pending.fail(_Lost("the connection to RabbitMQ was lost"))

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
        replicas: "Replicas[Sent]",
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

    def _missed(self, replicas: "Replicas[Sent]") -> float:
        """Return for how many seconds there has been no replica to ask."""
        now = time.monotonic()
        if self._channel is None:
            return now - self._lost_at
        if replicas.missing_since is None:
            replicas.missing_since = now
        return now - replicas.missing_since

    async def _find(self, replicas: "Replicas[Sent]") -> None:
        """Return when there is a replica to ask.

        Raises:
            _Nobody: there is none.
        """
        if self._channel is None:
            raise _Nobody("RabbitMQ is down")
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
            replicas = self._replicas(kind.service)
            window = self._windows[kind] = Outgoing(kind, replicas, partial(self._send, kind))
        same = wire.encode(request) if kind.read and kind.coalesced else None
        pending = window.shared.get(same) if same is not None else None
        if pending is None or pending.future.done():
            traced = msgspec.structs.replace(request, traceparent=traceparent())
            pending = Pending(wire.encode(traced), until, same)
            window.put(pending)
        pending.deadline = max(pending.deadline, until)
        return _answer(kind, await pending.answered())

    def _send(self, kind: type[Request[Any]], batch: list[Pending]) -> None:
        """Send `batch`: at once, or when RabbitMQ reads again."""
        if self._channel is None or self._channel.reads_on:
            self._send_now(kind, batch)
            return
        task = asyncio.create_task(self._send_later(self._channel, kind, batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_later(
        self, channel: Channel, kind: type[Request[Any]], batch: list[Pending]
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
            self._send_now(kind, wanted)

    def _send_now(self, kind: type[Request[Any]], batch: list[Pending]) -> None:
        replica = self._services[kind.service].choose()
        if replica is None:
            for pending in batch:  # the last replica disappeared while they waited
                pending.fail(_Returned(f"{kind.service} is down"))
            return
        sent = Sent(f"{self._next_id + 1}", batch, replica, read=kind.read)
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
            sent.fail(_Nobody, "RabbitMQ is down")
            return
        crash_points.reach_in_a_turn("send.after")

    def _done(self, number: int, sent: Sent, _: object) -> None:
        self._pending.pop(number, None)
        if sent.one_done():
            self._sent.pop(sent.message_id, None)

    def _replicas(self, service: str) -> "Replicas[Sent]":
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

    def _ping_all(self, replicas: "Replicas[Sent]") -> None:
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
            sent.fail(why, f"{sent.replica.service} is down")

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
