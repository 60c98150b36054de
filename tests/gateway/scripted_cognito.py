"""A stand-in for Cognito that answers as the script says, where the emulator cannot."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from cartwheel.gateway import cognito

from .issuer import CLIENT


class Scripted:
    """Answers as it is told, whatever it is asked; `asked` are the last call's parameters."""

    users: cognito.Cognito
    url = ""
    status = 500
    body = b""
    asked: Any = None

    def answers_about(self, user: dict[str, str]) -> None:
        """Answer as Cognito's GetUser does."""
        attributes = [{"Name": name, "Value": value} for name, value in user.items()]
        self.status = 200
        self.body = json.dumps({"Username": "user-1", "UserAttributes": attributes}).encode()

    def fails_with(self, kind: str, text: str = "") -> None:
        """Answer with an error of Cognito's."""
        self.status, self.body = 400, json.dumps({"__type": kind, "message": text}).encode()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        [length] = re.findall(r"\r\ncontent-length: (\d+)", asked)
        self.asked = json.loads(await reader.readexactly(int(length)))
        head = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + self.body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def connected(endpoint: str, secret: str | None = None) -> AsyncGenerator[cognito.Cognito]:
    """Yield a Cognito at `endpoint`, through the app client CLIENT with this secret."""
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # read when the client is made
            patch.setenv("AWS_ENDPOINT_URL", endpoint)
            connecting = cognito.connect(region="eu-west-1", client_id=CLIENT, client_secret=secret)
            users = await stack.enter_async_context(connecting)
        yield users


def cut_off() -> AbstractAsyncContextManager[cognito.Cognito]:
    """A Cognito that nobody answers for."""
    return connected("http://127.0.0.1:9")


@asynccontextmanager
async def scripting() -> AsyncGenerator[Scripted]:
    scripted = Scripted()
    server = await asyncio.start_server(scripted.answer, "127.0.0.1", 0)
    scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with connected(scripted.url) as scripted.users:
        yield scripted
    server.close()
