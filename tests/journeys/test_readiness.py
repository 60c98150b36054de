"""A gateway is ready if its services answer. These tests add a real gateway to the system."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cartwheel.local import ports
from cartwheel.local.console import QUIET
from cartwheel.local.processes import GATEWAY, PROCESSES, command
from cartwheel.local.supervisor import supervising
from cartwheel.local.up import System

from ..proxy import Proxy, proxy_to
from ..waiting import eventually


class Another:
    """A gateway of the test's own, and the proxy between it and RabbitMQ."""

    def __init__(self, client: aiohttp.ClientSession, rabbitmq: Proxy) -> None:
        self.rabbitmq = rabbitmq
        self._client = client

    async def ready(self) -> tuple[int, Any]:
        async with self._client.get("/health/ready") as answer:
            return answer.status, await answer.json()

    async def comes_to(self, wanted: int, detail: str | None = None) -> Any:
        """Wait for the status `wanted`; return the answer."""

        async def is_so() -> Any:
            status, said = await self.ready()
            assert (status, said.get("detail")) == (wanted, detail)
            return said

        return await eventually(is_so)


@pytest.fixture
async def another(system: System, tmp_path: Path) -> AsyncGenerator[Another]:
    [process] = [each for each in PROCESSES if each.name == GATEWAY]
    async with (
        proxy_to(system.environment["RABBITMQ_URL"]) as (rabbitmq, url),
        supervising(tmp_path, console=QUIET) as supervisor,
    ):
        port = str(ports.find_free())
        environment = {**system.environment, "RABBITMQ_URL": url, "PORT": port}
        await supervisor.run(command(process, environment))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield Another(client, rabbitmq)


async def test_a_gateway_lists_its_services_and_is_unready_if_none_answers(
    system: System, another: Another
) -> None:
    said = await another.comes_to(200)
    asked = sorted(said["services"])
    assert asked == ["orders", "payments", "products"]

    await system.supervisor.stop(*asked)
    try:
        said = await another.comes_to(503, "No service has answered for 5 s.")
        assert all(age is None or age >= 5 for age in said["services"].values())
    finally:
        for name in asked:
            await system.supervisor.start(name)
    await another.comes_to(200)


async def test_a_gateway_without_its_connection_is_unready(another: Another) -> None:
    await another.comes_to(200)

    another.rabbitmq.refuse()
    await another.comes_to(503, "The connection to RabbitMQ is down.")
    another.rabbitmq.refuse(False)
    await another.comes_to(200)


async def test_an_idle_gateway_still_hears_from_every_service(
    another: Another,
) -> None:
    async def all_heard() -> None:
        _, said = await another.ready()
        assert all(age is not None and age < 5 for age in said["services"].values())

    await eventually(all_heard)
