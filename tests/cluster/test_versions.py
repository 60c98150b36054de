"""Two versions side by side: each process is replaced by one of the next version, and back again,
under customers who notice nothing."""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import msgspec
import pytest

from cartwheel.kernel.settings import each_url
from cartwheel.local.cluster import replicas
from cartwheel.local.cluster.running import Cluster, cluster
from cartwheel.local.command import Command
from cartwheel.local.processes import PROCESSES, SETUP
from cartwheel.local.up import run_setup

from .ordeals import Ordeal, check, endured

BEFORE = "e8377fa658a76d21257c78fb70388d0fe7ec84fe"
"""The commit before each replica had a request queue of its own."""

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `src` of the version before."""
    folder = tmp_path_factory.mktemp("versions") / "older"
    git = ("git", "-C", str(PROJECT))
    if subprocess.run((*git, "cat-file", "-e", BEFORE), check=False).returncode:  # noqa: S603
        pytest.skip(f"this clone has no history back to {BEFORE}")
    archive = subprocess.run(  # noqa: S603
        (*git, "archive", BEFORE, "src"), check=True, capture_output=True
    )
    folder.mkdir()
    subprocess.run(("tar", "-x"), cwd=folder, input=archive.stdout, check=True)  # noqa: S607
    return folder / "src"


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncGenerator[Cluster]:
    async with cluster(tmp_path / "cluster", given={}, processes=(), setup=()) as running:
        yield running


def as_of(older: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` for the version before, which knows one RabbitMQ."""
    [first, *_] = each_url(environment["RABBITMQ_URL"])
    return {**environment, "PYTHONPATH": str(older), "RABBITMQ_URL": first}


async def test_each_process_is_replaced_by_the_next_version_and_back_without_a_failed_request(
    nodes: Cluster, older: Path, tmp_path: Path
) -> None:
    supervisor = nodes.system.supervisor
    now = replicas.commands(tmp_path / "cluster", nodes.environment, PROCESSES, 2)
    replicated = [each for each in now if "." in each.name]
    others = [each for each in now if each not in replicated]
    then = [
        msgspec.structs.replace(each, environment=as_of(older, each.environment))
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

    await run_setup(supervisor, SETUP, as_of(older, nodes.environment))
    await asyncio.gather(*map(supervisor.run, [*others, *then]))

    changed = Ordeal("the next version, and back", forwards, 5.0, back)
    result = await endured(nodes, [changed], tmp_path / "history.jsonl", customers=10, think=0.3)

    check(result)
    assert not result.failures, str(result)
