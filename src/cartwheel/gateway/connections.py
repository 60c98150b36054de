"""uvicorn's HTTP connections, with the limits that uvicorn leaves to a proxy in front of it.

Left alone, uvicorn waits for ever for the rest of a request (50 of 50 slow-loris sockets were still
open after 35 s), takes a head of any length, and reads an unwanted body to its end.
"""

import asyncio
from typing import ClassVar, cast

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from cartwheel.gateway.problems import problem
from cartwheel.kernel.telemetry import continue_trace, log


class Limits:
    """Of one connection. Subclass it to change them."""

    request: ClassVar[float] = 10.0
    """Seconds from a request's first byte (or from connecting) to its last."""
    response: ClassVar[float] = 10.0
    """Seconds that a client may leave a response lying in the socket."""
    linger: ClassVar[float] = 2.0
    """Seconds for which the rest of a refused body is still thrown away: closing at once would
    reset the connection, and many clients would not see the answer (nginx: lingering_close)."""
    head: ClassVar[int] = 32 * 1024
    """Bytes of request line and headers."""
    connections: ClassVar[int] = 4096
    """Open at the same time; one more is told 503."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. At most one of its three timers runs, and none while the app is at work."""

    limits: ClassVar[type[Limits]] = Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_body = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        if len(self.connections) > self.limits.connections:
            self._refuse(503, "overloaded", "Too many connections are open.")
        else:
            self._expect_the_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > self.limits.head:
            self._refuse(431, "head_too_large", "The request line and headers are too long.")
        elif self._in_body or self._idle():
            self._expect_the_rest()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()
        if self.cycle.response_complete:  # the end of a refused body: ready for the next request
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._stop_timer()
            self._timer = self.loop.call_later(self.limits.linger, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.response, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad_request", "This is not a valid HTTP request.")

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if nothing else had been offered (RFC 9110, §7.8); it is no news to anybody."""

    def _idle(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def _expect_the_rest(self) -> None:
        # Not pushed back by further bytes: a trickle would keep it open for ever.
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.request, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, code: str, detail: str) -> None:
        trace_id = continue_trace(None)
        log.info("connection_refused", status=status, code=code)
        body, headers = problem(status, code, detail)
        headers |= {
            "content-length": str(len(body)),
            "connection": "close",
            "x-request-id": trace_id,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + body)
        self.transport.close()
