"""Missing packages are installed if possible, and otherwise named."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from cartwheel.local import bootstrap, packages
from cartwheel.local.console import QUIET, Console

from .conftest import Recorder
from .private_index import private_index

HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(600)
"""
STORE = Path("/etc/ssl/certs/ca-certificates.crt")
APART = ("unshare", "--map-root-user", "--mount", "sh", "-c")
"""Runs a shell in which files can be mounted over the system's, for this shell only."""
TRUST_AND_RUN = f'mount --bind "$0" {STORE} && exec "$@"'
LOCKED = """
import sys, time
open(sys.argv[1], "a").write(f"{time.monotonic()}\\n")
print("E: Could not get lock /x/lock. It is held by process 1 (other)")
sys.exit(100)
"""
APT = """#!/bin/sh
echo "$1" >>"$0.done"
[ "$1" = install ] && [ ! -e "$0.once" ] || exit 0
touch "$0.once"
echo "E: Could not get lock /x/lock. It is held by process 1 (other)"
exit 100
"""
"""An apt-get that finds a lock held at its first installation."""
WITH_SBIN_AND_RUN = 'mount --bind "$0" /usr/sbin && exec "$@"'
INSTALL = """
from cartwheel.local import packages
from cartwheel.local.console import QUIET
packages.install({"toy": "a test"}, QUIET)
"""
EMULATE = """
import subprocess, sys
from cartwheel.local import ministack
from cartwheel.local.console import Console
sys.prefix = sys.argv[1]
program = ministack.install(Console())
subprocess.run([program.with_name("python"), "-c", "import hypercorn, ministack.app"], check=True)
"""
needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="Debian's apt-get")


def test_without_apt_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(packages.Missing) as refused:
        packages.install({"rabbitmq-server": "RabbitMQ; or set RABBITMQ_URL"}, QUIET)

    assert str(refused.value).endswith("rabbitmq-server (RabbitMQ; or set RABBITMQ_URL)")
    assert "\n" not in str(refused.value)


def test_a_failed_installation_shows_the_end_of_its_output() -> None:
    script = "print('E: no such package'); raise SystemExit(100)"

    with pytest.raises(packages.Missing, match="status 100\nE: no such package"):
        packages.run_shown([sys.executable, "-c", script], "installing", QUIET)


def test_uv_is_taken_from_the_lock_with_its_hashes() -> None:
    stanza = bootstrap.stanza(bootstrap.LOCK.read_text(), "uv")

    name, *hashes = stanza.splitlines()
    assert name.startswith("uv==")
    assert hashes
    assert all("--hash=sha256:" in line for line in hashes)


def test_no_lock_file_names_a_package_source() -> None:
    for lock in (bootstrap.LOCK, Path(bootstrap.ROOT, "requirements-ministack.lock")):
        assert "://" not in lock.read_text()


@pytest.fixture
def lists_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lock of apt's lists, in a folder of the test's own that apt is configured to use."""
    for folder in ("lists/partial", "cache/archives/partial", "etc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "status").touch()
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        f'Dir::State::lists "{tmp_path}/lists"; Dir::State::status "{tmp_path}/status";'
        f'Dir::Cache "{tmp_path}/cache"; Dir::Etc "{tmp_path}/etc";'
    )
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    return tmp_path / "lists" / "lock"


@asynccontextmanager
async def held(lock: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Hold `lock`, in another process, until the block ends or the process is killed."""
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(lock)), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    try:
        yield holder
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.communicate()


async def update(console: Console, **limit: float) -> None:
    await asyncio.to_thread(
        packages.run_apt, ["apt-get", "update", "-q"], "installing", console, **limit
    )


@needs_apt
async def test_the_installation_waits_while_another_process_holds_apts_lock(
    lists_lock: Path, console: Recorder
) -> None:
    async with held(lists_lock) as holder:
        updating = asyncio.create_task(update(console))
        await asyncio.sleep(1.5)
        holder.kill()
        await updating

    who = f"  waiting for process {holder.pid} (python"
    assert [said for said in console.said if said.startswith(who) and str(lists_lock) in said]
    assert console.said[-1].startswith("✓ installing")


@needs_apt
async def test_the_wait_for_apts_lock_is_limited(lists_lock: Path) -> None:
    async with held(lists_lock) as holder:
        with pytest.raises(packages.Missing) as refused:
            await update(QUIET, lock_limit=0)

    assert f"process {holder.pid} (python" in str(refused.value)
    assert "repeat this when it has ended" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_pauses_between_attempts_of_apt_grow(tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    with pytest.raises(packages.Missing, match="has held /x/lock"):
        packages.run_apt(
            [sys.executable, "-c", LOCKED, str(tries)], "installing", QUIET, lock_limit=3.5
        )

    first, second, *_ = (
        later - earlier
        for earlier, later in pairwise(float(line) for line in tries.read_text().splitlines())
    )
    assert first >= 1
    assert second >= 2


async def test_completed_commands_of_apt_are_not_repeated_after_a_wait(tmp_path: Path) -> None:
    (tmp_path / "sbin").mkdir()
    apt = tmp_path / "apt-get"
    apt.write_text(APT)
    apt.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        *(*APART, WITH_SBIN_AND_RUN, str(tmp_path / "sbin"), sys.executable, "-c", INSTALL),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if not (tmp_path / "apt-get.done").exists():
        pytest.skip(f"there are no mount namespaces: {said.decode()}")

    assert process.returncode == 0, said.decode()
    assert (tmp_path / "apt-get.done").read_text().split() == ["update", "install", "install"]


@needs_apt
def test_errors_of_apt_other_than_locks_are_shown_at_once(lists_lock: Path) -> None:
    with pytest.raises(packages.Missing, match=r"failed with status 100\n(.*\n)*E: "):
        packages.run_apt(["apt-get", "install", "-q", "no-such-thing"], "installing", QUIET)


def test_uv_trusts_the_systems_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        packages.run_shown([*APART, TRUST_AND_RUN, str(STORE), "true"], "trying", QUIET)
    except packages.Missing as missing:
        pytest.skip(f"certificates are elsewhere, or there are no mount namespaces: {missing}")
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS"):
        monkeypatch.delenv(variable, raising=False)

    with private_index(tmp_path) as index:
        uv = str(Path(sys.executable).with_name("uv"))
        install = [uv, "pip", "install", "--no-config", "--no-cache", "--default-index", index.url]
        trusting = [*APART, TRUST_AND_RUN, str(index.authority)]
        packages.run_shown(
            [*trusting, *install, "--target", str(tmp_path / "here"), "toy"], "installing", QUIET
        )

    assert (tmp_path / "here" / "toy.py").exists()


async def test_the_modules_compiled_after_the_installation_can_be_imported() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"import {', '.join(bootstrap.FIRST_IMPORTED)}")
    )

    assert await process.wait() == 0


async def test_processes_that_install_the_emulator_at_once_wait_for_each_other(
    tmp_path: Path,
) -> None:
    async def install() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", EMULATE, str(tmp_path)), stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        return process.returncode, said.decode()

    ends = await asyncio.gather(*(install() for _ in range(3)))

    assert [status for status, _ in ends] == [0, 0, 0], ends
    said = "".join(text for _, text in ends)
    assert said.count("✓ installing the AWS emulator") == 1, said
    assert "✓ waiting for another process that installs the AWS emulator" in said
