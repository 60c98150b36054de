"""How processes start and stop."""

import asyncio
import os
import signal
import sys

import pytest

from cartwheel.kernel.errors import Unavailable
from cartwheel.kernel.process import Job, repeat
from cartwheel.local import ports

from ..logs import logged_by


async def test_a_job_that_fails_again_and_again_is_logged_once_until_it_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged = logged_by(monkeypatch, "kernel.process")
    outcomes: list[Exception | None] = [
        *(Unavailable("away"), Unavailable("away"), ValueError("no"), ValueError("no"), None),
        *(ValueError("no"), None),
    ]
    done = asyncio.Event()

    async def run() -> None:
        if not outcomes:
            done.set()
        elif outcome := outcomes.pop(0):
            raise outcome

    async with asyncio.timeout(10):
        repeating = asyncio.create_task(repeat(Job(run, every=0.001)))
        await done.wait()
    repeating.cancel()

    assert [line["event"] for line in logged] == [
        "job waits for a dependency",
        "job failed",
        "job failed",
    ]


async def started(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.orders.app"),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_process_names_every_setting_that_it_lacks() -> None:
    process = await started({"LOG_LEVEL": "INFO"})

    _, said = await process.communicate()

    assert process.returncode == 1
    assert b"MONGODB_URI is not set" in said
    assert b"RABBITMQ_URL is not set" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_waits_for_its_parts_stops_at_once_when_told(
    number: signal.Signals,
) -> None:
    nowhere = ports.find_free()
    process = await started(
        {
            "MONGODB_URI": f"mongodb://127.0.0.1:{nowhere}/?serverSelectionTimeoutMS=500",
            "RABBITMQ_URL": f"amqp://127.0.0.1:{nowhere}",
        }
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert b"waiting for MongoDB" in await process.stdout.readline()

    process.send_signal(number)

    async with asyncio.timeout(20):
        said, _ = await process.communicate()
    assert process.returncode == 0
    assert b"stopped" in said
