"""The service's side of requests.

A message is acknowledged before its handling starts, so that it is not run twice: what is lost with
a process was not answered, and the client repeats it with its Idempotency-Key. An acknowledgement
may be lost on its way, with its connection; then the message comes again, within its deadline, and
the request's id keeps its effect from being had twice.
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
from cartwheel.kernel._core.messages import Request
from cartwheel.kernel._core.outages import is_outage
from cartwheel.kernel._core.telemetry import continue_trace, log
from cartwheel.kernel.errors import Refusal

Kind = TypeVar("Kind", bound=Request[Any])
Given = ParamSpec("Given")

MESSAGES_AT_ONCE = 64
"""Messages in hand; the rest stays with RabbitMQ, which forgets them after their deadline."""


class Answers(msgspec.Struct, frozen=True):
    """A row of a service's table: requests of `kind` are answered by `handler`, until their
    deadline (Unix time, seconds)."""

    kind: type[Request[Any]]
    handler: Callable[[Any, float], Awaitable[Any]]


def answer(
    kind: type[Kind],
    handler: Callable[Concatenate[Kind, Given], Awaitable[object]],
    *args: Given.args,
    **given: Given.kwargs,
) -> Answers:
    """Answer each request of `kind` by itself, many at once; `handler` gets what is `given`.

        answer(PlaceOrder, place_order, orders=orders, bus=core.bus)

    What `handler` raises as a `Refusal` is the answer; anything else is a bug or an outage.
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
    """Answer requests of `kind` together: `handler` gets a list and returns, in its order, an
    answer or a refusal for each.

        answer_batch(GetOrder, get_orders, orders=orders)

    If it raises for a batch, each request is handled alone.
    """
    batcher: Batcher[Kind, object] = Batcher(lambda requests: handler(requests, *args, **given))
    # A batch has a limit of its own, since it is nobody's in particular.
    return Answers(kind, lambda request, _: batcher.submit(request))


class RpcServer:
    """Takes a service's requests and answers them. Open it on a `Connection`."""

    def __init__(self, service: str, table: Iterable[Answers]) -> None:
        self._service = service
        self._table = {row.kind.type: row for row in table}
        self._channel: Channel | None = None
        self._tag: str | None = None
        self._in_hand: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MESSAGES_AT_ONCE)
        self._stopping = False

    async def open(self, connection: Connection) -> Channel:
        self._channel = channel = await connection.channel(confirms=False)
        await channel.set_prefetch(MESSAGES_AT_ONCE)
        if not self._stopping:
            queue = topology.request_queue(self._service)
            self._tag = await channel.consume(queue, self._on_delivery)
        return channel

    def lost(self) -> None:
        self._channel = None
        self._tag = None

    async def drain(self) -> None:
        """Take nothing new, and return when all that was taken is answered."""
        self._stopping = True
        if self._channel is not None and self._tag is not None:
            with contextlib.suppress(AmqpError):  # then there is nothing to stop
                await self._channel.cancel(self._tag)
        while self._in_hand:
            await asyncio.wait(self._in_hand)

    def _on_delivery(self, message: Delivery) -> None:
        task = asyncio.create_task(self._answer_all(message))
        self._in_hand.add(task)
        task.add_done_callback(self._in_hand.discard)

    async def _answer_all(self, message: Delivery) -> None:
        async with self._room:
            channel = self._channel
            try:
                if self._stopping:
                    message.reject(requeue=True)
                    return
                crash_points.reach("ack.before")
                message.ack()
                # Before anything is done: what is done must not come again.
                if channel is not None:
                    await channel.written()
                crash_points.reach("ack.after")
            except ConnectionLost:
                return  # the connection is gone, and RabbitMQ gives the message to somebody else
            await self._answer_each(message)

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
                log.warning("a part is away", request=row and row.kind.type, error=repr(error))
                ready.add(
                    wire.ReplyEnvelope(asked.id, wire.Outcome.OUTAGE, wire.write_outage(error))
                )
            else:
                log.exception("request failed", request=row and row.kind.type)
                ready.add(wire.ReplyEnvelope(asked.id, wire.Outcome.FAILED))

    async def _reply(self, to: str, answers: list[wire.ReplyEnvelope]) -> None:
        if self._channel is None:
            return  # the caller has lost its reply queue with the connection
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
    """Replies to one message: those that are ready leave together. Unlike in a `Batcher`, nobody
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
        # Answers of the same batch become ready within a turn or two of the loop.
        await asyncio.sleep(0)
        answers, self._answers, self._sender = self._answers, [], None
        await self._reply(self._to, answers)
