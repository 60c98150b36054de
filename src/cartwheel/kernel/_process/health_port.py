"""The port for health probes. Everything is bounded: no client can cost the service much, or delay
another client for long.

A connection carries one request and is closed after HEAD_SECONDS of silence. Connections are
accepted one at a time with a pause, so a flood of them waits in the operating system. If more than
CONNECTIONS are open, the oldest is closed: a probe is answered within milliseconds, so the oldest
one is silent.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cartwheel.kernel._core.telemetry import log

Answered = tuple[int, bytes]
"""The status, and the body as JSON."""
Page = Callable[[], Awaitable[Answered]]

CONNECTIONS = 32
HEAD_SECONDS = 2.0
PAUSE_SECONDS = 0.005
"""Between two connections: at most 200 per second, which costs about 5 % of a core."""
NO_CONNECTION_SECONDS = 1.0
"""Until the next try if none can be accepted, for example for want of file descriptors."""
MOST_HEADERS = 64
HEADER_BYTES = 4096
GOODBYE_SECONDS = 1.5
"""Time for answers in progress when the service stops; a database ping takes at most 1 s."""

_METHODS = ("GET", "HEAD")
_logger = logging.getLogger("cartwheel.health")


@contextlib.asynccontextmanager
async def serving(listener: socket.socket, pages: Mapping[str, Page]) -> AsyncGenerator[None]:
    """Serve `pages`, by their paths, on `listener`. Closes it at the end."""

    async def answer(request: web.BaseRequest) -> web.Response:
        page = pages.get(request.path)
        if page is None:
            response = web.Response(status=404)
        elif request.method not in _METHODS:
            response = web.Response(status=405, headers={"Allow": ", ".join(_METHODS)})
        else:
            status, body = await page()
            response = web.Response(
                status=status,
                body=body,
                content_type="application/json",
                headers={"Cache-Control": "no-store"},
            )
        response.force_close()
        return response

    _logger.addFilter(_is_ours)
    listener.setblocking(False)
    server = web.Server(
        answer,
        logger=_logger,
        access_log=None,
        keepalive_timeout=HEAD_SECONDS,  # counts from the start of the connection
        lingering_time=0,  # do not wait for bodies
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=MOST_HEADERS,
    )
    accepting = asyncio.create_task(_accept(listener, server))
    try:
        yield
    finally:
        accepting.cancel()
        await asyncio.wait({accepting})
        listener.close()
        await server.shutdown(GOODBYE_SECONDS)


async def _accept(listener: socket.socket, server: web.Server) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, _ = await loop.sock_accept(listener)
            await loop.connect_accepted_socket(server, connection)
        except OSError as error:
            log.warning("health port accepts no connection", error=repr(error))
            await asyncio.sleep(NO_CONNECTION_SECONDS)
            continue
        for oldest in server.connections[:-CONNECTIONS]:
            oldest.force_close()
        await asyncio.sleep(PAUSE_SECONDS)


def _is_ours(record: logging.LogRecord) -> bool:
    """Return False for clients' errors, which could flood the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
