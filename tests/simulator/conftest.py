"""The real process on a real port with a real ledger, and a receiver of its webhooks."""

import asyncio
import contextlib
import os
import re
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from cartwheel.kernel import new_id
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator

from .storefront import Storefront, serving

API_KEY = "sk_test_known_to_the_services"
PUBLISHABLE_KEY = "pk_test_known_to_everybody"
WEBHOOK_SECRET = "whsec_known_to_both"

Answer = tuple[int, Any]


def card(number: str = "4242424242424242", **otherwise: object) -> dict[str, Any]:
    """Return the body of a request that makes a payment method of a card."""
    good = {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}
    return {"type": "card", "card": {**good, **otherwise}}


class Simulator:
    """A simulator process. `await start()` returns when the process has reported it is ready."""

    def __init__(self, folder: Path, webhook_url: str | None = None, shop_origin: str = "") -> None:
        self.folder = folder
        self.webhook_url = webhook_url
        self.shop_origin = shop_origin
        self.log = folder / "log"
        self.ledger = folder / "ledger.sqlite"
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        notified = self.folder / "notify"
        notified.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "SIMULATOR_PORT": "0",
            "SIMULATOR_LEDGER": str(self.ledger),
            "SIMULATOR_API_KEY": API_KEY,
            "SIMULATOR_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
            "SIMULATOR_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "SIMULATOR_WEBHOOK_URL": self.webhook_url or "",
            "SIMULATOR_SHOP_ORIGINS": self.shop_origin,
            "NOTIFY_SOCKET": str(notified),
            "LOG_LEVEL": "DEBUG",
        }
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
            self.log.open("ab") as log,
        ):
            ready.bind(str(notified))
            ready.setblocking(False)
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cartwheel.simulator.app"),
                env=environment,
                stdout=log,
                stderr=log,
            )
            async with asyncio.timeout(60):
                said = await asyncio.get_running_loop().sock_recv(ready, 100)
        assert said == b"READY=1", self.log.read_text()
        port = re.findall(r'"port": ?(\d+)', self.log.read_text())[-1]
        self.url = f"http://127.0.0.1:{port}"
        self._session = aiohttp.ClientSession(
            self.url, headers={"Authorization": f"Bearer {API_KEY}"}
        )

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def kill(self) -> None:
        """End the process like `kill -9`: it gets no chance to write anything."""
        assert self._process
        self._process.kill()
        await self._gone()

    async def stop(self) -> int:
        """Stop the process as systemd does; return its exit status."""
        assert self._process
        if self._process.returncode is None:
            self._process.terminate()
        return await self._gone()

    async def _gone(self) -> int:
        assert self._process
        if self._session:
            await self._session.close()
        async with asyncio.timeout(30):
            return await self._process.wait()

    async def call(self, method: str, path: str, content: object = None, **headers: str) -> Answer:
        assert self._session
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, path, data=body, headers=dashed) as response:
            answer = await response.read()
            return response.status, msgspec.json.decode(answer) if answer else None

    async def post(self, path: str, content: object = None, **headers: str) -> Answer:
        return await self.call("POST", path, content, **headers)

    async def tokenize(self, content: object) -> Answer:
        """Make a payment method, as the page of a shop does."""
        key = f"Bearer {PUBLISHABLE_KEY}"
        return await self.post("/v1/payment_methods", content, Authorization=key)

    async def token(self, number: str = "4242424242424242") -> str:
        status, made = await self.tokenize(card(number))
        assert status == 200, made
        return made["id"]

    async def intent(self, payment_id: str, number: str = "4242424242424242") -> str:
        """Create an intent of 19.99 USD; return its id."""
        status, intent = await self.announce(payment_id, await self.token(number))
        assert status == 200, intent
        return intent["id"]

    async def announce(self, payment_id: str, token: str) -> Answer:
        new = {"payment_id": payment_id, "amount": 1999, "currency": "USD", "token": token}
        return await self.post("/v1/payment_intents", new, Idempotency_Key=payment_id)

    async def confirm(self, intent_id: str) -> Answer:
        return await self.post(f"/v1/payment_intents/{intent_id}/confirm")

    async def entries(self, payment_id: str) -> list[Any]:
        """Return the ledger's lines about one payment, reading it page by page."""
        found: list[Any] = []
        after: int | None = 0
        while after is not None:
            _, page = await self.call("GET", f"/v1/ledger?after={after}&limit=50")
            found += [entry for entry in page["data"] if entry["payment_id"] == payment_id]
            after = page["next_after"]
        return found


class Receiver:
    """Receives webhooks. `answers` are the statuses for a payment's next ones; otherwise 200."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes, Any]] = []
        self.answers: dict[str, list[int]] = {}
        self._arrived = asyncio.Event()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        event = msgspec.json.decode(body)
        self.received.append((request.headers["Simulator-Signature"], body, event))
        self._arrived.set()
        waiting = self.answers.get(event["payment_id"])
        elsewhere = {"Location": self.url}  # a sender that follows redirects delivers one too many
        return web.Response(status=waiting.pop(0) if waiting else 200, headers=elsewhere)

    def events(self, *payment_ids: str) -> list[Any]:
        return [event for _, _, event in self.received if event["payment_id"] in payment_ids]

    async def wait_for(self, count: int, *payment_ids: str) -> list[Any]:
        async with asyncio.timeout(30):
            while len(self.events(*payment_ids)) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.events(*payment_ids)


@pytest.fixture(scope="session")
async def receiver() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhooks/simulator", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/simulator"
    yield receiver
    await runner.cleanup()


@pytest.fixture(scope="session")
async def storefront() -> AsyncGenerator[Storefront]:
    async with serving() as storefront:
        yield storefront


@pytest.fixture(scope="session")
async def simulator(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, storefront: Storefront
) -> AsyncGenerator[Simulator]:
    """A simulator that all tests share. Each uses its own payment ids."""
    simulator = Simulator(
        tmp_path_factory.mktemp("simulator"), receiver.url, shop_origin=storefront.origin
    )
    await simulator.start()
    yield simulator
    assert await simulator.stop() == 0


@pytest.fixture
async def own_simulator(
    tmp_path: Path,
) -> AsyncGenerator[Callable[[str | None], Simulator]]:
    """Makes simulators that a test starts, and may kill and start again."""
    made: list[Simulator] = []

    def make(webhook_url: str | None = None) -> Simulator:
        made.append(Simulator(tmp_path, webhook_url))
        return made[-1]

    yield make
    for simulator in made:
        await simulator.stop()


@pytest.fixture
async def cards(simulator: Simulator) -> AsyncGenerator[SimulatorCards]:
    async with open_simulator(simulator.url, API_KEY) as cards:
        yield cards


@pytest.fixture
def payment_id() -> str:
    return new_id("pay")


@pytest.fixture
async def silent_port() -> AsyncGenerator[int]:
    """A port that accepts connections and never answers."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
