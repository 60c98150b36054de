"""Several replicas of a process in one instance."""

import ast
import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import psutil
import pytest

from cartwheel.local import ports
from cartwheel.local.processes import PROCESSES, Process, replicas
from cartwheel.local.replicas import BadReplicas, replicated
from cartwheel.local.up import System, running

from ..waiting import eventually

Argv = Callable[[str], tuple[str, ...]]


def names(text: str) -> list[str]:
    return [process.name for process in replicated(text)]


def test_replicas_are_numbered_after_the_first() -> None:
    assert names("products=2, orders=3,gateway=1") == [
        *("simulator", "products", "products.2", "orders", "orders.2", "orders.3"),
        *("payments", "notifications", "gateway"),
    ]
    assert replicated("") == PROCESSES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("order=2", "there is no order; there are products, orders, payments, notifications, gat"),
        ("simulator=2", "there is one simulator: it keeps its charges in a file"),
        ("orders=0", "orders is 0, and should be from 1 to 16"),
        ("gateway=17", "gateway is 17, and should be from 1 to 16"),
        ("orders", "orders should be a name and a number, such as orders=2"),
        ("orders=2=3", "orders=2=3 should be a name and a number, such as orders=2"),
        ("orders=two", "orders=two should be a name and a number, such as orders=2"),
        ("orders=2,orders=3", "orders is given twice"),
    ],
)
def test_an_invalid_value_is_refused_in_a_sentence(text: str, why: str) -> None:
    with pytest.raises(BadReplicas, match=f"^{why}"):
        replicated(text)


def stand_ins(argv: Argv, *counts: tuple[str, int]) -> tuple[Process, ...]:
    """Return processes that have our processes' names and print their environment."""
    return tuple(
        replica
        for name, count in counts
        for replica in replicas(Process(name, argv("telling")), count)
    )


async def test_each_replica_has_its_own_log_and_variables(
    tmp_path: Path, given: Mapping[str, str], argv: Argv
) -> None:
    processes = stand_ins(argv, ("products", 1), ("orders", 2), ("gateway", 2))
    asked = {**given, "HEALTH_PORT": "9100"}
    async with running(tmp_path, given=asked, processes=processes, setup=()) as system:
        told = {
            name: ast.literal_eval(system.supervisor.log(name).read_text())
            for name in system.supervisor.names
        }

    health_ports = {name: told[name].get("HEALTH_PORT") for name in told}
    assert health_ports["products"] == "9100"
    assert [health_ports["orders"], health_ports["orders.2"]] == ["9101", "9102"]
    shared = {name for name in told if told[name].get("SHARE_PORT") == "true"}
    assert shared == {"gateway", "gateway.2"}
    assert told["gateway"]["PORT"] == told["gateway.2"]["PORT"]
    assert {(tmp_path / "logs" / f"{name}.log").exists() for name in told} == {True}


async def test_a_replica_that_dies_is_restarted_and_others_are_not_affected(
    tmp_path: Path, given: Mapping[str, str], argv: Argv
) -> None:
    processes = stand_ins(argv, ("orders", 2))
    async with running(tmp_path, given=given, processes=processes, setup=()) as system:
        supervisor = system.supervisor
        first, second = supervisor.pid("orders"), supervisor.pid("orders.2")

        await supervisor.kill("orders.2")
        async with asyncio.timeout(30):
            await supervisor.ready("orders.2")

        assert supervisor.pid("orders") == first
        assert supervisor.pid("orders.2") != second


async def test_gateways_share_their_port(
    tmp_path: Path, system: System, given: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    here = {name: system.environment[name] for name in ("MONGODB_URI", "RABBITMQ_URL")}
    gateways = tuple(each for each in replicated("gateway=2") if each.name.startswith("gateway"))
    async with running(
        tmp_path, given={**given, **here}, port=ports.find_free(), processes=gateways, setup=()
    ) as two:
        port = int(two.environment["PORT"])
        for name in ("gateway", "gateway.2"):
            sockets = psutil.Process(two.supervisor.pid(name)).net_connections("tcp")
            assert port in [each.laddr.port for each in sockets if each.status == "LISTEN"]
        async with aiohttp.ClientSession(two.url) as client:

            async def answers() -> None:
                async with client.get("/health/live") as answer:
                    assert answer.status == 200

            await two.supervisor.stop("gateway")
            await eventually(answers)
