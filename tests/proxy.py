"""A TCP proxy that can cut and freeze what goes through it, to stand for a bad network."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._losing = False
        self.port = 0

    def cut(self) -> None:
        """Reset every connection; new ones are let through."""
        for writer in list(self._writers):
            writer.transport.abort()

    def refuse(self, refusing: bool = True) -> None:
        """Cut, and let nobody connect until told otherwise."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def freeze(self) -> None:
        """Keep connections open and pass nothing on."""
        self._flowing.clear()

    def lose_answers(self) -> None:
        """Let through what is sent there, and nothing that comes back."""
        self._losing = True

    def thaw(self) -> None:
        self._flowing.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:  # nobody is there: so it looks from this side, too
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(
            self._pass(reader, far_writer), self._pass(far_reader, writer, back=True)
        )
        self._writers -= {writer, far_writer}

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool = False
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if back and self._losing:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy_to(url: str) -> AsyncGenerator[tuple[Proxy, str]]:
    """Yield a proxy to where `url` leads, and the URL that leads through it."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "127.0.0.1", parts.port or 5672)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    login = f"{parts.username}:{parts.password}@" if parts.username else ""
    through = parts._replace(netloc=f"{login}127.0.0.1:{proxy.port}")
    try:
        yield proxy, urlunsplit(through)
    finally:
        proxy.thaw()
        proxy.cut()
        server.close()
