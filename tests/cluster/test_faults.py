"""Faults injected from another terminal, by name. The processes only sleep."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import psutil
import pytest

from cartwheel.local.cluster import control
from cartwheel.local.cluster.control import Answer, Order, Verb
from cartwheel.local.cluster.faults import Faults, State
from cartwheel.local.cluster.network import Network
from cartwheel.local.command import Command
from cartwheel.local.console import QUIET
from cartwheel.local.host import LOOPBACK
from cartwheel.local.supervisor import FIRST_DELAY_SECONDS, Supervisor, supervising

from ..waiting import eventually

NODE, PROCESS = "mongod.1", "orders.1"


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncGenerator[Supervisor]:
    """Two idle processes that accept orders from `cartwheel cluster …`."""

    async def is_ready() -> None:
        pass

    async with supervising(tmp_path, QUIET) as supervisor:
        for name in (NODE, PROCESS):
            await supervisor.run(
                Command(name=name, argv=("sleep", "infinity"), environment={}, probe=is_ready)
            )
        network = Network({NODE: LOOPBACK}, why_not="only root can make network namespaces")
        async with control.listening(Faults(supervisor, network), supervisor):
            yield supervisor


async def order(supervisor: Supervisor, verb: Verb, *names: str) -> Answer:
    return await asyncio.to_thread(control.give, supervisor.home, Order(verb, names))


async def _is(process: psutil.Process, status: str) -> None:
    assert process.status() == status


def states(answer: Answer) -> dict[str, State]:
    return {row.name: row.state for row in answer.rows}


async def test_what_is_killed_stays_down_until_it_is_healed(supervisor: Supervisor) -> None:
    killed = await order(supervisor, "kill", PROCESS, NODE)
    assert states(killed) == {PROCESS: State.KILLED, NODE: State.KILLED}
    await asyncio.sleep(2 * FIRST_DELAY_SECONDS)  # the supervisor would restart it by then
    with pytest.raises(ProcessLookupError):
        supervisor.pid(PROCESS)

    healed = await order(supervisor, "heal", PROCESS)
    assert states(healed) == {PROCESS: State.RUNNING, NODE: State.KILLED}
    assert psutil.Process(supervisor.pid(PROCESS)).is_running()


async def test_what_is_stopped_is_frozen_until_it_is_healed(supervisor: Supervisor) -> None:
    process = psutil.Process(supervisor.pid(PROCESS))

    assert states(await order(supervisor, "stop", PROCESS))[PROCESS] == State.STOPPED
    await eventually(partial(_is, process, psutil.STATUS_STOPPED))

    assert states(await order(supervisor, "heal", PROCESS))[PROCESS] == State.RUNNING
    await eventually(partial(_is, process, psutil.STATUS_SLEEPING))
    assert supervisor.pid(PROCESS) == process.pid


async def test_a_restart_ends_the_process_and_starts_another(supervisor: Supervisor) -> None:
    old = psutil.Process(supervisor.pid(PROCESS))

    answer = await order(supervisor, "restart", PROCESS)

    assert answer.refused == ""
    assert not old.is_running()
    assert psutil.Process(supervisor.pid(PROCESS)).is_running()


async def test_a_frozen_process_ends_with_the_rest_and_is_not_waited_for(
    supervisor: Supervisor,
) -> None:
    await order(supervisor, "stop", PROCESS)

    async with asyncio.timeout(5):  # it would be killed after 9 s
        await supervisor.close()


async def test_a_wrong_name_lists_the_right_ones_and_nothing_is_done(
    supervisor: Supervisor,
) -> None:
    answer = await order(supervisor, "kill", PROCESS, "order.1")

    assert answer.refused == f"There is no order.1; there are {NODE}, {PROCESS}"
    assert answer.mistyped
    assert states(answer)[PROCESS] == State.RUNNING


@pytest.mark.parametrize(
    ("before", "verb", "name", "why"),
    [
        (None, "heal", PROCESS, f"{PROCESS} is running"),
        ("kill", "kill", PROCESS, f"{PROCESS} is killed; heal it first"),
        ("stop", "restart", PROCESS, f"{PROCESS} is stopped; heal it first"),
        (None, "partition", PROCESS, f"{PROCESS} has no network of its own; these have: {NODE}"),
        (
            *(None, "partition", NODE),
            f"{NODE} cannot be cut off: only root can make network namespaces",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_reason(
    supervisor: Supervisor, before: Verb | None, verb: Verb, name: str, why: str
) -> None:
    if before is not None:
        await order(supervisor, before, name)

    answer = await order(supervisor, verb, name)

    assert answer.refused == why
    assert not answer.mistyped


async def test_where_no_cluster_runs_a_line_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(control.NotRunning, match="make cluster"):
        control.give(tmp_path, Order("status"))
