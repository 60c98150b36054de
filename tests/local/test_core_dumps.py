"""No process leaves a core dump, which would hold what is in its memory, even if users want one."""

import resource
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from cartwheel.local.command import Command, spawn

LIMIT = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)"
A_PROCESS = f"""
import msgspec
from cartwheel.kernel.lowlevel import run

class Settings(msgspec.Struct):
    pass

async def main(settings, stop):
    {LIMIT}

run("toy", Settings, main)
"""


@pytest.fixture
def _dumping() -> Generator[None]:
    """This process dumps, and so do those that it starts."""
    before, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    assert most != 0
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (before, most))


@pytest.mark.usefixtures("_dumping")
async def test_what_the_supervisor_starts_dumps_nothing(tmp_path: Path) -> None:
    command = Command(name="toy", argv=(sys.executable, "-c", LIMIT), environment={})

    log = tmp_path / "log"
    process = await spawn(command, home=tmp_path, log=log, socket=tmp_path / "socket")

    assert await process.wait() == 0
    assert log.read_text() == "0\n"


@pytest.mark.usefixtures("_dumping")
def test_a_process_that_is_started_by_itself_dumps_nothing() -> None:
    ran = subprocess.run(  # noqa: S603 our own process
        [sys.executable, "-c", A_PROCESS], capture_output=True, text=True, timeout=120, check=True
    )

    assert ran.stdout.splitlines()[0] == "0"
