"""A service's health port: what it says, and what a client there cannot do to the service."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from cartwheel.kernel import Core, Service, ServiceSettings, Wiring, answer
from cartwheel.kernel._bus.rpc_client import RpcClient
from cartwheel.kernel._process import health_port
from cartwheel.kernel.lowlevel import Stop
from cartwheel.kernel.settings import read
from cartwheel.local import ports
from cartwheel.local.up import System

from ..proxy import Listener, Proxy, proxy_to
from ..waiting import eventually
from .conftest import Connect
from .messages import SERVICE, Echo

FOREVER = 300.0
ASK = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(request: Echo) -> str:
    return request.text


@asynccontextmanager
async def wire(settings: ServiceSettings, core: Core) -> AsyncGenerator[Wiring]:
    yield Wiring(answers=[answer(Echo, echo)])


service = Service(name=SERVICE, settings=ServiceSettings, wire=wire)


class Running:
    """A running service with a health port, and what lies between it and its dependencies."""

    def __init__(self, port: int, session: aiohttp.ClientSession, stop: Stop) -> None:
        self.port = port
        self.stop = stop
        self._session = session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._session.get(path) as response:
            return response.status, await response.json()

    async def comes_to(self, code: int, **said: object) -> None:
        """Wait until it is so with the service, which lives all the while."""

        async def is_so() -> None:
            assert await self.get("/health/ready") == (code, said)
            assert await self.get("/health/live") == (200, {"status": "ok"})

        await eventually(is_so)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def running(mongodb_uri: str, rabbitmq_url: str) -> AsyncGenerator[Running]:
    port = ports.find_free()
    environment = {
        "MONGODB_URI": mongodb_uri,
        "RABBITMQ_URL": rabbitmq_url,
        "HEALTH_PORT": str(port),
        "DRAIN_SECONDS": str(FOREVER),
    }
    settings = read(ServiceSettings, environment, databases=[SERVICE])
    stop = Stop()
    serving = asyncio.create_task(service.serve(settings, stop))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        found = Running(port, session, stop)
        try:

            async def answers() -> None:
                try:
                    await found.get("/health/live")
                except aiohttp.ClientConnectorError as error:
                    raise AssertionError from error

            await eventually(answers)
            yield found
        finally:
            stop.tell()
            stop.tell()
            await serving


@pytest.fixture
async def alone(system: System, channel: object, rabbitmq_url: str) -> AsyncGenerator[Running]:
    """A service that is ready."""
    async with running(system.environment["MONGODB_URI"], rabbitmq_url) as found:
        await found.comes_to(200, status="ok")
        yield found


@pytest.fixture
async def mongodb(system: System) -> AsyncGenerator[tuple[Proxy, str]]:
    async with proxy_to(system.environment["MONGODB_URI"]) as found:
        yield found


@pytest.fixture
async def rabbitmq(channel: object, rabbitmq_url: str) -> AsyncGenerator[tuple[Proxy, str]]:
    async with proxy_to(rabbitmq_url) as found:
        yield found


async def test_a_service_is_unready_while_a_dependency_is_down_and_says_which(
    mongodb: tuple[Proxy, str], rabbitmq: tuple[Proxy, str]
) -> None:
    (mongod, mongodb_uri), (broker, rabbitmq_url) = mongodb, rabbitmq
    async with running(mongodb_uri, rabbitmq_url) as found:
        await found.comes_to(200, status="ok")

        mongod.freeze()
        await found.comes_to(503, status="unready", down=["mongodb"])
        broker.refuse()
        await found.comes_to(503, status="unready", down=["rabbitmq", "mongodb"])
        mongod.thaw()
        await found.comes_to(503, status="unready", down=["rabbitmq"])
        broker.refuse(False)
        await found.comes_to(200, status="ok")


async def test_a_service_waiting_for_its_dependencies_is_alive_and_unready(
    system: System, rabbitmq: tuple[Proxy, str]
) -> None:
    broker, rabbitmq_url = rabbitmq
    broker.refuse()

    async with running(system.environment["MONGODB_URI"], rabbitmq_url) as found:
        await found.comes_to(503, status="unready", down=["rabbitmq"])


async def test_a_draining_service_is_unready_and_still_serves(
    alone: Running, connect: Connect
) -> None:
    bus = RpcClient()
    await connect(bus)

    alone.stop.tell()

    await alone.comes_to(503, status="unready", stopping=True)
    assert await bus.request(Echo(text="still here")) == "still here"


async def test_the_database_is_asked_once_a_second_however_often_the_service_is(
    system: System, channel: object, rabbitmq_url: str
) -> None:
    pings = 0

    def count(data: bytes) -> None:
        nonlocal pings
        pings += data.count(b"\x10ping\x00")

    def watch() -> tuple[Listener, Listener]:
        return count, lambda _: None

    async with (
        proxy_to(system.environment["MONGODB_URI"], watch) as (_, uri),
        running(uri, rabbitmq_url) as found,
    ):
        await found.comes_to(200, status="ok")
        loop = asyncio.get_running_loop()
        pings, began = 0, loop.time()
        for _ in range(10):
            said = await asyncio.gather(*(found.get("/health/ready") for _ in range(5)))
            assert {status for status, _ in said} == {200}
        while not pings:  # the first of them may have known from before
            await found.get("/health/ready")
        asked = pings

    assert 1 <= asked <= 1 + (loop.time() - began)


async def test_silent_clients_do_not_delay_the_others(
    system: System, channel: object, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_port, "HEAD_SECONDS", FOREVER)
    async with running(system.environment["MONGODB_URI"], rabbitmq_url) as found:
        silent = [await found.connect() for _ in range(health_port.CONNECTIONS + 8)]

        async with asyncio.timeout(30):
            assert await found.get("/health/live") == (200, {"status": "ok"})
            oldest, _ = silent[0]
            assert await oldest.read() == b""

        for _, writer in silent:
            writer.close()


@pytest.mark.parametrize("begin", [b"", ASK[:-2], ASK[:9]])
async def test_an_incomplete_request_is_cut_off(alone: Running, begin: bytes) -> None:
    reader, writer = await alone.connect()
    writer.write(begin)

    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (ASK * 3, b"200"),
        (ASK.replace(b"live", b"ready?x=1"), b"200"),
        (ASK.replace(b"GET", b"HEAD"), b"200"),
        (ASK.replace(b"live", b"else"), b"404"),
        (ASK.replace(b"GET", b"DELETE"), b"405"),
        (b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", b"405"),
        (ASK[:-2] + b"X: " + b"x" * 5000 + b"\r\n\r\n", b"400"),
        (ASK[:-2] + b"X: x\r\n" * 100 + b"\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
    ],
    ids=["many", "query", "head", "elsewhere", "delete", "body", "long", "headers", "tls"],
)
async def test_a_connection_gets_one_answer_and_client_errors_are_not_logged(
    alone: Running, sent: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "cartwheel.health")
    reader, writer = await alone.connect()
    writer.write(sent)

    async with asyncio.timeout(30):
        said = await reader.read()
    writer.close()

    assert said.count(b"HTTP/1.") == 1
    assert said.split()[1] == status
    assert not caplog.records


def test_a_service_without_a_health_port_loads_no_web_server() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import cartwheel.orders.app, sys; print('aiohttp' in sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )

    assert loaded.stdout == "False\n"
