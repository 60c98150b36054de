"""The service's side of requests.

Each process declares its own queue for as long as it is connected, and answers the pings by which
callers find it (`replicas`).

A message is acknowledged before it is handled, so that it does not run twice. If the process dies,
the request stays unanswered, and the client repeats it with its Idempotency-Key. If the
acknowledgement is lost with the connection, the message is redelivered within its deadline, and the
request's id prevents a second effect.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from cartwheel.kernel._amqp.interface import (
    AmqpError,
    Channel,
    Connection,
    ConnectionLost,
    Delivery,
    Message,
)
from cartwheel.kernel._bus import topology, wire
from cartwheel.kernel._core import crash_points
from cartwheel.kernel._core.batcher import Batcher
from cartwheel.kernel._core.deadline import until
from cartwheel.kernel._core.ids import new_id
from cartwheel.kernel._core.messages import Request
from cartwheel.kernel._core.outages import is_outage
from cartwheel.kernel._core.telemetry import continue_trace, log
from cartwheel.kernel.errors import Refusal

Kind = TypeVar("Kind", bound=Request[Any])
Given = ParamSpec("Given")

MESSAGES_AT_ONCE = 64
"""Messages in progress. The rest stays in RabbitMQ, which drops them after their deadline."""

ROUTED_SECONDS = 0.05
"""Seconds for messages that were routed before the queue was unbound to arrive in it."""


class Answers(msgspec.Struct, frozen=True):
    """A row of a service's table: `handler` answers requests of `kind` until their deadline (Unix
    time, seconds)."""

    kind: type[Request[Any]]
    handler: Callable[[Any, float], Awaitable[Any]]


def answer(
    kind: type[Kind],
    handler: Callable[Concatenate[Kind, Given], Awaitable[object]],
    *args: Given.args,
    **given: Given.kwargs,
) -> Answers:
    """Answer each request of `kind` by itself, many concurrently. `handler` also gets `given`.

        answer(PlaceOrder, place_order, orders=orders, bus=core.bus)

    A `Refusal` that `handler` raises is the answer. Any other exception is a bug or an outage.
    """

    async def in_time(request: Kind, deadline: float) -> object:
        async with until(deadline):
            return await handler(request, *args, **given)

    return Answers(kind, in_time)


def answer_batch(
    kind: type[Kind],
    handler: Callable[Concatenate[list[Kind], Given], Awaitable[Sequence[object]]],
    *args: Given.args,
    **given: Given.kwargs,
) -> Answers:
    """Answer requests of `kind` in batches. `handler` gets a list and returns an answer or a
    refusal for each, in order.

        answer_batch(GetOrder, get_orders, orders=orders)

    If the handler raises for a batch, each request is handled alone.
    """
    [answers] = answer_together((kind,), handler, *args, **given)
    return answers


def answer_together(
    kinds: tuple[type[Kind], ...],
    handler: Callable[Concatenate[list[Kind], Given], Awaitable[Sequence[object]]],
    *args: Given.args,
    **given: Given.kwargs,
) -> tuple[Answers, ...]:
    """Answer requests of several `kinds` in the same batches; `answer_batch` has the details.

        *answer_together((ReserveStock, AdjustStock), change_stock, reservations=reservations)

    Use it for requests that change the same documents: in one batch they do not conflict.
    """
    batcher: Batcher[Kind, object] = Batcher(lambda requests: handler(requests, *args, **given))
    # A batch has its own limit, since it belongs to no single request.
    return tuple(Answers(kind, lambda request, _: batcher.submit(request)) for kind in kinds)


class RpcServer:
    """Answers a service's requests. Add it to a `Connection`."""

    def __init__(self, service: str, table: Iterable[Answers]) -> None:
        self._service = service
        self._table = {row.kind.type: row for row in table}
        self._channel: Channel | None = None
        self._name = ""
        self._tag = ""
        self._shared: Channel | None = None
        self._shared_tag = ""
        self._in_hand: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MESSAGES_AT_ONCE)
        self._stopping = False

    async def open(self, connection: Connection) -> Channel:
        self._channel = channel = await connection.channel(confirms=False)
        if not self._stopping:
            # A new name each time: RabbitMQ may not yet have noticed the loss of the last one.
            self._name = name = new_id(f"rpc.{self._service}")
            await channel.declare_exclusive(name, ttl_seconds=topology.REQUEST_DEADLINE_SECONDS)
            self._tag = await self._take_from(name, channel)
            for key in (topology.presence(name), *self._keys()):
                await channel.bind(name, exchange=topology.REQUESTS, routing_key=key)
            await self._open_shared(connection)
        return channel

    def lost(self) -> None:
        self._channel = self._shared = None

    async def drain(self) -> None:
        """Take no more requests, and return when all those taken are answered.

        Later requests are returned to their callers at once, which ask another replica.
        """
        self._stopping = True
        with contextlib.suppress(AmqpError):  # the shared queue is gone
            if self._shared is not None:
                await self._shared.cancel(self._shared_tag)
        with contextlib.suppress(AmqpError):  # the connection is gone, and no requests come anyway
            await self._let_go()
        while self._in_hand:
            await asyncio.wait(self._in_hand)

    async def _let_go(self) -> None:
        """Take the requests sent until now, and no more."""
        if (channel := self._channel) is None:
            return
        for key in self._keys():
            await channel.unbind(self._name, exchange=topology.REQUESTS, routing_key=key)
        while True:
            await asyncio.sleep(ROUTED_SECONDS)
            if not await channel.waiting_in(self._name):
                break
        await channel.cancel(self._tag)

    def _keys(self) -> tuple[str, str]:
        """Return the routing keys of requests and pings."""
        return self._name, topology.everybody(self._service)

    async def _take_from(self, queue: str, channel: Channel) -> str:
        await channel.set_prefetch(MESSAGES_AT_ONCE)
        return await channel.consume(queue, self._on_delivery)

    async def _open_shared(self, connection: Connection) -> None:
        """Also take requests from callers of the previous version, if their queue exists."""
        with contextlib.suppress(AmqpError):
            channel = await connection.channel(confirms=False)
            queue = topology.shared_request_queue(self._service)
            self._shared_tag = await self._take_from(queue, channel)
            self._shared = channel

    def _on_delivery(self, message: Delivery) -> None:
        if message.type == wire.PING:
            self._pong(message)
            return
        task = asyncio.create_task(self._answer_all(message))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _answer_all(self, message: Delivery) -> None:
        async with self._room:
            channel = self._channel
            try:
                crash_points.reach("ack.before")
                message.ack()
                # Before any work: what has been done must not be redelivered.
                if channel is not None:
                    await channel.written()
                crash_points.reach("ack.after")
            except ConnectionLost:
                return  # the connection is gone, and RabbitMQ redelivers the message
            await self._answer_each(message)

    def _pong(self, message: Delivery) -> None:
        """Answer a ping at once, ahead of waiting requests."""
        with contextlib.suppress(ConnectionLost):
            message.ack()
            if self._channel is not None:
                pong = Message(body=wire.write_pong(self._service, self._name), type=wire.PONG_TYPE)
                self._channel.publish(pong, routing_key=message.reply_to or "")

    async def _answer_each(self, message: Delivery) -> None:
        row = self._table.get(message.type or "")
        try:
            asked = wire.read_requests(message.body)
        except wire.UNREADABLE as error:
            log.error("unreadable request dropped", request=message.type, error=str(error))
            return
        now = time.time()
        ready = _Replies(self._reply, message.reply_to or "")
        await asyncio.gather(
            *(self._answer_one(row, each, ready) for each in asked if each.deadline > now)
        )
        await ready.sent()

    async def _answer_one(
        self, row: Answers | None, asked: wire.RequestEnvelope, ready: "_Replies"
    ) -> None:
        began = time.perf_counter()
        try:
            if row is None:
                raise LookupError("nobody here answers that")
            request = wire.request_decoder(row.kind).decode(asked.body)
            continue_trace(request.traceparent)
            result = await row.handler(request, asked.deadline)
            ready.add(
                wire.ReplyEnvelope(asked.id, wire.Outcome.DONE, msgspec.Raw(wire.encode(result)))
            )
            tell = log.debug if row.kind.read else log.info
            tell("answered", request=row.kind.type, ms=_ms_since(began))
        except Refusal as refusal:
            log.info("refused", request=row and row.kind.type, code=refusal.code)
            ready.add(
                wire.ReplyEnvelope(asked.id, wire.Outcome.REFUSED, wire.write_refusal(refusal))
            )
        except Exception as error:
            if is_outage(error):
                log.warning(
                    "a request met an outage", request=row and row.kind.type, error=repr(error)
                )
                ready.add(
                    wire.ReplyEnvelope(asked.id, wire.Outcome.OUTAGE, wire.write_outage(error))
                )
            else:
                log.exception("request failed", request=row and row.kind.type)
                ready.add(wire.ReplyEnvelope(asked.id, wire.Outcome.FAILED))

    async def _reply(self, to: str, answers: list[wire.ReplyEnvelope]) -> None:
        if self._channel is None:
            return  # the connection is gone, and with it the way to the caller
        crash_points.reach("reply.before")
        try:
            self._channel.publish(Message(body=wire.encode(answers)), routing_key=to)
            await self._channel.written()
            crash_points.reach("reply.after")
        except ConnectionLost:
            log.warning("answers lost with the connection", count=len(answers))


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)


class _Replies:
    """The replies to one message: those that are ready leave together. Unlike in a `Batcher`, none
    waits for a slow one."""

    def __init__(
        self, reply: Callable[[str, list[wire.ReplyEnvelope]], Awaitable[None]], to: str
    ) -> None:
        self._reply = reply
        self._to = to
        self._answers: list[wire.ReplyEnvelope] = []
        self._sender: asyncio.Task[None] | None = None

    def add(self, answered: wire.ReplyEnvelope) -> None:
        self._answers.append(answered)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def sent(self) -> None:
        if self._sender is not None:
            await self._sender

    async def _send(self) -> None:
        # Answers of one batch become ready within a turn or two of the event loop.
        await asyncio.sleep(0)
        answers, self._answers, self._sender = self._answers, [], None
        await self._reply(self._to, answers)
