"""Every query of the services uses an index, in all tests.

The tests' mongod refuses queries without an index (`notablescan`). It permits queries without a
predicate, which read everything, and a refused query of a job is only logged. So both are searched
for at the end.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from cartwheel.kernel import mongodb
from cartwheel.kernel.mongodb import Client
from cartwheel.local import mongod
from cartwheel.local.up import System
from cartwheel.services import SERVICES

READ_ALL_ON_PURPOSE = ["cartwheel-tests", "cartwheel-verify"]
"""Tests may read anything. `cartwheel verify` reads all documents, by `_id`."""

_REFUSED = "No indexed plans available"


@contextmanager
def refusing_table_scans() -> Generator[None]:
    """Make a mongod that starts in the body refuse table scans, also after a restart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongod, "PARAMETERS", (*mongod.PARAMETERS, "notablescan=true"))
        yield


@asynccontextmanager
async def verify_reads_all(system: System) -> AsyncGenerator[None]:
    """Permit table scans while the body runs, for `cartwheel verify`. They are still recorded."""
    async with _connected(system) as client:
        await client.admin.command("setParameter", 1, notablescan=False)
        try:
            yield
        finally:
            await client.admin.command("setParameter", 1, notablescan=True)


@asynccontextmanager
async def without_table_scans(system: System) -> AsyncGenerator[None]:
    """Fail at the end if a process has read a whole collection, or tried to."""
    noted = {
        "planSummary": {"$regex": "COLLSCAN"},
        "appName": {"$nin": READ_ALL_ON_PURPOSE},
    }
    async with _connected(system) as client:
        for name in SERVICES:
            await client[name].command("profile", 1, filter=noted)
    yield
    async with _connected(system) as client:
        scans = await _scans(client)
    assert scans == [], scans
    refused = _refused(system.supervisor.home / "logs")
    assert refused == [], refused


def _connected(system: System) -> Client:
    return mongodb.connect(system.environment["MONGODB_URI"], process="tests")


async def _scans(client: Client) -> list[object]:
    return [
        (entry.get("appName"), entry["ns"], entry["command"])
        for name in SERVICES
        async for entry in client[name]["system.profile"].find()
    ]


def _refused(logs: Path) -> list[str]:
    return [
        line
        for log in logs.glob("*.log")
        for line in log.read_text(errors="replace").splitlines()
        if _REFUSED in line
    ]
