"""Problems that prevent the start are reported in a line, before anything is installed."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from cartwheel.local import instance, preflight

SOURCE = Path(preflight.__file__).parents[2]
WITHOUT_THE_RIGHT = ("setpriv", "--bounding-set=-net_bind_service")
"""Runs a command without root's right to low ports."""
UNPRIVILEGED_FROM = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 0)) as held:
    print(held.getsockname()[1], flush=True)
    time.sleep(600)
"""


class Said(NamedTuple):
    status: int | None
    text: str


async def preflight_says(
    home: Path, *, through: tuple[str, ...] = (), bare: bool = True, **environment: str
) -> Said:
    """Run preflight. `bare` runs it with only the standard library, as on a new machine."""
    process = await asyncio.create_subprocess_exec(
        *(*through, sys.executable, *(["-S"] if bare else []), "-m", "cartwheel.local.preflight"),
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CARTWHEEL_HOME": str(home),
            **environment,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    return Said(process.returncode, said.decode())


async def test_without_problems_nothing_is_printed(tmp_path: Path) -> None:
    free = str(instance.port(tmp_path, "gateway"))

    assert await preflight_says(tmp_path, PORT=free) == (0, "")


@pytest.mark.parametrize("port", ["80000", "65536", "0", "-1", "abc", "8_0", "8.5", "9" * 5000])
async def test_an_invalid_port_is_one_sentence(tmp_path: Path, port: str) -> None:
    said = await preflight_says(tmp_path, PORT=port)

    assert said == (1, f"✗ PORT is {port}, and should be a number from 1 to 65535\n")


@pytest.mark.skipif(
    not UNPRIVILEGED_FROM.exists() or int(UNPRIVILEGED_FROM.read_text()) <= 80,
    reason="here anybody may use port 80",
)
async def test_a_port_that_only_root_may_use_is_one_sentence(tmp_path: Path) -> None:
    through = WITHOUT_THE_RIGHT if os.geteuid() == 0 else ()

    said = await preflight_says(tmp_path, PORT="80", through=through)

    assert said.status == 1
    assert said.text.startswith("✗ PORT is 80, which needs the right to use ports below 1024.")
    assert said.text.endswith("PORT=8080 make up\n")


async def test_a_foreign_host_is_one_sentence(tmp_path: Path) -> None:
    said = await preflight_says(tmp_path, HOST="192.0.2.1")

    assert said == (1, "✗ HOST is 192.0.2.1, which is not an address of this machine\n")


async def test_a_taken_port_is_reported_with_its_process_if_known(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        at_first = await preflight_says(tmp_path, PORT=port)
        later = await preflight_says(tmp_path, PORT=port, bare=False)

    assert at_first.status == later.status == 1
    assert at_first.text.startswith(f"✗ Port {port} is taken by another process. Another one: ")
    assert f"(pid {os.getpid()})" in later.text


async def test_a_port_held_by_an_earlier_run_does_not_stop_the_next(
    tmp_path: Path,
) -> None:
    leftover = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LISTEN),
        env={instance.MARKER: str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert leftover.stdout is not None
        port = (await leftover.stdout.readline()).decode().strip()
        ours = await preflight_says(tmp_path, PORT=port, bare=False)
        elsewhere = await preflight_says(tmp_path / "another", PORT=port, bare=False)
    finally:
        leftover.kill()
        await leftover.communicate()

    assert ours == (0, "")
    assert f"taken by the Cartwheel in {tmp_path}" in elsewhere.text


async def test_an_instance_that_is_running_already_is_reported_with_its_process(
    tmp_path: Path,
) -> None:
    with instance.lock(tmp_path):
        said = await preflight_says(tmp_path)

    assert said == (
        1,
        f"✗ {tmp_path} is in use: `cartwheel up` runs as process {os.getpid()}\n",
    )
