"""The gateway as clients meet it: a real server on a loopback port, asked by a real client."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import pytest
from litestar import Litestar, Router
from multidict import CIMultiDictProxy
from structlog.typing import EventDict

from cartwheel.gateway import cognito
from cartwheel.gateway.app import assembled, create_app
from cartwheel.gateway.clients import Clients
from cartwheel.gateway.connections import LIMITS, Limits
from cartwheel.gateway.directory import Directory
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.jwks import KeySet
from cartwheel.gateway.rate_limits import RateLimits
from cartwheel.gateway.routes import health
from cartwheel.gateway.server import serve
from cartwheel.gateway.settings import Settings
from cartwheel.kernel import Answer, Request
from cartwheel.kernel.lowlevel import Stop
from cartwheel.kernel.settings import read
from cartwheel.local import ministack, ports
from cartwheel.local.console import Console
from cartwheel.local.supervisor import supervising

from ..logs import logged_by
from ..waiting import eventually
from . import probes
from .issuer import CLIENT, ISSUER, Issuer, issuing
from .scripted_cognito import Scripted, cut_off, scripting

WEBHOOK_SECRET = "whsec_known_to_both"
ELSEWHERE = {
    "RABBITMQ_URL": "amqp://127.0.0.1:9",
    "SIMULATOR_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "RATE_LIMITS": "off",
}
"""Parts that the gateway's own routes do not need."""


POOL = "eu-west-1_TestPool1"
READY = health.judge(stopping=False, connected=True, services={"orders": 0.04, "payments": None})


class NoBus:
    async def request(self, request: Request[Answer]) -> Answer:
        raise NotImplementedError(request.type)

    async def request_raw(self, request: Request[Any]) -> msgspec.Raw:
        raise NotImplementedError(request.type)


class Reply:
    """What came back; `problem` only where it is a problem document."""

    def __init__(
        self, status: int, headers: CIMultiDictProxy[str], body: bytes, content: Any
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.json = content

    @property
    def problem(self) -> Any:
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        assert self.json["status"] == self.status
        assert self.json["trace_id"] == self.headers["X-Request-Id"]
        return self.json


class Gateway:
    def __init__(self, app: Litestar, port: int, session: aiohttp.ClientSession) -> None:
        self.app = app
        self.port = port
        self.session = session
        self._connected: list[asyncio.StreamWriter] = []

    async def call(
        self, method: str, path: str, body: object = None, token: str = "", **more: Any
    ) -> Reply:
        headers: dict[str, str] = more.pop("headers", {})
        if token:
            headers = {**headers, "Authorization": f"Bearer {token}"}
        given = {"data": body} if isinstance(body, bytes) else {"json": body} if body else {}
        async with self.session.request(method, path, headers=headers, **given, **more) as response:
            raw = await response.read()
            content = await response.json(content_type=None) if raw[:1] in b'{["t' else None
            return Reply(response.status, response.headers, raw, content)

    async def get(self, path: str, token: str = "", **more: Any) -> Reply:
        return await self.call("GET", path, token=token, **more)

    async def post(self, path: str, body: object, token: str = "", **more: Any) -> Reply:
        return await self.call("POST", path, body, token, **more)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection. It ends with the test, if not before."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._connected.append(writer)
        return reader, writer

    async def hang_up(self) -> None:
        """Close what `connect` has opened, whatever a test that failed has left behind."""
        for writer in self._connected:
            writer.transport.abort()
        closing = (writer.wait_closed() for writer in self._connected)
        await asyncio.gather(*closing, return_exceptions=True)
        self._connected.clear()

    async def is_rid_of(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the server has closed its end of a connection, without reading anything."""
        client = writer.get_extra_info("sockname")

        async def closed() -> None:  # the server runs in this process
            sockets = psutil.Process().net_connections("tcp4")
            assert client not in [socket.raddr for socket in sockets]

        await eventually(closed)

    async def send_raw(self, data: bytes) -> bytes:
        """Send `data` as it is; return all that comes back until the connection is closed."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            async with asyncio.timeout(30):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


IMPATIENT = Limits(first_byte=0.4, request=0.4, response=0.4, linger=0.4, flush=0.4)


@asynccontextmanager
async def running(
    app: Litestar,
    limits: Limits = LIMITS,
    clients: Clients | None = None,
    *,
    stop: Stop | None = None,
    drain_seconds: float = 0,
) -> AsyncGenerator[Gateway]:
    port = ports.find_free()
    started, stop = asyncio.Event(), stop or Stop()
    serving = asyncio.create_task(
        serve(
            app,
            "127.0.0.1",
            port,
            started=started.set,
            stop=stop,
            drain_seconds=drain_seconds,
            limits=limits,
            clients=clients,
        )
    )
    async with asyncio.timeout(30):
        await started.wait()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        gateway = Gateway(app, port, session)
        try:
            yield gateway
        finally:
            stop.tell()
            await serving
            await gateway.hang_up()


def probe_app(
    verifier: Verifier,
    users: cognito.Cognito,
    *,
    look: health.Look = lambda: READY,
    limits: RateLimits | None = None,
    routes: Sequence[Router] | None = None,
) -> Litestar:
    return create_app(
        verifier=verifier,
        users=users,
        directory=Directory(users, POOL),
        limits=limits or RateLimits(None),
        bus=NoBus(),
        webhook_secret=WEBHOOK_SECRET,
        look=look,
        routes=[probes.router()] if routes is None else routes,
    )


@pytest.fixture(scope="session")
async def issuer() -> AsyncGenerator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture(scope="session")
async def verifier(issuer: Issuer) -> AsyncGenerator[tuple[Verifier, cognito.Cognito]]:
    async with aiohttp.ClientSession() as http, cut_off() as users:
        keys = KeySet(issuer.url, http)
        yield Verifier(keys, users, issuer=ISSUER, client_id=CLIENT), users


@pytest.fixture(scope="session")
async def running_gateway(verifier: tuple[Verifier, cognito.Cognito]) -> AsyncGenerator[Gateway]:
    async with running(probe_app(*verifier)) as gateway:
        yield gateway


@pytest.fixture(scope="session")
async def running_impatient(verifier: tuple[Verifier, cognito.Cognito]) -> AsyncGenerator[Gateway]:
    async with running(probe_app(*verifier), IMPATIENT) as gateway:
        yield gateway


@pytest.fixture
async def gateway(running_gateway: Gateway) -> AsyncGenerator[Gateway]:
    """One whose tokens are the tests' own, with routes that show how any route is treated."""
    yield running_gateway
    await running_gateway.hang_up()


@pytest.fixture
async def impatient(running_impatient: Gateway) -> AsyncGenerator[Gateway]:
    """One that waits 0.4 s instead of 10."""
    yield running_impatient
    await running_impatient.hang_up()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[EventDict]:
    """What the gateway logs from now on, whatever the level of the tests' own log."""
    modules = ("gateway.traced", "gateway.problems", "gateway.refusals", "gateway.jwks")
    return logged_by(monkeypatch, *modules)


@pytest.fixture(scope="session")
async def aws(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Mapping[str, str]]:
    """The variables that reach Cognito: the environment's, or an emulator's of our own."""
    if os.environ.get("COGNITO_USER_POOL_ID"):
        yield os.environ
        return
    home: Path = tmp_path_factory.mktemp("aws")
    async with supervising(home, Console(quiet=True)) as supervisor:
        yield await ministack.provide(supervisor)


@asynccontextmanager
async def gateway_of(aws: Mapping[str, str]) -> AsyncGenerator[Gateway]:
    """The whole gateway, put together as in production, with its users in this Cognito."""
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # botocore reads them when a client is made
            for name, value in aws.items():
                patch.setenv(name, value)
            given = read(Settings, {**aws, **ELSEWHERE})
            app = await stack.enter_async_context(assembled(given, bus=NoBus(), look=lambda: READY))
        yield await stack.enter_async_context(running(app))


@pytest.fixture(scope="session")
async def real(aws: Mapping[str, str]) -> AsyncGenerator[Gateway]:
    async with gateway_of(aws) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def scripted() -> AsyncGenerator[Scripted]:
    async with scripting() as scripted:
        yield scripted
