"""A TCP proxy that can cut, freeze and watch its connections.

It simulates a bad network, and sees what one process sends to another.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Callable
from urllib.parse import urlsplit, urlunsplit

Listener = Callable[[bytes], None]
"""Gets the bytes of one direction of one connection, in pieces of any size."""

Watch = Callable[[], tuple[Listener, Listener]]
"""Returns, for a new connection, the listeners for the sent and for the received data."""


def _nobody() -> tuple[Listener, Listener]:
    return (lambda _: None), (lambda _: None)


class Proxy:
    def __init__(self, host: str, port: int, watch: Watch = _nobody) -> None:
        self._target = (host, port)
        self._watch = watch
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._losing_answers = False
        self._losing_what_is_sent = False
        self.port = 0

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._writers) // 2

    def cut(self) -> None:
        """Reset every connection. New ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self, refusing: bool = True) -> None:
        """Cut, and refuse connections until called with False."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def freeze(self) -> None:
        """Keep connections open, but forward nothing."""
        self._flowing.clear()

    def lose_answers(self) -> None:
        """Forward the sent data, but lose the answers."""
        self._losing_answers = True

    def lose_what_is_sent(self) -> None:
        """Forward the answers, but lose the sent data."""
        self._losing_what_is_sent = True

    def thaw(self) -> None:
        """Forward everything again. A connection that has lost data is unusable, so cut it."""
        self._losing_answers = self._losing_what_is_sent = False
        self._flowing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:  # the server is down: close this side, too
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        there, back = self._watch()
        await asyncio.gather(
            self._pass(reader, far_writer, there),
            self._pass(far_reader, writer, back, back=True),
        )
        self._writers -= {writer, far_writer}

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        listener: Listener,
        *,
        back: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if self._losing_answers if back else self._losing_what_is_sent:
                    continue
                listener(data)
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy_to(
    url: str, watch: Watch = _nobody, *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[Proxy, str]]:
    """Yield a proxy to the server in `url`, and a URL that goes through the proxy.

    With `tls`, clients use TLS to the proxy.

    The set is removed from a replica set's URI, because its members have addresses past the proxy.
    """
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 5672, watch)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    login = f"{parts.username}:{parts.password}@" if parts.username else ""
    through = parts._replace(netloc=f"{login}127.0.0.1:{proxy.port}")
    if parts.scheme == "mongodb":
        through = through._replace(query="directConnection=true")
    try:
        yield proxy, urlunsplit(through)
    finally:
        proxy.thaw()
        proxy.cut()
        server.close()
