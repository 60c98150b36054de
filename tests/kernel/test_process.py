"""How processes start and stop."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import msgspec
import pytest

from cartwheel.kernel._process.process import Job, repeat
from cartwheel.kernel.errors import Unavailable
from cartwheel.local import ports
from cartwheel.local.up import System

from ..logs import logged_by


async def test_a_job_that_fails_again_and_again_is_logged_once_until_it_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged = logged_by(monkeypatch, "kernel._process.process")
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


async def started(
    environment: dict[str, str], service: str = "orders"
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"cartwheel.{service}.app"),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_process_names_every_missing_setting() -> None:
    process = await started({"LOG_LEVEL": "INFO"})

    _, said = await process.communicate()

    assert process.returncode == 1
    assert b"MONGODB_URI is not set" in said
    assert b"RABBITMQ_URL is not set" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MONGODB_URI", "mongodb://u:s3cret"), ("RABBITMQ_URL", "s3cret"), ("LOG_LEVEL", "s3cret")],
)
async def test_a_process_says_which_setting_is_malformed(variable: str, value: str) -> None:
    good = {"MONGODB_URI": "mongodb://127.0.0.1", "RABBITMQ_URL": "amqp://127.0.0.1"}
    process = await started({**good, variable: value})

    logged, said = await process.communicate()

    assert process.returncode == 1
    assert said.startswith(f"orders cannot start:\n{variable} is malformed: expected ".encode())
    assert len(said.splitlines()) == 2
    assert b"s3cret" not in logged + said


@pytest.mark.parametrize(
    ("service", "variable", "value"),
    [
        ("simulator", "SIMULATOR_WEBHOOK_URL", "s3cret"),
        ("simulator", "SIMULATOR_PUBLISHABLE_KEY", "s3cret"),
        ("payments", "SIMULATOR_URL", "s3cret"),
        ("gateway", "COGNITO_JWKS_URL", "s3cret"),
        ("gateway", "PORT", "80000"),
        ("gateway", "DRAIN_SECONDS", "301"),
        ("orders", "DRAIN_SECONDS", "nan"),
        ("orders", "HEALTH_PORT", "80000"),
    ],
)
async def test_every_process_names_its_malformed_setting_without_a_stack(
    service: str, variable: str, value: str
) -> None:
    process = await started({variable: value}, service)

    _, said = await process.communicate()

    assert process.returncode == 1
    assert said.startswith(f"{service} cannot start:\n".encode())
    assert f"{variable} is malformed: ".encode() in said
    assert b"Traceback" not in said
    assert value.encode() not in said


@pytest.mark.parametrize("variable", ["MONGODB_URI", "ORDERS_MONGODB_URI"])
async def test_a_process_whose_user_mongodb_refuses_says_so_in_a_sentence(
    system: System, variable: str
) -> None:
    place = system.environment["MONGODB_URI"].removeprefix("mongodb://")
    process = await started(
        {variable: f"mongodb://shop:s3cret@{place}", "RABBITMQ_URL": "amqp://127.0.0.1"}
    )

    logged, said = await process.communicate()

    assert process.returncode == 1
    told = f"orders cannot start: {variable} points to mongodb://shop:***@"
    assert said.startswith(told.encode())
    assert said.endswith(b", which refuses this user or password\n")
    assert b"s3cret" not in logged + said


async def test_a_process_that_waits_for_rabbitmq_says_what_for(system: System) -> None:
    nowhere = ports.find_free()
    process = await started(
        {
            "MONGODB_URI": system.environment["MONGODB_URI"],
            "RABBITMQ_URL": f"amqp://shop:s3cret@127.0.0.1:{nowhere}/",
        }
    )
    try:
        async with asyncio.timeout(20):
            line = await process.stdout.readline() if process.stdout else b""
    finally:
        process.terminate()
        rest, said = await process.communicate()

    assert msgspec.json.decode(line)["error"] == (
        f"RABBITMQ_URL points to amqp://shop:***@127.0.0.1:{nowhere}/, which refuses connections"
    )
    assert b"s3cret" not in line + rest + said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_waiting_for_its_dependencies_stops_at_once(
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


async def test_a_process_drains_until_it_is_told_to_stop_again(system: System) -> None:
    process = await started(
        {
            "MONGODB_URI": system.environment["MONGODB_URI"],
            "RABBITMQ_URL": system.environment["RABBITMQ_URL"],
            "DRAIN_SECONDS": "299.5",
        }
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await said_by(process.stdout, b'"ready"')
        process.terminate()
        await said_by(process.stdout, b'"stopping"')

        process.terminate()
        rest, _ = await process.communicate()

    assert process.returncode == 0
    assert b"stopped" in rest


async def said_by(output: asyncio.StreamReader, text: bytes) -> None:
    """Wait for a line with `text`."""
    while text not in (line := await output.readline()):
        assert line, "the process has ended"


SECRETS = {"SIMULATOR_WEBHOOK_SECRET": "whsec_1"}


def listening_at(folder: Path, system: System, host: str, port: int) -> dict[str, dict[str, str]]:
    """Return what each needs to listen there, by itself."""
    return {
        "orders": {
            "MONGODB_URI": system.environment["MONGODB_URI"],
            "RABBITMQ_URL": system.environment["RABBITMQ_URL"],
            "HEALTH_HOST": host,
            "HEALTH_PORT": str(port),
        },
        "gateway": {
            **SECRETS,
            "MONGODB_URI": system.environment["MONGODB_URI"],
            "RABBITMQ_URL": system.environment["RABBITMQ_URL"],
            "COGNITO_USER_POOL_ID": "eu-west-1_pool",
            "COGNITO_CLIENT_ID": "client",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "HOST": host,
            "PORT": str(port),
        },
        "simulator": {
            **SECRETS,
            "SIMULATOR_API_KEY": "sk_1",
            "SIMULATOR_PUBLISHABLE_KEY": "pk_1",
            "SIMULATOR_WEBHOOK_URL": "http://127.0.0.1:9",
            "SIMULATOR_LEDGER": str(folder / "ledger.sqlite"),
            "HOST": host,
            "SIMULATOR_PORT": str(port),
        },
    }


HOSTS = {"gateway": "HOST", "simulator": "HOST", "orders": "HEALTH_HOST"}
"""The variables that say where each listens."""


@pytest.mark.parametrize(
    ("service", "variable"),
    [("gateway", "PORT"), ("simulator", "SIMULATOR_PORT"), ("orders", "HEALTH_PORT")],
)
async def test_a_taken_port_is_one_sentence(
    tmp_path: Path, system: System, service: str, variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        process = await started(listening_at(tmp_path, system, "127.0.0.1", port)[service], service)
        _, said = await process.communicate()

    place = f"127.0.0.1 ({HOSTS[service]})"
    sentence = f"{service} cannot start: {variable} is {port}, which is taken at {place}\n"
    assert (process.returncode, said.decode()) == (1, sentence)


@pytest.mark.parametrize("service", HOSTS)
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid"])
async def test_a_host_that_is_not_this_machines_is_one_sentence(
    tmp_path: Path, system: System, service: str, host: str
) -> None:
    free = ports.find_free()
    process = await started(listening_at(tmp_path, system, host, free)[service], service)

    _, said = await process.communicate()

    why = f"{HOSTS[service]} is {host}, which is no address of this machine"
    sentence = f"{service} cannot start: {why}\n"
    assert (process.returncode, said.decode()) == (1, sentence)


def has_ipv6() -> bool:
    try:
        ports.listen(0, "::1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(("service", "path"), [("gateway", "/health/live"), ("simulator", "/v1")])
async def test_a_process_can_listen_on_ipv6(
    tmp_path: Path, system: System, service: str, path: str
) -> None:
    free = ports.find_free()
    process = await started(listening_at(tmp_path, system, "::1", free)[service], service)
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession(f"http://[::1]:{free}") as client:
            while True:
                try:
                    async with client.get(path) as answer:
                        status = answer.status
                    break
                except aiohttp.ClientConnectorError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
    finally:
        process.terminate()
        await process.communicate()

    assert status in (200, 401)
