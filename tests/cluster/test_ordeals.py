"""A node dies, freezes or is cut off while customers buy: the shop goes on, no promise breaks."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cartwheel.local.cluster import replicas
from cartwheel.local.cluster.running import Cluster, cluster
from cartwheel.local.dependencies import side_by_side
from cartwheel.local.processes import PROCESSES, SETUP
from cartwheel.local.up import run_setup

from ..long_form import long_form
from .conftest import needs_namespaces
from .emptying import empty
from .ordeals import Ordeal, check, endured, show
from .versions import older_version, started_as_before

SETTINGS = {"HOLD_CHECK_AFTER_SECONDS": "20"}
"""A customer may give up before the order is stored. Its reservation is then soon released."""


@pytest.fixture(scope="module")
async def shared_nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """The nodes, without the processes that use them."""
    home = tmp_path_factory.mktemp("cluster")
    async with cluster(home, given={}, processes=(), setup=()) as nodes:
        yield nodes
        supervisor = nodes.system.supervisor  # the data is no longer needed
        await asyncio.gather(*map(supervisor.kill_for_good, supervisor.names))


@pytest.fixture
async def nodes(shared_nodes: Cluster) -> AsyncGenerator[Cluster]:
    """The nodes, healthy and empty."""
    yield shared_nodes
    await empty(shared_nodes)


@pytest.fixture
async def shop(nodes: Cluster) -> Cluster:
    supervisor = nodes.system.supervisor
    await run_setup(supervisor, SETUP, nodes.environment)
    environment = {**nodes.environment, **SETTINGS}
    commands = replicas.commands(supervisor.home, environment, PROCESSES, 2)
    await side_by_side(map(supervisor.run, commands))
    return nodes


def kill(*names: str, seconds: float = 8.0) -> Ordeal:
    return _ordeal("kill", names, seconds)


def freeze(*names: str, seconds: float = 8.0) -> Ordeal:
    return _ordeal("stop", names, seconds)


def cut_off(*names: str, seconds: float = 20.0) -> Ordeal:
    return _ordeal("partition", names, seconds)


def _ordeal(fault: str, names: tuple[str, ...], seconds: float) -> Ordeal:
    async def do(shop: Cluster) -> None:
        meant = [await _named(shop, name) for name in names]
        await asyncio.gather(*(getattr(shop.faults, fault)(name) for name in meant))

    async def undo(shop: Cluster) -> None:
        await asyncio.gather(*map(shop.faults.heal, _faulty(shop)))

    return Ordeal(f"{fault} {' and '.join(names)}", do, seconds, undo)


async def _named(shop: Cluster, name: str) -> str:
    """Return `name`; for `primary`, return the node that is the primary at the moment."""
    if name != "primary":
        return name
    states = await shop.members.states()
    return next(member for member, state in states.items() if state == "PRIMARY")


def _faulty(shop: Cluster) -> list[str]:
    names = shop.system.supervisor.names
    return [name for name in names if shop.faults.state(name) != "running"]


async def test_the_shop_goes_on_when_a_node_of_each_sort_dies_or_freezes(
    shop: Cluster, tmp_path: Path
) -> None:
    ordeals = [
        kill("rabbitmq.1", seconds=4),
        kill("primary", seconds=4),
        freeze("rabbitmq.2", seconds=6),
        freeze("primary", seconds=5),
    ]

    check(await endured(shop, ordeals, tmp_path / "history.jsonl"))


async def test_each_process_is_replaced_by_the_next_version_and_back_without_a_failed_request(
    nodes: Cluster, tmp_path: Path
) -> None:
    changed = await started_as_before(nodes, older_version(tmp_path / "older"))

    result = await endured(nodes, [changed], tmp_path / "history.jsonl", older=True)

    check(result)
    assert not result.failures, str(result)


@long_form
@needs_namespaces
async def test_the_shop_goes_on_whichever_node_dies_freezes_or_is_cut_off(
    shop: Cluster, tmp_path: Path
) -> None:
    nodes = [f"{sort}.{number}" for sort in ("rabbitmq", "mongod") for number in (1, 2, 3)]
    ordeals = [
        *(fault(node) for fault in (kill, freeze, cut_off) for node in nodes),
        kill("orders.1", "gateway.1", seconds=1),
        freeze("products.1", seconds=4),
    ]

    check(await endured(shop, ordeals, tmp_path / "history.jsonl", customers=20))


@long_form
async def test_two_nodes_at_once_stop_the_shop_and_harm_nothing(
    shop: Cluster, tmp_path: Path
) -> None:
    """One of three is not a majority. Everything continues when the second node is back."""
    ordeals = [
        kill("rabbitmq.1", "rabbitmq.2", seconds=15),
        kill("mongod.1", "mongod.2", seconds=15),
        freeze("rabbitmq.2", "mongod.3", seconds=15),
        kill("rabbitmq.3", "primary", seconds=15),
    ]

    result = await endured(shop, ordeals, tmp_path / "history.jsonl", customers=20)

    show(result)
    assert not result.found, str(result)


@long_form
async def test_everything_is_restarted_one_after_the_other_without_a_failed_request(
    shop: Cluster, tmp_path: Path
) -> None:
    async def restart_all(shop: Cluster) -> None:
        for name in shop.system.supervisor.names:
            if name.startswith(("products", "orders", "payments", "notifications", "gateway")):
                await shop.faults.restart(name)

    async def nothing(_: Cluster) -> None:
        """Nothing is left to heal."""

    rolling = Ordeal("rolling restart", restart_all, 1.0, nothing)
    result = await endured(shop, [rolling, rolling], tmp_path / "history.jsonl", customers=20)

    check(result)
    assert not result.failures, str(result)
