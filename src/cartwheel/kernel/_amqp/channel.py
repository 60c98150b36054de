"""A channel of the built-in client: pending calls, and the routing of deliveries."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from typing import Protocol, TypeVar

import msgspec
from pamqp import base, commands
from pamqp import frame as pamqp_frame
from pamqp.common import FieldTable
from pamqp.header import ProtocolHeader

from cartwheel.kernel._amqp import frames
from cartwheel.kernel._amqp.interface import (
    ConnectionLost,
    Delivery,
    Message,
    NotTaken,
    OnReturn,
    QueueMissing,
    Unroutable,
    exclusive_arguments,
)
from cartwheel.kernel._core.ids import new_id

Frame = TypeVar("Frame", bound=base.Frame)

_NOT_FOUND = 404


class Carries(Protocol):
    """The connection as its channels see it."""

    frame_max: int

    @property
    def reads_on(self) -> bool: ...
    async def written(self) -> None: ...
    def write(self, data: bytes) -> None: ...
    def takes(self, found: pamqp_frame.FrameTypes) -> bool: ...
    def release(self, number: int) -> None: ...


class _Incoming(frames.Properties):
    """A message from a queue, as `interface.Delivery` describes it."""

    __slots__ = ("_channel", "_tag", "body", "redelivered")

    def __init__(
        self, channel: "BuiltInChannel", tag: int, redelivered: bool, header: bytes, body: bytes
    ) -> None:
        super().__init__(header)
        self._channel = channel
        self._tag = tag
        self.redelivered = redelivered
        self.body = body

    def ack(self) -> None:
        self._channel.write(frames.ack(self._channel.number, self._tag))

    def reject(self, *, requeue: bool) -> None:
        self._channel.write(frames.reject(self._channel.number, self._tag, requeue=requeue))


class _Content:
    """A message whose header, or part of whose body, has not arrived yet."""

    __slots__ = ("done", "header", "left", "parts")

    def __init__(self, done: Callable[[bytes, bytes], None]) -> None:
        self.done = done
        self.header = b""
        self.left = 0
        self.parts: list[bytes] = []


class BuiltInChannel:
    """See `interface.Channel`. Number 0 is the connection itself."""

    def __init__(self, connection: Carries, number: int, on_return: OnReturn | None = None) -> None:
        self.number = number
        self._connection = connection
        self._on_return = on_return
        self._consumers: dict[bytes, Callable[[Delivery], None]] = {}
        self._content: _Content | None = None
        self._asked: deque[asyncio.Future[base.Frame]] = deque()
        """The callers that wait for an answer. RabbitMQ answers in order."""
        self._published = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._returnable: dict[str, set[int]] = {}
        """Mandatory messages not confirmed yet. RabbitMQ returns a message without its tag."""
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why: Exception = ConnectionLost("the channel is closed")

    # What the bus calls.

    async def declare_exclusive(self, queue: str, *, ttl_seconds: float) -> None:
        arguments: FieldTable = {**exclusive_arguments(ttl_seconds)}
        request = commands.Queue.Declare(queue=queue, exclusive=True, arguments=arguments)
        await self.call(request, commands.Queue.DeclareOk)

    async def bind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        request = commands.Queue.Bind(queue=queue, exchange=exchange, routing_key=routing_key)
        await self.call(request, commands.Queue.BindOk)

    async def unbind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        request = commands.Queue.Unbind(queue=queue, exchange=exchange, routing_key=routing_key)
        await self.call(request, commands.Queue.UnbindOk)

    async def waiting_in(self, queue: str) -> int:
        request = commands.Queue.Declare(queue=queue, passive=True)
        return (await self.call(request, commands.Queue.DeclareOk)).message_count or 0

    async def set_prefetch(self, count: int) -> None:
        await self.call(commands.Basic.Qos(prefetch_count=count), commands.Basic.QosOk)

    async def consume(
        self, queue: str, on_delivery: Callable[[Delivery], None], *, no_ack: bool = False
    ) -> str:
        tag = new_id("consumer")
        self._consumers[tag.encode()] = on_delivery
        request = commands.Basic.Consume(queue=queue, consumer_tag=tag, no_ack=no_ack)
        await self.call(request, commands.Basic.ConsumeOk)
        return tag

    async def cancel(self, tag: str) -> None:
        await self.call(commands.Basic.Cancel(consumer_tag=tag), commands.Basic.CancelOk)
        self._consumers.pop(tag.encode(), None)

    def publish(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool = False
    ) -> None:
        self._publish(message, exchange, routing_key, mandatory=mandatory)

    async def publish_confirmed(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool
    ) -> None:
        message_id = message.message_id or new_id("message")
        if message.message_id is None and mandatory:
            message = msgspec.structs.replace(message, message_id=message_id)
        self._publish(message, exchange, routing_key, mandatory=mandatory)
        tag = self._published
        confirmed = self._unconfirmed[tag] = asyncio.get_running_loop().create_future()
        if not mandatory:
            await confirmed
            return
        same = self._returnable.setdefault(message_id, set())
        same.add(tag)
        try:
            await confirmed
        finally:
            same.discard(tag)
            if not same:
                self._returnable.pop(message_id, None)

    def _publish(
        self, message: Message, exchange: str, routing_key: str, *, mandatory: bool
    ) -> None:
        self.write(
            frames.publish(
                self.number,
                message,
                exchange,
                routing_key,
                mandatory=mandatory,
                frame_max=self._connection.frame_max,
            )
        )
        # RabbitMQ counts all of them, and confirms by that number.
        self._published += 1

    @property
    def reads_on(self) -> bool:
        return self._connection.reads_on

    async def written(self) -> None:
        await self._connection.written()

    async def closed(self) -> None:
        await asyncio.shield(self._end)

    # What the connection calls.

    async def call(self, request: base.Frame | ProtocolHeader, answer: type[Frame]) -> Frame:
        """Send `request` and return what RabbitMQ answers.

        Raises:
            ConnectionLost, QueueMissing, AccessRefused, VirtualHostRefused: RabbitMQ refuses.
        """
        self.send(request)
        answered: asyncio.Future[base.Frame] = asyncio.get_running_loop().create_future()
        self._asked.append(answered)
        found = await answered
        if not isinstance(found, answer):
            raise ConnectionLost(f"RabbitMQ answered {request.name} with {found.name}")
        return found

    def send(self, frame: base.Frame | ProtocolHeader) -> None:
        self.write(pamqp_frame.marshal(frame, self.number))

    def write(self, data: bytes) -> None:
        self.check()
        self._connection.write(data)

    def check(self) -> None:
        """Raise `ConnectionLost` if the channel is closed."""
        if self._end.done():
            raise ConnectionLost(str(self._why))

    def end(self, why: Exception) -> None:
        """Fail all pending calls. May be repeated."""
        if self._end.done():
            return
        self._why = why
        self._content = None
        self._end.set_result(None)
        for confirmed in self._unconfirmed.values():
            if not confirmed.done():
                confirmed.set_exception(ConnectionLost(str(why)))
        for answered in self._asked:
            if not answered.done():
                answered.set_exception(type(why)(str(why)))
        self._unconfirmed.clear()
        self._asked.clear()

    def on_method(self, data: bytes, begin: int, end: int) -> None:
        """Handle the method in `data[begin:end]`."""
        kind, method = frames.METHOD_IDS.unpack_from(data, begin)
        if self._end.done():
            if (kind, method) == frames.CHANNEL_CLOSE_OK:
                self._connection.release(self.number)
        elif kind == frames.BASIC and method == frames.DELIVER:
            self._on_deliver(data, begin + 4)
        elif kind == frames.BASIC and method in (frames.ACK, frames.NACK):
            tag, flags = frames.TAG.unpack_from(data, begin + 4)[0], data[begin + 12]
            self._on_confirm(tag, multiple=bool(flags & 1), taken=method == frames.ACK)
        elif kind == frames.BASIC and method == frames.RETURN:
            self._content = _Content(self._returned)
        else:
            head = frames.HEAD.pack(frames.METHOD, self.number, end - begin)
            whole = b"".join((head, data[begin:end], bytes((frames.END,))))
            self._on_rare(pamqp_frame.unmarshal(whole)[2])

    def on_header(self, header: bytes) -> None:
        if (content := self._content) is not None:
            content.header = header
            (content.left,) = frames.TAG.unpack_from(header, 4)
            self._complete(content)

    def on_body(self, part: bytes) -> None:
        if (content := self._content) is not None:
            content.parts.append(part)
            content.left -= len(part)
            self._complete(content)

    def _complete(self, content: _Content) -> None:
        if content.left <= 0:
            self._content = None
            parts = content.parts
            content.done(content.header, parts[0] if len(parts) == 1 else b"".join(parts))

    def _on_deliver(self, data: bytes, at: int) -> None:
        begin, at = at + 1, at + 1 + data[at]
        on_delivery = self._consumers.get(data[begin:at])
        (tag,) = frames.TAG.unpack_from(data, at)
        redelivered = bool(data[at + 8] & 1)

        def deliver(header: bytes, body: bytes) -> None:
            if on_delivery is not None:
                on_delivery(_Incoming(self, tag, redelivered, header, body))

        self._content = _Content(deliver)

    def _on_confirm(self, tag: int, *, multiple: bool, taken: bool) -> None:
        tags = [tag]
        if multiple:
            # They are in order, since each is higher than the one before.
            tags = list(takewhile(lambda each: each <= tag, self._unconfirmed))
        for each in tags:
            confirmed = self._unconfirmed.pop(each, None)
            if confirmed is None or confirmed.done():
                continue  # it was returned, or whoever waited has given up
            if taken:
                confirmed.set_result(None)
            else:
                confirmed.set_exception(NotTaken("a queue refuses the message"))

    def _returned(self, header: bytes, _: bytes) -> None:
        message_id = frames.Properties(header).message_id or ""
        if self._on_return is not None:
            self._on_return(message_id)
        # RabbitMQ returns a message before it confirms it.
        for tag in self._returnable.get(message_id, ()):
            returned = self._unconfirmed.pop(tag, None)
            if returned is not None and not returned.done():
                returned.set_exception(Unroutable("no queue is bound for the message"))

    def _on_rare(self, found: pamqp_frame.FrameTypes) -> None:
        if self.number == 0 and self._connection.takes(found):
            return
        match found:
            case commands.Channel.Close():
                self.send(commands.Channel.CloseOk())
                self._connection.release(self.number)
                missing = found.reply_code == _NOT_FOUND
                self.end((QueueMissing if missing else ConnectionLost)(found.reply_text))
            case commands.Basic.Cancel():
                # The connection waits for the answer, and then uses its number again.
                self.send(commands.Channel.Close(200, "a consumer was canceled", 0, 0))
                self.end(ConnectionLost("RabbitMQ has canceled a consumer"))
            case base.Frame():
                if self._asked and not (answered := self._asked.popleft()).done():
                    answered.set_result(found)
            case _:
                raise ConnectionLost(f"RabbitMQ sent {found!r}")
