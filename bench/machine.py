"""The origin of a result: machine, versions, commit, and the verdict of `verify`."""

import asyncio
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import aiormq
import msgspec
import psutil
from pymongo import AsyncMongoClient

from cartwheel.local.up import System
from tests.journeys.command_line import cartwheel

_LIBRARIES = ("litestar", "uvicorn", "httptools", "uvloop", "msgspec", "aio-pika", "pymongo")


def described() -> dict[str, Any]:
    """Return a description of the machine, with memory in GiB."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
    }


def commit(root: Path) -> str:
    """Return the checked-out commit, with `+` if files differ from it."""
    try:
        found = _git(root, "rev-parse", "--short=12", "HEAD")
        return f"{found}+" if _git(root, "status", "--porcelain") else found
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    ).stdout.strip()


async def versions(system: System) -> dict[str, str]:
    found = {"python": platform.python_version()}
    found |= {name: metadata.version(name) for name in _LIBRARIES}
    async with AsyncMongoClient[dict[str, Any]](system.environment["MONGODB_URI"]) as client:
        found["mongod"] = (await client.admin.command("buildInfo"))["version"]
    connection = await aiormq.connect(system.environment["RABBITMQ_URL"])
    try:
        properties: Any = connection.server_properties
        found["rabbitmq"] = str(properties["version"])
    finally:
        await connection.close()
    wrk = await asyncio.create_subprocess_exec(
        "wrk", "-v", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    found["wrk"] = (await wrk.communicate())[0].decode().split()[1]
    return found


async def verified(system: System) -> str:
    """Return `clean`, or the violations that `cartwheel verify` finds. The system must be idle."""
    ran = await cartwheel(system, "verify", "--json", "--grace", "0")
    if ran.status == 0:
        return "clean"
    if ran.status != 1:
        return f"failed: {ran.errors[-1000:]}"
    found: list[Any] = msgspec.json.decode(ran.output)["violations"]
    return f"{len(found)} violations, the first: {found[0]['sentence']} {found[0]['ids']}"
