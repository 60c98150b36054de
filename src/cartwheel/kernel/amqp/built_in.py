"""Cartwheel's own AMQP client.

A message costs what its bytes cost: no task, no queue and no frame object stands between the socket
and whoever sends or takes it. What comes once for each connection or channel is read and written by
pamqp. Decision and measurements: docs/adr/0013.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import TypeVar, cast
from urllib.parse import unquote

from pamqp import base, commands
from pamqp import frame as pamqp_frame
from pamqp.common import FieldTable
from pamqp.header import ProtocolHeader
from yarl import URL

from cartwheel.kernel.amqp import frames
from cartwheel.kernel.amqp.interface import (
    AccessRefused,
    BadUrl,
    ConnectionLost,
    Delivery,
    Message,
    NotTaken,
    QueueMissing,
    Unroutable,
    VirtualHostRefused,
)
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.telemetry import log

Frame = TypeVar("Frame", bound=base.Frame)

MISSED = 5
"""Half heartbeats without a byte from RabbitMQ, after which the connection counts as lost. They are
counted, not timed: a process that was stopped for a minute has missed one."""

FRAME_MAX = 128 * 1024
"""Bytes. RabbitMQ's own default, and the most that is buffered here before a frame is read."""

UNWRITTEN = 1024 * 1024
"""Bytes that may wait for RabbitMQ to read them before `written` makes publishers wait."""

GOODBYE = 1.0
"""Seconds for RabbitMQ to answer that it closes."""

_NOT_FOUND = 404
_CLOSES: dict[int, type[Exception]] = {403: AccessRefused, 530: VirtualHostRefused}
"""What RabbitMQ closes a connection with, if not because it is lost."""

_CAPABILITIES: FieldTable = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}


async def connect(url: str, *, name: str, heartbeat: int) -> "BuiltInConnection":
    """Connect to the virtual host that `url` names. `heartbeat` is in seconds.

    Without a time limit, so give it one.

    Raises:
        BadUrl: it has an option that is not known.
        AccessRefused, VirtualHostRefused: RabbitMQ refuses.
        ConnectionLost, OSError: it cannot be reached, or goes meanwhile.
    """
    place = URL(url)
    if unknown := place.query.keys() - {"cafile", "certfile", "keyfile"}:
        raise BadUrl(
            f"the option {min(unknown)}, which AMQP_CLIENT=aiormq may know; "
            "the built-in client knows cafile, certfile and keyfile"
        )
    secure = place.scheme == "amqps"
    connection = BuiltInConnection(heartbeat)
    loop = asyncio.get_running_loop()
    await loop.create_connection(
        lambda: connection,
        place.host or "localhost",
        place.port or (5671 if secure else 5672),
        ssl=_trust(place.query) if secure else None,
    )
    try:
        await connection.open(
            user=place.user or "guest",
            password=place.password or "guest",
            virtual_host=unquote(place.raw_path[1:]) or "/",
            name=name,
        )
    except BaseException:
        connection.end(ConnectionLost("closed by us"))
        raise
    return connection


def _trust(options: Mapping[str, str]) -> ssl.SSLContext:
    """Return whom to trust: the system's authorities, or those in the file `cafile`.

    `certfile` and `keyfile` prove who we are.
    """
    context = ssl.create_default_context(cafile=options.get("cafile"))
    if "certfile" in options:
        context.load_cert_chain(options["certfile"], options.get("keyfile"))
    return context


class _Incoming(frames.Properties):
    """A message from a queue, as `interface.Delivery` describes it."""

    __slots__ = ("_channel", "_tag", "body", "redelivered")

    def __init__(
        self, channel: "_Channel", tag: int, redelivered: bool, header: bytes, body: bytes
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
    """A message of which the header, or part of the body, has yet to come."""

    __slots__ = ("done", "header", "left", "parts")

    def __init__(self, done: Callable[[bytes, bytes], None]) -> None:
        self.done = done
        self.header = b""
        self.left = 0
        self.parts: list[bytes] = []


class _Channel:
    """Where frames of one channel come in and go out; 0 is the connection itself."""

    def __init__(self, connection: "BuiltInConnection", number: int) -> None:
        self.number = number
        self._connection = connection
        self._consumers: dict[bytes, Callable[[Delivery], None]] = {}
        self._content: _Content | None = None
        self._asked: deque[asyncio.Future[base.Frame]] = deque()
        """Who waits for an answer of RabbitMQ, which gives them in order."""
        self._published = 0
        self._unconfirmed: dict[int, asyncio.Future[None]] = {}
        self._returnable: dict[str, set[int]] = {}
        """The mandatory messages without a confirm: RabbitMQ returns one without its tag."""
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why: Exception = ConnectionLost("the channel is closed")

    # What the bus calls: see `interface.Channel`.

    async def set_prefetch(self, count: int) -> None:
        await self.call(commands.Basic.Qos(prefetch_count=count), commands.Basic.QosOk)

    async def check_queue(self, queue: str) -> None:
        await self.call(commands.Queue.Declare(queue=queue, passive=True), commands.Queue.DeclareOk)

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

    def publish(self, message: Message, *, exchange: str = "", routing_key: str) -> None:
        self._publish(message, exchange, routing_key, mandatory=False, message_id=None)

    async def publish_confirmed(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool
    ) -> None:
        message_id = message.message_id or (new_id("message") if mandatory else None)
        self._publish(message, exchange, routing_key, mandatory=mandatory, message_id=message_id)
        tag = self._published
        confirmed = self._unconfirmed[tag] = asyncio.get_running_loop().create_future()
        if not mandatory or message_id is None:
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
        self,
        message: Message,
        exchange: str,
        routing_key: str,
        *,
        mandatory: bool,
        message_id: str | None,
    ) -> None:
        self.write(
            frames.publish(
                self.number,
                message,
                exchange,
                routing_key,
                mandatory=mandatory,
                frame_max=self._connection.frame_max,
                message_id=message_id or message.message_id,
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

    @property
    def is_closed(self) -> bool:
        return self._end.done()

    async def call(self, request: base.Frame | ProtocolHeader, answer: type[Frame]) -> Frame:
        """Send `request` and return what RabbitMQ answers.

        Raises:
            ConnectionLost, QueueMissing, AccessRefused, VirtualHostRefused: its answer is no.
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
        """Raise why the channel is closed, if it is."""
        if self._end.done():
            # Another one each time: an exception keeps each frame that it has passed.
            raise type(self._why)(*self._why.args)

    def end(self, why: Exception) -> None:
        """Have everything that waits fail. May be repeated."""
        if self._end.done():
            return
        self._why = why
        self._end.set_result(None)
        for future in (*self._unconfirmed.values(), *self._asked):
            if not future.done():
                future.set_exception(type(why)(*why.args))
        self._unconfirmed.clear()
        self._asked.clear()

    def on_method(self, data: bytes, begin: int, end: int) -> None:
        """Take the method in `data[begin:end]`."""
        kind, method = frames.METHOD_IDS.unpack_from(data, begin)
        if kind == frames.BASIC and method == frames.DELIVER:
            self._on_deliver(data, begin + 4)
        elif kind == frames.BASIC and method in (frames.ACK, frames.NACK):
            tag, flags = frames.TAG.unpack_from(data, begin + 4)[0], data[begin + 12]
            self._on_confirm(tag, multiple=bool(flags & 1), taken=method == frames.ACK)
        elif kind == frames.BASIC and method == frames.RETURN:
            self._content = _Content(self._on_return)
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

    def _on_return(self, header: bytes, _: bytes) -> None:
        # RabbitMQ returns a message before it confirms it.
        for tag in self._returnable.get(frames.Properties(header).message_id or "", ()):
            returned = self._unconfirmed.pop(tag, None)
            if returned is not None and not returned.done():
                returned.set_exception(Unroutable("no queue is bound for the message"))

    def _on_rare(self, found: pamqp_frame.FrameTypes) -> None:
        if self.number == 0 and self._connection.on_own_method(found):
            return
        match found:
            case commands.Channel.Close():
                self.send(commands.Channel.CloseOk())
                missing = found.reply_code == _NOT_FOUND
                self.end((QueueMissing if missing else ConnectionLost)(found.reply_text))
            case commands.Basic.Cancel():
                # Its number is never used again, so the answer is not waited for.
                self.send(commands.Channel.Close(200, "a consumer was canceled", 0, 0))
                self.end(ConnectionLost("RabbitMQ has canceled a consumer"))
            case base.Frame():
                if self._asked and not (answered := self._asked.popleft()).done():
                    answered.set_result(found)
            case _:
                raise ConnectionLost(f"RabbitMQ sent {found!r}")


class BuiltInConnection(asyncio.Protocol):
    """See `interface.Connection`."""

    def __init__(self, heartbeat: int) -> None:
        self.server_version = ""
        self.frame_max = FRAME_MAX
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._leaving: list[bytes] = []
        self._rest = b""
        self._missed = 0
        self._beat: asyncio.TimerHandle | None = None
        self._own = _Channel(self, 0)
        self._channels = {0: self._own}
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._reads_on = asyncio.Event()
        self._reads_on.set()

    # What the bus calls.

    async def open(self, *, user: str, password: str, virtual_host: str, name: str) -> None:
        """Log in and open the virtual host."""
        start = await self._own.call(ProtocolHeader(), commands.Connection.Start)
        self.server_version = str(start.server_properties.get("version", ""))
        about_us: FieldTable = {
            "product": "cartwheel",
            "connection_name": name,
            "capabilities": _CAPABILITIES,
        }
        start_ok = commands.Connection.StartOk(
            about_us,
            mechanism="PLAIN",
            response=f"\0{user}\0{password}",
            locale="en_US",
        )
        tune = await self._own.call(start_ok, commands.Connection.Tune)
        self.frame_max = min(tune.frame_max or FRAME_MAX, FRAME_MAX)
        self._heartbeat = min(tune.heartbeat or self._heartbeat, self._heartbeat)
        tune_ok = commands.Connection.TuneOk(tune.channel_max, self.frame_max, self._heartbeat)
        self._own.send(tune_ok)
        self._watch()
        request = commands.Connection.Open(virtual_host=virtual_host)
        await self._own.call(request, commands.Connection.OpenOk)

    async def channel(self, *, confirms: bool) -> _Channel:
        number = max(self._channels) + 1
        channel = self._channels[number] = _Channel(self, number)
        await channel.call(commands.Channel.Open(), commands.Channel.OpenOk)
        if confirms:
            await channel.call(commands.Confirm.Select(), commands.Confirm.SelectOk)
        return channel

    async def unblocked(self) -> None:
        await self._unblocked.wait()
        self._own.check()

    async def closed(self) -> None:
        await self._own.closed()

    async def close(self) -> None:
        with contextlib.suppress(ConnectionLost, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                request = commands.Connection.Close(200, "goodbye", 0, 0)
                await self._own.call(request, commands.Connection.CloseOk)
        self.end(ConnectionLost("closed by us"))

    def end(self, why: Exception) -> None:
        """Close the connection at once. May be repeated."""
        if self._beat is not None:
            self._beat.cancel()
        for channel in self._channels.values():
            channel.end(why)
        self._unblocked.set()
        self._reads_on.set()
        if self._transport is not None:
            self._transport.abort()

    # What the channels call.

    @property
    def reads_on(self) -> bool:
        return self._reads_on.is_set()

    async def written(self) -> None:
        # What was written leaves in a turn of the loop that comes before this one's.
        await asyncio.sleep(0)
        await self._reads_on.wait()
        self._own.check()

    def write(self, data: bytes) -> None:
        """Have `data` leave with all else that is written in this turn of the loop."""
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(data)

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(leaving))

    def on_own_method(self, found: pamqp_frame.FrameTypes) -> bool:
        """Take a method of the connection; return whether it is one that nobody has asked for."""
        match found:
            case commands.Connection.Close():
                self._own.send(commands.Connection.CloseOk())
                kind = _CLOSES.get(found.reply_code or 0, ConnectionLost)
                # Not before the answer has left.
                self._loop.call_soon(self.end, kind(found.reply_text))
            case commands.Connection.Blocked():
                log.warning("RabbitMQ takes nothing", reason=found.reason)
                self._unblocked.clear()
            case commands.Connection.Unblocked():
                log.info("RabbitMQ takes messages again")
                self._unblocked.set()
            case _:
                return False
        return True

    def _watch(self) -> None:
        """Send a heartbeat, and look whether RabbitMQ has sent anything lately."""
        self._missed += 1
        if self._missed > MISSED:
            log.warning("RabbitMQ is silent", seconds=self._heartbeat * MISSED / 2)
            self.end(ConnectionLost("RabbitMQ is silent"))
            return
        self.write(frames.heartbeat)
        self._beat = self._loop.call_later(self._heartbeat / 2, self._watch)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNWRITTEN)

    def data_received(self, data: bytes) -> None:
        self._missed = 0
        try:
            self._rest = self._take(self._rest + data if self._rest else data)
        except Exception as error:
            # Whatever it is, nothing that comes after it can be trusted.
            log.exception("RabbitMQ sent what cannot be read")
            self.end(ConnectionLost(f"RabbitMQ sent what cannot be read: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(ConnectionLost(str(exc) if exc else "RabbitMQ has closed the connection"))

    def pause_writing(self) -> None:
        self._reads_on.clear()

    def resume_writing(self) -> None:
        self._reads_on.set()

    def _take(self, data: bytes) -> bytes:
        """Take the frames in `data`, and return what there is of the next one."""
        at, have = 0, len(data)
        while have - at >= frames.EMPTY:
            kind, number, size = frames.HEAD.unpack_from(data, at)
            begin = at + frames.HEAD.size
            end = begin + size
            if size > FRAME_MAX:
                raise ValueError(f"a frame of {size} bytes")
            if end >= have:
                break
            if data[end] != frames.END:
                raise ValueError("a frame without its end")
            at = end + 1
            channel = self._channels.get(number)
            if channel is None or channel.is_closed or kind == frames.HEARTBEAT:
                continue
            if kind == frames.METHOD:
                channel.on_method(data, begin, end)
            elif kind == frames.HEADER:
                channel.on_header(data[begin:end])
            elif kind == frames.BODY:
                channel.on_body(data[begin:end])
            else:
                raise ValueError(f"a frame of type {kind}")
        return data[at:]
