"""uvicorn's HTTP connections, with the limits that uvicorn expects a proxy to enforce.

By itself, uvicorn waits forever for the rest of a request. It accepts headers, chunk extensions and
trailers of any length and any number of pipelined requests, and reads unwanted bodies to the end.

Here, everything that a connection may have outstanding is bounded. Input is parsed piece by piece,
and not at all while a complete request waits for its answer.
"""

import asyncio
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cartwheel.gateway import refusals
from cartwheel.gateway.clients import Clients
from cartwheel.gateway.refusals import Refusal, tell


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one connection."""

    first_byte: float = 5.0
    """Seconds from the connection to its first byte."""
    request: float = 10.0
    """Seconds from a request's first byte to its last."""
    response: float = 10.0
    """Seconds that a client may leave a response unread in the socket."""
    flush: float = 4.0
    """Seconds in which the client must read a connection's last answer; less than
    `GRACE_SECONDS`."""
    linger: float = 1.0
    """Seconds to discard the rest of a refused request. Closing at once would reset the connection,
    and many clients would not see the answer (nginx: lingering_close)."""
    thrown_away: int = 16 * 1024 * 1024
    """The most bytes to discard."""
    head: int = 32 * 1024
    """Bytes of request line and headers."""
    headers: int = 256
    """Headers of one request; each one costs memory."""
    framing: int = 16 * 1024
    """Bytes of a chunked body's framing: sizes, extensions and trailers."""
    target: int = 8 * 1024
    """Bytes of path and query (RFC 9112, section 3, recommends at least 8,000). Litestar caches the
    paths it has seen."""
    connections: int = 4096
    """Open connections; one more gets a 503."""


LIMITS = Limits()

PIECE = 1024
"""Bytes parsed at a time: few, since all requests that begin in one piece are queued."""
PIECES = 2
"""Pieces parsed on arrival: most requests are that short. Then one per turn of the event loop, so
that other clients need not wait."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. At most one of its three timers runs; none while the app works."""

    def __init__(self, *args: Any, limits: Limits, clients: Clients, **more: Any) -> None:
        super().__init__(*args, **more)
        self.limits = limits
        self._clients = clients
        self.headers = []
        self._unparsed = bytearray()
        self._in_body = False
        self._is_partial = False
        """Whether a request, or what should be one, has begun and not ended."""
        self._has_spoken = False
        self._overhead = 0
        """Bytes of the current head, or of the current body's framing."""
        self._thrown_away = 0
        self._fault = refusals.NOT_HTTP
        """The refusal to send if the parser fails."""
        self._refusal: Refusal | None = None
        """Why parsing stopped; sent once the earlier requests are answered."""
        self._hanging_up = False
        self._will_parse = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Reading(self)
        self._outlet = _Outlet(self)
        self._peer = self.client[0] if self.client else ""
        within_limit = self._clients.connected(self._peer)
        if len(self.connections) <= self.limits.connections and within_limit:
            self._limit(self.limits.first_byte, self.transport.abort)
        elif within_limit:
            self._say(refusals.FULL)
            self.close()
        else:
            self._say(refusals.FULL_FOR_ONE)
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clients.disconnected(self._peer)
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)
        # Queued requests, and the timer after a reset, refer to this connection. They would keep it
        # in memory until the garbage collector runs.
        if self.pipeline:
            self.pipeline.clear()
            self.cycle = cast("Any", None)
        self._unset_keepalive_if_required()

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._hanging_up:
            self._throw_away(data)
            return
        if not self._has_spoken:
            self._has_spoken = True
            self._stop_timer()
        self._unparsed += data
        self._parse(PIECES)

    def _parse(self, pieces: int = 1) -> None:
        """Parse some of what has arrived, so that other clients do not wait long."""
        self._will_parse = False
        if self.transport.is_closing():
            return
        for _ in range(pieces):
            if not self._unparsed or self._must_wait():
                break
            piece = bytes(self._unparsed[:PIECE])
            del self._unparsed[:PIECE]
            self._feed(piece)
            self._overhead += len(piece)
            self._check_overhead()
        if self._must_wait():
            if self._unparsed:
                self.flow.pause_reading()
            if not self._hanging_up:
                self._stop_timer()
        else:
            self.expect_the_rest()
            self.flow.resume_reading()

    def _feed(self, piece: bytes) -> None:
        self._unset_keepalive_if_required()
        self._is_partial = True
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            self._unparsed[:0] = piece[upgrade.args[0] :]
            self._begin_again_without_upgrade()
        except HttpParserError:
            self._refuse(self._fault)

    def _begin_again_without_upgrade(self) -> None:
        """Parse the head again without its Upgrade header (RFC 9110, section 7.8).

        Some clients offer HTTP/2 with every first request. The parser would mistake their body for
        the other protocol.
        """
        version = self.parser.get_http_version()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version.encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n")

    def expect_the_rest(self) -> None:
        """Start the timer of a request that has begun. Further bytes do not restart it: a trickle
        would keep the connection open forever."""
        if self._is_partial and self._timer is None and not self._must_wait():
            self._limit(self.limits.request, self.transport.abort)

    def _check_overhead(self) -> None:
        if self._refusal:
            return
        if not self._in_body and self._is_long_head():
            self._refuse(refusals.LONG_HEAD)
        elif self._in_body and self._overhead > self.limits.framing:
            self._refuse(refusals.LONG_FRAMING)

    def _is_long_head(self) -> bool:
        return len(self.headers) > self.limits.headers or self._overhead > self.limits.head

    def parse_soon(self) -> bool:
        """Continue in the next turn of the event loop; return whether there is more to parse."""
        if self._unparsed and not self._will_parse:
            self._will_parse = True
            self.loop.call_soon(self._parse)
        return bool(self._unparsed)

    def _must_wait(self) -> bool:
        """Return whether the app must first answer a complete request or read its body."""
        if self._refusal or self.transport.is_closing():
            return True
        if self._is_answered():
            return False
        return not self._in_body or bool(self.pipeline) or len(self.cycle.body) > HIGH_WATER_LIMIT

    def _is_answered(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def on_message_begin(self) -> None:
        self._overhead = 0
        self._is_partial = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return
        if self._is_long_head():
            self._fault = refusals.LONG_HEAD
            raise ValueError
        if len(self.url) > self.limits.target:
            self._fault = refusals.LONG_TARGET
            raise ValueError
        if not refusals.names_one_host(self.headers, self.parser):
            self._fault = refusals.NOT_ONE_HOST
            raise ValueError
        self._overhead = 0
        if address := self._clients.forwarded(self._peer, self.headers):
            self.scope["client"] = (address, 0)
        super().on_headers_complete()
        self._in_body = True
        self.cycle.transport = cast("asyncio.Transport", self._outlet)
        self._drop_headers()

    def _drop_headers(self) -> None:
        """Drop the headers, which the app now has. Trailers are not kept: nobody reads them."""
        self.headers = cast("list[tuple[bytes, bytes]]", deque(maxlen=0))
        self.scope = cast("Any", None)

    def on_body(self, body: bytes) -> None:
        self._overhead -= len(body)
        super().on_body(body)
        if self._is_answered():
            self._thrown_away += len(body)
            if self._thrown_away > HIGH_WATER_LIMIT:
                self._hang_up()
                raise ValueError  # stops the parser

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._overhead = 0
        self._in_body = self._is_partial = False
        self._stop_timer()
        super().on_message_complete()
        if self._is_answered():  # a refused body has ended: ready for the next request
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    # What is answered

    def on_response_complete(self) -> None:
        if self._hanging_up:
            return
        super().on_response_complete()
        if self.transport.is_closing() or not self._is_answered():
            return
        if self._in_body:
            self._unset_keepalive_if_required()
            self._limit(self.limits.linger, self.close)
        elif self._refusal:
            self._refuse(self._refusal)

    def end(self) -> None:
        """Close the connection after the last answer written."""
        if self._in_body:
            self._hang_up()
        else:
            self.close()

    def answer_last(self) -> None:
        """Make the newest request in progress, if any, the last one answered.

        If its answer has begun without saying so, the client may already send the next request.
        """
        if not self._is_answered():
            newest = self.pipeline[0][0] if self.pipeline else self.cycle
            newest.keep_alive = newest.response_started

    def close(self) -> None:
        """Close the connection once the client has read the rest, or after `flush` seconds."""
        self.transport.close()
        self._limit(self.limits.flush, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        self.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer complete requests even if the client has shut down its sending side."""
        if self._is_answered() or self._in_body:
            self._limit(self.limits.flush, self.transport.abort)
            return False
        self.cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            self._limit(self.limits.flush, self.transport.abort)

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
        """Stop parsing, send `refusal` and hang up. Complete requests are answered first."""
        if self._hanging_up:
            return
        self._refusal = refusal
        if not (self._is_answered() or self._in_body):
            return
        if self._in_body:  # the app waits for the body, or has answered without it
            self.cycle.disconnected = True
            self.cycle.waiting_for_100_continue = False
            self.cycle.message_event.set()
            if self.pipeline or self.cycle.response_started:
                self.transport.abort()
                return
        self._say(refusal)
        self._hang_up()

    def _say(self, refusal: Refusal) -> None:
        self.transport.write(tell(refusal, client=self._peer))

    def _hang_up(self) -> None:
        """Close the connection once the client has read the answer and stopped sending."""
        if self.transport.is_closing():
            return
        self._hanging_up = True
        self._unparsed.clear()
        self._drop_headers()
        self.transport.write_eof()
        self.flow.resume_reading()
        self._unset_keepalive_if_required()
        self._limit(self.limits.linger, self.close)

    def _throw_away(self, data: bytes) -> None:
        self._thrown_away += len(data)
        if self._thrown_away > self.limits.thrown_away:
            self.transport.abort()

    def _limit(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


# Both refer to the connection weakly. In a reference cycle, closed connections would stay in memory
# until the garbage collector runs.


class _Reading(FlowControl):
    """uvicorn's flow control, but what was read is parsed before more is read."""

    def __init__(self, connection: BoundedProtocol) -> None:
        super().__init__(connection.transport)
        self._connection = weakref.proxy(connection)

    def resume_reading(self) -> None:
        if self._transport.is_closing() or self._connection.parse_soon():
            return
        super().resume_reading()
        self._connection.expect_the_rest()


class _Outlet:
    """The transport for answers. It closes when the client has finished, and drops what is written
    after the client has disconnected."""

    def __init__(self, connection: BoundedProtocol) -> None:
        self._connection = weakref.proxy(connection)
        self._transport = connection.transport
        self.is_closing = self._transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if not self._transport.is_closing():
            self._connection.end()
