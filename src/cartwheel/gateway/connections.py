"""uvicorn's HTTP connections, with the limits that uvicorn leaves to a proxy in front of it.

Left alone, uvicorn waits for ever for the rest of a request, takes a head, chunk extensions and
trailers of any length, reads pipelined requests without end, and an unwanted body to its end.

Everything that a connection may have outstanding is bounded here: what arrives is parsed a piece at
a time, and nothing is parsed while a whole request waits for its answer.
"""

import asyncio
import re
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from cartwheel.gateway.clients import Clients
from cartwheel.gateway.problems import problem
from cartwheel.kernel.telemetry import continue_trace, log


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one connection."""

    first_byte: float = 5.0
    """Seconds from connecting to a first byte."""
    request: float = 10.0
    """Seconds from a request's first byte to its last."""
    response: float = 10.0
    """Seconds that a client may leave a response lying in the socket."""
    linger: float = 1.0
    """Seconds for which the rest of a refused request is still thrown away: closing at once would
    reset the connection, and many clients would not see the answer (nginx: lingering_close)."""
    thrown_away: int = 64 * 1024 * 1024
    """Bytes of it."""
    head: int = 32 * 1024
    """Bytes of request line and headers, and the same for what frames a chunked body: sizes,
    extensions, trailers."""
    connections: int = 4096
    """Open at the same time; one more is told 503."""


LIMITS = Limits()

PIECE = 1024
"""Bytes parsed at a time. All requests that begin in one piece are queued, so it is small."""

FREE_FRAMING = 8
"""Bytes of framing that each byte of a body pays for: chunks of one byte need five."""

_HOST = re.compile(rb"[\w.~!$&'()*+,;=:%\[\]-]*", re.ASCII)

Refusal = tuple[int, str, str]
"""Status, code and detail of a problem document."""

_NOT_HTTP: Refusal = (400, "bad_request", "This is not a valid HTTP request.")
_LONG_HEAD: Refusal = (431, "head_too_large", "The request line and headers are too long.")
_LONG_FRAMING: Refusal = (400, "bad_request", "Chunk extensions or trailers are too long.")
_HOST_UNCLEAR: Refusal = (400, "bad_request", "Send one Host header (RFC 9112, section 3.2).")
_FULL: Refusal = (503, "overloaded", "Too many connections are open.")
_FULL_FOR_ONE: Refusal = (
    429,
    "too_many_connections",
    "Too many connections are open from this address.",
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. At most one of its three timers runs, and none while the app is at work."""

    def __init__(self, *args: Any, limits: Limits, clients: Clients, **more: Any) -> None:
        super().__init__(*args, **more)
        self.limits = limits
        self._clients = clients
        self._unparsed = b""
        self._in_body = False
        self._has_spoken = False
        self._overhead = 0
        """Bytes of this head, or of what frames this body."""
        self._thrown_away = 0
        self._fault = _NOT_HTTP
        """What is wrong where the parser stops."""
        self._refusal: Refusal | None = None
        """Why no more is parsed; told once the requests before are answered."""
        self._hanging_up = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = self._reading = _Reading(transport)
        self._outlet = _Outlet(self)
        self._peer = self.client[0] if self.client else ""
        within_limit = self._clients.connected(self._peer)
        if len(self.connections) <= self.limits.connections and within_limit:
            self._timer = self.loop.call_later(self.limits.first_byte, self.transport.abort)
        else:
            self._say(_FULL_FOR_ONE if not within_limit else _FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clients.disconnected(self._peer)
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._hanging_up or (self._in_body and self._is_answered()):
            self._thrown_away += len(data)
            if self._thrown_away > self.limits.thrown_away:
                self.transport.abort()
        elif not self._has_spoken:
            self._has_spoken = True
            self._stop_timer()
        if not self._hanging_up:
            self._unparsed += data
            self._parse()

    def _parse(self) -> None:
        """Parse what has arrived, until a whole request waits for its answer."""
        if not self._unparsed:
            return
        arrived, at = memoryview(self._unparsed), 0
        while at < len(arrived) and not self._must_wait():
            piece = arrived[at : at + PIECE]
            at += len(piece)
            super().data_received(cast("bytes", piece))
            self._overhead += len(piece)
            if self._overhead > self.limits.head and not self._refusal:
                self._refuse(_LONG_FRAMING if self._in_body else _LONG_HEAD)
        self._unparsed = bytes(arrived[at:])
        if self._unparsed:
            self._reading.waits = True
            self._reading.pause_reading()
        if self._timer is None and not self._must_wait():
            # Not pushed back by further bytes: a trickle would keep it open for ever.
            self._timer = self.loop.call_later(self.limits.request, self.transport.abort)

    def _must_wait(self) -> bool:
        at_work = not (self._is_answered() or self._in_body)
        return at_work or self._refusal is not None or self.transport.is_closing()

    def _is_answered(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def on_message_begin(self) -> None:
        self._overhead = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._overhead > self.limits.head:
            self._fault = _LONG_HEAD
            raise ValueError
        hosts = [value for name, value in self.headers if name == b"host"]
        if not _is_one_host(hosts, self.parser):
            self._fault = _HOST_UNCLEAR
            raise ValueError
        self._overhead = 0
        self._in_body = True
        if address := self._clients.forwarded(self._peer, self.headers):
            self.scope["client"] = (address, 0)
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", self._outlet)
        self.headers = []  # trailers come here, and nobody reads them

    def on_body(self, body: bytes) -> None:
        self._overhead = max(0, self._overhead - (1 + FREE_FRAMING) * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._overhead = 0
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()
        if self._is_answered():  # the end of a refused body: ready for the next request
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._fault)

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if nothing else had been offered (RFC 9110, §7.8); it is no news to anybody."""

    # What is answered

    def on_response_complete(self) -> None:
        if self._hanging_up:
            return
        self._reading.waits = False
        super().on_response_complete()
        if self.transport.is_closing() or not self._is_answered():
            return
        if self._refusal:
            self._refuse(self._refusal)
        elif self._in_body:
            self._linger()
        else:
            self._parse()

    def end(self) -> None:
        """Close the connection after the answer that was written last."""
        if self._in_body:
            self._hang_up()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.response, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # What is refused

    def _refuse(self, refusal: Refusal) -> None:
        """Parse no more; tell why, and hang up. Requests that came whole are answered first."""
        self._refusal = refusal
        if not (self._is_answered() or self._in_body):
            return
        if self._in_body:  # the app waits for it, or has answered without it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.pipeline or self.cycle.response_started:
                self.transport.abort()
                return
        self._say(refusal)
        self._hang_up()

    def _say(self, refusal: Refusal) -> None:
        trace_id = continue_trace(None)
        status, code, _ = refusal
        log.info("connection_refused", status=status, code=code, client=self._peer)
        body, headers = problem(*refusal)
        headers |= {
            "content-length": str(len(body)),
            "connection": "close",
            "x-request-id": trace_id,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + body)

    def _hang_up(self) -> None:
        self._hanging_up = True
        self._unparsed = b""
        self.transport.write_eof()
        self._reading.waits = False
        self._reading.resume_reading()
        self._linger()

    def _linger(self) -> None:
        self._unset_keepalive_if_required()
        self._stop_timer()
        self._timer = self.loop.call_later(self.limits.linger, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Reading(FlowControl):
    """Reads on, unlike uvicorn's, only when nothing that was read still `waits` to be parsed."""

    waits = False

    def resume_reading(self) -> None:
        if not self.waits:
            super().resume_reading()


class _Outlet:
    """The transport that an answer is written to, which closes when the client has finished."""

    def __init__(self, connection: BoundedProtocol) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.end


def _is_one_host(hosts: list[bytes], parser: Any) -> bool:
    if not hosts:
        return parser.get_http_version() == "1.0"
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None
