"""The HTTP server: uvicorn in this process's event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from functools import partial
from typing import cast

import uvicorn
from litestar.types import ASGIApp

from cartwheel.gateway.clients import Clients
from cartwheel.gateway.connections import LIMITS, BoundedProtocol, Limits
from cartwheel.gateway.traced import Traced
from cartwheel.kernel.lowlevel import Stop, listen

BACKLOG = 2048
READ_AT_MOST = 64 * 1024
"""Size of a connection's receive buffer in the operating system."""
KEEP_ALIVE = 30
"""Seconds that a connection may be idle between requests."""
GRACE_SECONDS = 6
"""Seconds that requests in progress get to finish when the server stops."""
_CLOSE = (b"connection", b"close")


async def serve(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    started: Callable[[], None],
    stop: Stop,
    drain_seconds: float = 0,
    share_port: bool = False,
    limits: Limits = LIMITS,
    clients: Clients | None = None,
) -> None:
    """Serve `app` until `stop` is set. Then drain, and let requests in progress finish.

    While draining, the server still answers requests but closes each connection after its answer,
    so that a load balancer goes elsewhere. Then the requests in progress get GRACE_SECONDS.

    Args:
        started: called once connections are accepted.

    Raises:
        CannotListen: the port is taken or not permitted, or the host is not usable.
    """
    protocol = partial(BoundedProtocol, limits=limits, clients=clients or Clients())
    listener = listen(host, port, backlog=BACKLOG, share=share_port)
    # Connections inherit it, so one read returns at most this much.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_AT_MOST)
    server = _Server(
        uvicorn.Config(
            Traced(app),
            http=cast("type[BoundedProtocol]", protocol),
            loop="none",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        started,
    )

    async def drained() -> None:
        await stop.wait()
        server.drain()
        await stop.drained(drain_seconds)

    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(drained())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def drain(self) -> None:
        """Close each connection after its next answer."""
        # The server rebuilds its default headers from these every second.
        self.config.encoded_headers.append(_CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        for connection in self.server_state.connections:
            cast("BoundedProtocol", connection).answer_last()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the process, which has more than the server to stop."""
        yield
