"""Two versions side by side: each process is replaced by one of the next version, and back."""

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import pytest

from cartwheel.kernel.settings import each_url
from cartwheel.local.cluster import replicas
from cartwheel.local.cluster.running import Cluster
from cartwheel.local.command import Command
from cartwheel.local.dependencies import side_by_side
from cartwheel.local.processes import GATEWAY, PROCESSES, SETUP
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
    # Otherwise each of the processes, which start at once, would compile all of it.
    compiling = (sys.executable, "-m", "compileall", "-q", "src")
    subprocess.run(compiling, cwd=folder, check=True)  # noqa: S603
    return folder / "src"


async def started_as_before(nodes: Cluster, older: Path) -> Ordeal:
    """Start the previous version on `nodes`; return the ordeal of an upgrade and a downgrade."""
    supervisor = nodes.system.supervisor
    environment = {**nodes.environment, "DRAIN_SECONDS": "2"}
    now = replicas.commands(supervisor.home, environment, PROCESSES, 2)
    replicated = [each for each in now if "." in each.name]
    others = [each for each in now if each not in replicated]
    then = [
        msgspec.structs.replace(each, environment=_as_of(older, each.environment))
        for each in replicated
    ]

    async def replace(commands: list[Command]) -> None:
        for some in _in_turn(commands):
            await supervisor.stop(*(each.name for each in some))
            await side_by_side(map(supervisor.run, some))

    async def forwards(_: Cluster) -> None:
        await run_setup(supervisor, SETUP, environment)
        await replace(replicated)

    async def back(_: Cluster) -> None:
        await replace(then)

    await run_setup(supervisor, SETUP, _as_of(older, environment))
    await asyncio.gather(*map(supervisor.run, [*others, *then]))
    return Ordeal("the next version, and back", forwards, 3.0, back)


def _in_turn(commands: Iterable[Command]) -> list[list[Command]]:
    """Return what is replaced at once: a replica of each service, then the next, then gateways.

    So while two versions of a service run beside each other, two of each other service do.
    """
    turns: dict[str, list[Command]] = {}
    for command in commands:
        service, _, number = command.name.partition(".")
        turns.setdefault(command.name if service == GATEWAY else number, []).append(command)
    return list(turns.values())


def _as_of(older: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` for the previous version, which supports one RabbitMQ URL."""
    [first, *_] = each_url(environment["RABBITMQ_URL"])
    return {**environment, "PYTHONPATH": str(older), "RABBITMQ_URL": first}
