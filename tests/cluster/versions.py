"""Two versions side by side: each process is replaced by one of the next version, and back."""

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from cartwheel.kernel.settings import each_url
from cartwheel.local.cluster import replicas
from cartwheel.local.cluster.running import Cluster
from cartwheel.local.command import Command
from cartwheel.local.processes import PROCESSES, SETUP
from cartwheel.local.up import run_setup

from .ordeals import Ordeal

BEFORE = "e8377fa658a76d21257c78fb70388d0fe7ec84fe"
"""The last commit before each replica had its own request queue."""

_PROJECT = Path(__file__).parents[2]


def older_version(folder: Path) -> Path:
    """Return the folder `src` of the previous version, unpacked in `folder`."""
    git = ("git", "-C", str(_PROJECT))
    if subprocess.run((*git, "cat-file", "-e", BEFORE), check=False).returncode:  # noqa: S603
        pytest.skip(f"this clone has no history back to {BEFORE}")
    archive = subprocess.run(  # noqa: S603
        (*git, "archive", BEFORE, "src"), check=True, capture_output=True
    )
    folder.mkdir()
    subprocess.run(("tar", "-x"), cwd=folder, input=archive.stdout, check=True)  # noqa: S607
    return folder / "src"


async def started_as_before(nodes: Cluster, home: Path, older: Path) -> Ordeal:
    """Start the previous version on `nodes`; return the ordeal of an upgrade and a downgrade."""
    supervisor = nodes.system.supervisor
    now = replicas.commands(home, nodes.environment, PROCESSES, 2)
    replicated = [each for each in now if "." in each.name]
    others = [each for each in now if each not in replicated]
    then = [
        msgspec.structs.replace(each, environment=_as_of(older, each.environment))
        for each in replicated
    ]

    async def replace(commands: list[Command]) -> None:
        for command in commands:
            await supervisor.stop(command.name)
            await supervisor.run(command)

    async def forwards(_: Cluster) -> None:
        await run_setup(supervisor, SETUP, nodes.environment)
        await replace(replicated)

    async def back(_: Cluster) -> None:
        await replace(then)

    await run_setup(supervisor, SETUP, _as_of(older, nodes.environment))
    await asyncio.gather(*map(supervisor.run, [*others, *then]))
    return Ordeal("the next version, and back", forwards, 3.0, back)


def _as_of(older: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` for the previous version, which supports one RabbitMQ URL."""
    [first, *_] = each_url(environment["RABBITMQ_URL"])
    return {**environment, "PYTHONPATH": str(older), "RABBITMQ_URL": first}
