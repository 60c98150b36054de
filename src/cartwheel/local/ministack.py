"""MiniStack, an emulator of AWS: Cognito and SES for use without an AWS account.

It has a virtual environment of its own, because it pins botocore. The same client code as for AWS
reaches it through AWS_ENDPOINT_URL.

It saves its state only on an orderly stop. So it is restarted after the user pool is created: from
then on the pool's id survives any crash. A `kill -9` loses only the users who have signed up since
the last orderly stop.
"""

import asyncio
import fcntl
import hashlib
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import TextIO

import aiohttp

from cartwheel.local import emulated_aws, instance
from cartwheel.local.command import Command
from cartwheel.local.console import Console
from cartwheel.local.packages import Missing, run_shown
from cartwheel.local.supervisor import Supervisor

LOCK = Path(__file__).parents[3] / "requirements-ministack.lock"
STAMP = "installed"
"""The file, written last, with the hash of the lock from which everything was installed."""


def install(console: Console) -> Path:
    """Return the emulator's program. The first time, install it from its lock.

    If another process is installing it, wait until that is done.

    Raises:
        Missing: it could not be installed.
    """
    if not LOCK.exists():
        raise Missing(f"{LOCK.name} is missing: run from a checkout, or set COGNITO_USER_POOL_ID")
    folder = Path(sys.prefix) / "ministack"
    if not _is_installed(folder):
        with folder.with_suffix(".lock").open("w") as file:
            _lock(file, console)
            if not _is_installed(folder):
                _install(folder, console)
    return folder / "bin" / "ministack"


def _is_installed(folder: Path) -> bool:
    stamp = folder / STAMP
    return stamp.exists() and stamp.read_text() == _wanted()


def _wanted() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _lock(file: TextIO, console: Console) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with console.doing("waiting for another process that installs the AWS emulator"):
            fcntl.flock(file, fcntl.LOCK_EX)


def _install(folder: Path, console: Console) -> None:
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=f"{beside}:{os.environ['PATH']}")
    if uv is None:
        raise Missing("Please install uv, or set COGNITO_USER_POOL_ID to use AWS itself")
    make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)]
    run_shown(make, "making an environment for the AWS emulator", console)
    sync = [uv, "pip", "sync", "--quiet", "--python", str(folder / "bin" / "python")]
    run_shown([*sync, "--require-hashes", str(LOCK)], "installing the AWS emulator", console)
    (folder / STAMP).write_text(_wanted())


async def provide(supervisor: Supervisor) -> dict[str, str]:
    """Start the emulator with user pool, demo users and sender; return the variables for them.

    Raises:
        Missing: it could not be installed.
        emulated_aws.Unfit: its tokens do not verify.
    """
    program = await asyncio.to_thread(install, supervisor.console)
    home = supervisor.home
    folder = instance.make_folder(home / "ministack")
    port = instance.port(home, "ministack")
    endpoint = f"http://127.0.0.1:{port}"
    mark_key = instance.remember(home, "emulated_cognito_key", lambda: secrets.token_urlsafe(24))
    await supervisor.run(
        Command(
            name="ministack",
            argv=(str(program),),
            environment=_environment(folder, port),
            probe=lambda: _answers(endpoint),
            layer=1,
            where=endpoint,
        )
    )
    with supervisor.console.doing("preparing users and mail"):
        values, changed = await emulated_aws.prepare(endpoint, mark_key)
        if changed:
            await supervisor.stop("ministack")
            await supervisor.start("ministack")
        await emulated_aws.check_tokens(values)
    return values


def _environment(folder: Path, port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": emulated_aws.REGION,
        # Without it, the emulator accepts any code, revoked tokens and wrong client secrets.
        "AUTH": "true",
        **emulated_aws.CREDENTIALS,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        # Off: two servers that would listen on all addresses, and its cleanup of Docker.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder}/none",
    }


async def _answers(endpoint: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{endpoint}/_ministack/health") as response:
                    if response.ok:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
