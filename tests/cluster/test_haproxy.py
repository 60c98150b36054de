"""The balancer, with gateways that are only an address that answers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from cartwheel.local import packages, ports
from cartwheel.local.cluster import haproxy
from cartwheel.local.console import QUIET
from cartwheel.local.supervisor import supervising


@pytest.fixture(scope="module")
async def _installed() -> None:
    if needed := haproxy.missing_packages():
        await asyncio.to_thread(packages.install, needed, QUIET)


@asynccontextmanager
async def answering(port: int) -> AsyncGenerator[web.TCPSite]:
    """Yield a gateway that answers everything with 200."""

    async def ok(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", ok)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    yield site
    await runner.cleanup()


@pytest.mark.usefixtures("_installed")
async def test_a_request_that_a_gateway_refuses_goes_to_another(tmp_path: Path) -> None:
    """HAProxy finds out after two seconds that a gateway is gone."""
    port, one, other = (ports.find_free() for _ in range(3))
    gateways = {"gateway": one, "gateway.2": other}
    async with (
        answering(one),
        answering(other) as doomed,
        supervising(tmp_path, QUIET) as supervisor,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        await supervisor.run(haproxy.command(tmp_path, "127.0.0.1", port, gateways))
        await doomed.stop()

        async def status() -> int:
            async with http.get("/") as response:
                return response.status

        assert [await status() for _ in range(20)] == [200] * 20
