"""docs/kernel.md shows two services. They are what it says, and do what it says."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest

from cartwheel.kernel._bus import topology
from cartwheel.kernel._store.client import Client
from cartwheel.local.up import System

PAGE = Path(__file__).parents[2] / "docs" / "kernel.md"
SERVICES = ("seats", "tickets")
_FILE = re.compile(r"^`(?P<name>[a-z_]+\.py)`\n\n```python\n(?P<text>.*?)^```$", re.M | re.S)
_SHOWN = re.compile(r"^```text\n(?P<text>.*?)^```$", re.M | re.S)


@pytest.fixture
async def environment(system: System, client: Client) -> AsyncGenerator[Mapping[str, str]]:
    """The real RabbitMQ and MongoDB, on which nothing is left of the page's services."""
    servers = {name: system.environment[name] for name in ("MONGODB_URI", "RABBITMQ_URL")}
    yield {**os.environ, **servers}
    for name in SERVICES:
        await client.drop_database(name)
    async with await aio_pika.connect(servers["RABBITMQ_URL"]) as connection:
        channel = await connection.channel()
        for service in SERVICES:
            for queue in topology.queues(service):
                await channel.queue_delete(queue)


@asynccontextmanager
async def running(
    program: str, home: Path, environment: Mapping[str, str]
) -> AsyncGenerator[Process]:
    process = await create_subprocess_exec(
        sys.executable, program, cwd=home, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 15)


async def is_ready(service: Process) -> None:
    assert service.stdout is not None
    async with asyncio.timeout(30):
        while b'"ready"' not in (line := await service.stdout.readline()):
            assert line, "it has ended"


async def printed(program: str, home: Path, environment: Mapping[str, str]) -> str:
    async with running(program, home, environment) as process:
        output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_the_pages_services_do_what_it_shows(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    page = PAGE.read_text()
    files = {found["name"]: found["text"] for found in _FILE.finditer(page)}
    shown = _SHOWN.search(page)
    assert files.keys() == {"contract.py", "seats.py", "tickets.py", "setup.py", "box_office.py"}
    assert shown is not None
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    await printed("setup.py", tmp_path, environment)
    async with (
        running("seats.py", tmp_path, environment) as seats,
        running("tickets.py", tmp_path, environment) as tickets,
    ):
        await asyncio.gather(is_ready(seats), is_ready(tickets))
        assert await printed("box_office.py", tmp_path, environment) == shown["text"]

    assert (seats.returncode, tickets.returncode) == (0, 0)
