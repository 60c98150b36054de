"""A whole instance: starting, refusing to start, interrupting, killing. Processes are scripts."""

import ast
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cartwheel.kernel.servers import Unusable, shown
from cartwheel.kernel.settings import BadSettings
from cartwheel.local import instance, leftovers, ports
from cartwheel.local.dependencies import AWS
from cartwheel.local.packages import Missing
from cartwheel.local.preflight import PortUnusable
from cartwheel.local.processes import Process
from cartwheel.local.supervisor import CannotStart
from cartwheel.local.up import running

from ..private import open_to_others
from .conftest import NOTHING_TO_PROVIDE

Make = Callable[..., Process]

RUN = """
import asyncio, os, sys
from pathlib import Path
from cartwheel.local.commands import run_until_stopped
from cartwheel.local.console import Console
from cartwheel.local.preflight import PortUnusable
from cartwheel.local.processes import Process
home, port, *argv = sys.argv[1:]
stand_in = Process("good", tuple(argv))
asyncio.run(
    run_until_stopped(Path(home), int(port), Console(), processes=(stand_in,), setup=())
)
"""


@asynccontextmanager
async def up(
    home: Path, given: Mapping[str, str], argv: Callable[..., tuple[str, ...]]
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run an instance like `cartwheel up`, in a separate process; wait until it is ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, str(home), str(instance.port(home, "gateway"))),
        *argv("good"),
        env={**os.environ, **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await asyncio.wait_for(_until_known(home), 60)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await leftovers.clear(home, grace=0)


@pytest.fixture
async def keys_only() -> AsyncGenerator[int]:
    """The port of a web server that has only /keys."""

    async def keys(_: web.Request) -> web.Response:
        return web.json_response({"keys": []})

    app = web.Application()
    app.router.add_get("/keys", keys)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def cartwheel_says(command: str, environment: Mapping[str, str]) -> str:
    """Run a command that fails; return its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.cli", command),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 1, output
    return output.decode()


async def _until_known(home: Path) -> None:
    while not instance.environment(home):  # noqa: ASYNC110 another process writes it
        await asyncio.sleep(0.05)


async def test_processes_get_the_given_and_the_chosen_settings(
    tmp_path: Path, given: Mapping[str, str], process: Make
) -> None:
    async with running(tmp_path, given=given, processes=(process("telling"),), setup=()) as system:
        told = ast.literal_eval(system.supervisor.log("telling").read_text())

    assert told["MONGODB_URI"] == "mongodb://elsewhere"
    assert told["COGNITO_ISSUER"] == "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_pool"
    assert told["SIMULATOR_WEBHOOK_URL"] == f"{system.url}/api/v1/webhooks/simulator"
    assert told.items() >= system.environment.items()


@pytest.mark.parametrize(
    ("host", "reached"),
    [("::1", "[::1]"), ("::", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")],  # noqa: S104 as typed
)
async def test_processes_at_a_given_host_are_reached_there(
    tmp_path: Path, given: Mapping[str, str], host: str, reached: str
) -> None:
    async with running(tmp_path, given={**given, "HOST": host}, processes=(), setup=()) as system:
        told = system.environment

    assert system.url == f"http://{reached}:{told['PORT']}"
    assert told["SIMULATOR_WEBHOOK_URL"] == f"{system.url}/api/v1/webhooks/simulator"
    assert told["SIMULATOR_URL"] == f"http://{reached}:{told['SIMULATOR_PORT']}"


async def test_the_app_clients_secret_reaches_the_gateway(
    tmp_path: Path, given: Mapping[str, str], process: Make
) -> None:
    secret = {"COGNITO_CLIENT_SECRET": "the_secret_of_the_app_client"}
    async with running(
        tmp_path, given={**given, **secret}, processes=(process("telling"),), setup=()
    ) as system:
        told = ast.literal_eval(system.supervisor.log("telling").read_text())

    assert told.items() >= secret.items()


async def test_another_terminal_finds_only_a_running_instance(
    tmp_path: Path, given: Mapping[str, str]
) -> None:
    async with running(tmp_path, given=given, processes=(), setup=()) as system:
        assert instance.environment(tmp_path) == system.environment

    assert instance.environment(tmp_path) == {}


async def test_an_older_folder_that_others_could_read_is_made_private(
    tmp_path: Path, given: Mapping[str, str], process: Make
) -> None:
    home = tmp_path / "older"
    keys = home / "ministack" / "state" / "cognito-pool-keys"
    keys.mkdir(parents=True)
    (keys / "pool.pem").write_text("secret")
    (keys / "link.pem").symlink_to("pool.pem")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755)

    async with running(home, given=given, processes=(process("good"),), setup=()):
        assert open_to_others(home) == []

    assert (keys / "pool.pem").read_text() == "secret"


async def test_a_new_folder_is_private_whatever_the_umask(
    tmp_path: Path, given: Mapping[str, str], process: Make
) -> None:
    usual = os.umask(0)
    try:
        async with running(
            tmp_path / "new", given=given, processes=(process("writing"),), setup=()
        ):
            assert (tmp_path / "new" / "simulator" / "written").exists()
            assert open_to_others(tmp_path / "new") == []
    finally:
        os.umask(usual)


async def test_a_second_run_of_the_same_instance_is_refused(
    tmp_path: Path, given: Mapping[str, str]
) -> None:
    async with running(tmp_path, given=given, processes=(), setup=()):
        with pytest.raises(instance.InUse):
            async with running(tmp_path, given=given, processes=(), setup=()):
                pass


async def test_a_taken_port_is_reported_with_its_process_before_anything_starts(
    tmp_path: Path, given: Mapping[str, str], process: Make
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(PortUnusable, match=rf"{port} is taken by \S+ \(pid {os.getpid()}\)"):
            async with running(
                tmp_path, port=port, given=given, processes=(process("good"),), setup=()
            ):
                pass

    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RABBITMQ_URL", "amqp://u:s3cret@127.0.0.1:{free}/", "refuses connections"),
        ("MONGODB_URI", "mongodb://u:s3cret@127.0.0.1:{free}/", "refuses connections"),
        ("ORDERS_MONGODB_URI", "mongodb://u:s3cret@127.0.0.1:{free}/shop", "refuses connections"),
        ("COGNITO_JWKS_URL", "http://127.0.0.1:{free}/jwks.json", "refuses connections"),
        ("COGNITO_JWKS_URL", "http://127.0.0.1:{http}/jwks.json", "answers 404"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:{free}", "refuses connections"),
        ("SIMULATOR_URL", "http://no-such-host.invalid:8900", "host has no known address"),
    ],
)
async def test_an_unusable_server_is_reported_before_anything_is_started(
    tmp_path: Path, keys_only: int, variable: str, value: str, said: str
) -> None:
    url = value.format(free=ports.find_free(), http=keys_only)
    aws = {name: NOTHING_TO_PROVIDE[name] for name in AWS if name in NOTHING_TO_PROVIDE}
    aws["COGNITO_JWKS_URL"] = f"http://127.0.0.1:{keys_only}/keys"
    given = {**(aws if variable in AWS else {}), variable: url}

    with pytest.raises(Unusable) as refused:
        async with running(tmp_path, given=given, processes=()):
            pass

    assert str(refused.value).startswith(f"{variable} points to {shown(url)}, ")
    assert str(refused.value).endswith(said)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    "variable",
    [
        *("MONGODB_URI", "MONGODB_DATABASE_PREFIX", "RABBITMQ_URL", "LOG_LEVEL"),
        *("ORDERS_MONGODB_URI", "OPERATIONS_MONGODB_URI"),
        *("SIMULATOR_URL", "SIMULATOR_PORT", "SIMULATOR_WEBHOOK_URL", "AWS_ENDPOINT_URL"),
        "SIMULATOR_PUBLIC_URL",
        *("TRUSTED_PROXIES", "MAX_CONNECTIONS_PER_ADDRESS", "SHARE_PORT"),
        *("GATEWAY_MONGODB_URI", "RATE_LIMITS", "OPERATIONS_MAIL"),
        *("COGNITO_ISSUER", "COGNITO_JWKS_URL", "COGNITO_CLIENT_SECRET", "EMULATED_COGNITO_KEY"),
        *("PAYMENT_DEADLINE_SECONDS", "HOLD_CHECK_AFTER_SECONDS"),
        *("CASH_ON_DELIVERY", "CASH_DEADLINE_DAYS", "CARD_CAPTURE", "AUTHORIZATION_EXPIRING"),
        *("CASH_ON_DELIVERY", "CASH_DEADLINE_DAYS", "ACTION_DEADLINE_SECONDS", "RETURN_URLS"),
        *("MAX_OPEN_ORDERS", "MAX_PIECES_PER_LINE", "MAX_PIECES_PER_ORDER"),
        *("DRAIN_SECONDS", "HEALTH_PORT"),
    ],
)
async def test_a_malformed_setting_is_reported_before_anything_is_started(
    tmp_path: Path, given: Mapping[str, str], variable: str
) -> None:
    with pytest.raises(BadSettings, match=f"^{variable} is malformed: expected [^`]+$"):
        async with running(tmp_path, given={**given, variable: "s3cret."}, processes=(), setup=()):
            pass

    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("command", ["up", "setup"])
async def test_a_command_names_the_wrong_setting_in_a_line_and_shows_details_on_request(
    tmp_path: Path, command: str
) -> None:
    free = ports.find_free()
    environment = {
        **os.environ,
        "CARTWHEEL_HOME": str(tmp_path / "home"),
        "PORT": str(ports.find_free()),
        "COLUMNS": "200",
        "RABBITMQ_URL": f"amqp://u:s3cret@127.0.0.1:{free}/",
        "MONGODB_URI": f"mongodb://127.0.0.1:{free}/",
    }

    plain, detailed = await asyncio.gather(
        cartwheel_says(command, environment),
        cartwheel_says(
            command,
            {**environment, "LOG_LEVEL": "DEBUG", "CARTWHEEL_HOME": str(tmp_path / "another")},
        ),
    )

    sentence = f"✗ RABBITMQ_URL points to amqp://u:***@127.0.0.1:{free}/, which refuses connections"
    assert plain.splitlines()[-1] == sentence
    assert sentence in detailed
    assert "Connect call failed" not in plain
    assert "Connect call failed" in detailed
    assert "s3cret" not in plain + detailed
    assert "Traceback" not in plain + detailed


async def test_if_one_process_cannot_start_all_are_stopped(
    tmp_path: Path, given: Mapping[str, str], process: Make
) -> None:
    with pytest.raises(CannotStart, match="failing"):
        async with running(
            tmp_path, given=given, processes=(process("good"), process("failing")), setup=()
        ):
            pass

    assert leftovers.find(tmp_path) == []


@pytest.mark.parametrize(
    ("half", "missing"),
    [
        ({"COGNITO_CLIENT_ID": ""}, "COGNITO_CLIENT_ID"),
        (
            {
                "COGNITO_USER_POOL_ID": "",
                "COGNITO_CLIENT_ID": "",
                "SES_SENDER": "",
                "COGNITO_CLIENT_SECRET": "the_secret_of_the_app_client",
            },
            "COGNITO_USER_POOL_ID, COGNITO_CLIENT_ID, SES_SENDER",
        ),
    ],
)
async def test_incomplete_aws_settings_are_refused(
    tmp_path: Path, given: Mapping[str, str], half: Mapping[str, str], missing: str
) -> None:
    half = {**given, **half}
    with pytest.raises(Missing, match=f"Also set {missing}"):
        async with running(tmp_path, given=half, processes=(), setup=()):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything_without_an_error(
    tmp_path: Path, given: Mapping[str, str], argv: Any, number: signal.Signals
) -> None:
    async with up(tmp_path, given, argv) as process:
        started = time.monotonic()
        process.send_signal(number)
        output, _ = await process.communicate()

    assert process.returncode == 0
    assert time.monotonic() - started < 8  # the time after which processes are killed
    assert b"Traceback" not in output
    assert b"stopped" in output
    assert leftovers.find(tmp_path) == []


async def test_processes_left_by_a_killed_run_are_ended_by_the_next(
    tmp_path: Path, given: Mapping[str, str], argv: Any
) -> None:
    async with up(tmp_path, given, argv) as process:
        process.kill()
        await process.wait()
        orphans = leftovers.find(tmp_path)
        assert len(orphans) == 1

        async with running(tmp_path, given=given, processes=(), setup=()):
            assert leftovers.find(tmp_path) == []
