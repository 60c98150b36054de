"""Cartwheel's own AMQP client.

A message costs little more than its bytes: there is no task, queue or frame object between the
socket and the sender or receiver. Frames needed once per connection or channel are handled by
pamqp. Decision and measurements: docs/adr/0013.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from itertools import count
from typing import cast
from urllib.parse import unquote

from pamqp import commands
from pamqp import frame as pamqp_frame
from pamqp.common import FieldTable
from pamqp.header import ProtocolHeader
from yarl import URL

from cartwheel.kernel._amqp import frames
from cartwheel.kernel._amqp.channel import BuiltInChannel
from cartwheel.kernel._amqp.interface import (
    GOODBYE_SECONDS,
    AccessRefused,
    BadUrl,
    ConnectionLost,
    OnReturn,
    VirtualHostRefused,
)
from cartwheel.kernel._core.telemetry import log

MISSED = 3
"""How many half heartbeat intervals may pass without a byte from RabbitMQ. They are counted, not
timed: a process that was paused for a minute counts one."""

FRAME_MAX = 128 * 1024
"""Bytes. RabbitMQ's own default, and the most to buffer for a frame."""

_REFUSALS: dict[int, type[Exception]] = {403: AccessRefused, 530: VirtualHostRefused}
"""The meaning of RabbitMQ's codes when it closes a connection during the handshake."""

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
    """Return a TLS context that trusts the system's authorities, or those in the file `cafile`.

    `certfile` and `keyfile` are the client's certificate.
    """
    context = ssl.create_default_context(cafile=options.get("cafile"))
    if "certfile" in options:
        context.load_cert_chain(options["certfile"], options.get("keyfile"))
    return context


class BuiltInConnection(asyncio.Protocol):
    """See `interface.Connection`."""

    def __init__(self, heartbeat: int) -> None:
        self.frame_max = FRAME_MAX
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._leaving: list[bytes] = []
        self._rest = b""
        self._is_open = False
        self._missed = 0
        self._beat: asyncio.TimerHandle | None = None
        self._own = BuiltInChannel(self, 0)
        self._channels = {0: self._own}
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._reads_on = asyncio.Event()
        self._reads_on.set()

    # What the bus calls.

    async def open(self, *, user: str, password: str, virtual_host: str, name: str) -> None:
        """Log in and open the virtual host."""
        await self._own.call(ProtocolHeader(), commands.Connection.Start)
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
        self._is_open = True

    async def channel(self, *, confirms: bool, on_return: OnReturn | None = None) -> BuiltInChannel:
        self._own.check()
        number = next(each for each in count(1) if each not in self._channels)
        channel = self._channels[number] = BuiltInChannel(self, number, on_return)
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
        try:
            with contextlib.suppress(ConnectionLost, TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    request = commands.Connection.Close(200, "goodbye", 0, 0)
                    await self._own.call(request, commands.Connection.CloseOk)
        finally:
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
        """Send `data` together with everything written in this turn of the event loop."""
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(data)

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(leaving))

    def release(self, number: int) -> None:
        """Free `number` for the next channel: both sides know that this one is closed."""
        self._channels.pop(number, None)

    def takes(self, found: pamqp_frame.FrameTypes) -> bool:
        """Handle a method of the connection; return whether it was unsolicited."""
        match found:
            case commands.Connection.Close():
                self._own.send(commands.Connection.CloseOk())
                refused = None if self._is_open else _REFUSALS.get(found.reply_code or 0)
                kind = refused or ConnectionLost
                # Not before the answer has left.
                self._loop.call_soon(self.end, kind(found.reply_text))
            case commands.Connection.Blocked():
                log.warning("RabbitMQ accepts no messages", reason=found.reason)
                self._unblocked.clear()
            case commands.Connection.Unblocked():
                log.info("RabbitMQ accepts messages again")
                self._unblocked.set()
            case _:
                return False
        return True

    def _watch(self) -> None:
        """Send a heartbeat, and check whether RabbitMQ has sent anything lately."""
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
        # So that `written` means what it says: the loop tells as soon as anything stays here.
        self._transport.set_write_buffer_limits(high=0)

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
        """Handle the frames in `data`, and return the beginning of the next one."""
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
            if channel is None or kind == frames.HEARTBEAT_SECONDS:
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
