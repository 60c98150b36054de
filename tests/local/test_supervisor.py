"""Processes are started, awaited, restarted and stopped."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from cartwheel.local import leftovers
from cartwheel.local.command import Command
from cartwheel.local.supervisor import CannotStart, Supervisor, supervising

from ..waiting import eventually

Make = Callable[..., Command]


async def test_a_process_that_reports_ready_is_running(
    supervisor: Supervisor, command: Make
) -> None:
    await supervisor.run(command("good"))

    assert psutil.pid_exists(supervisor.pid("good"))


async def test_a_process_that_ends_too_early_is_reported_with_the_end_of_its_log(
    supervisor: Supervisor, command: Make
) -> None:
    with pytest.raises(CannotStart, match=r"failing ended with status 3.*\n.*no such table"):
        await supervisor.run(command("failing"))


async def test_only_log_lines_of_this_run_are_shown_as_plain_text(
    supervisor: Supervisor, command: Make
) -> None:
    log = supervisor.log("waiting")
    log.write_text("an error of an earlier run\n")

    with pytest.raises(CannotStart) as refused:
        await supervisor.run(command("waiting", start_limit=2.0))

    first, *lines = str(refused.value).splitlines()
    assert first == f"waiting was not ready in 2 s; {log} says"
    assert lines == ["    waiting for MongoDB: MONGODB_URI points to nowhere"]


async def test_log_lines_of_an_earlier_run_are_not_shown(
    supervisor: Supervisor, command: Make
) -> None:
    supervisor.log("silent").write_text("an error of an earlier run\n")

    with pytest.raises(CannotStart, match=r"says\n    nothing$"):
        await supervisor.run(command("silent", start_limit=0.3))


async def test_a_log_that_is_too_large_is_renamed(
    supervisor: Supervisor, command: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartwheel.local.command.LARGEST_LOG", 10)
    supervisor.log("failing").write_text("an error of an earlier run\n")

    with pytest.raises(CannotStart, match=r"says\n    no such table$"):
        await supervisor.run(command("failing"))

    assert "an earlier run" in supervisor.log("failing").with_suffix(".log.1").read_text()


async def test_a_process_that_is_never_ready_is_stopped_and_named(
    supervisor: Supervisor, command: Make
) -> None:
    with pytest.raises(CannotStart, match=r"silent was not ready in 0\.3 s"):
        await supervisor.run(command("silent", start_limit=0.3))

    assert leftovers.find(supervisor.home) == []


async def test_a_killed_process_is_restarted(
    supervisor: Supervisor, command: Make, console: Any
) -> None:
    await supervisor.run(command("good"))
    first = supervisor.pid("good")

    await supervisor.kill("good")
    await asyncio.wait_for(supervisor.ready("good"), 30)

    assert supervisor.pid("good") != first
    assert [text for text in console.said if "good was ended by SIGKILL" in text]


async def test_a_process_is_started_when_its_missing_program_is_back(
    supervisor: Supervisor, command: Make, console: Any, tmp_path: Path
) -> None:
    good = command("good")
    program = tmp_path / "program"
    program.symlink_to(good.argv[0])
    await supervisor.run(msgspec.structs.replace(good, argv=(str(program), *good.argv[1:])))

    program.unlink()
    await supervisor.kill("good")

    async def missed() -> None:
        assert [text for text in console.said if "good could not be started" in text]

    await eventually(missed)
    program.symlink_to(good.argv[0])
    await asyncio.wait_for(supervisor.ready("good"), 30)


async def test_variables_for_the_next_start_are_used_once(
    supervisor: Supervisor, command: Make
) -> None:
    await supervisor.run(command("good"))
    supervisor.next_time("good", {"ONCE": "1"})

    await supervisor.kill("good")
    await supervisor.ready("good")
    assert psutil.Process(supervisor.pid("good")).environ()["ONCE"] == "1"
    await supervisor.kill("good")
    await supervisor.ready("good")

    assert "ONCE" not in psutil.Process(supervisor.pid("good")).environ()


async def test_a_process_that_keeps_dying_is_restarted_with_growing_delays(
    supervisor: Supervisor, command: Make, console: Any
) -> None:
    await supervisor.run(command("short"))

    deadline = time.monotonic() + 60
    while len(delays := re.findall(r"again in (\S+) s", "\n".join(console.said))) < 3:
        assert time.monotonic() < deadline
        await supervisor.ready("short")
        await _a_moment()

    assert delays[:3] == ["0.5", "1", "2"]


async def test_a_deliberately_stopped_process_stays_down_until_it_is_started(
    supervisor: Supervisor, command: Make
) -> None:
    await supervisor.run(command("good"))

    await supervisor.stop("good")
    await _a_moment(0.8)  # longer than the first restart takes
    with pytest.raises(ProcessLookupError):
        supervisor.pid("good")
    await supervisor.start("good")

    assert psutil.pid_exists(supervisor.pid("good"))


async def test_a_process_that_ignores_sigterm_is_killed(
    supervisor: Supervisor, command: Make
) -> None:
    await supervisor.run(command("deaf", stop_limit=0.3))

    started = time.monotonic()
    await supervisor.stop("deaf")

    assert 0.3 <= time.monotonic() - started < 8  # unlike its usual limit
    assert leftovers.find(supervisor.home) == []


async def test_a_process_gets_its_time_to_drain(supervisor: Supervisor, command: Make) -> None:
    await supervisor.run(command("deaf", stop_limit=0.2, drain_seconds=0.4))

    started = time.monotonic()
    await supervisor.stop("deaf")

    assert 0.6 <= time.monotonic() - started < 8


async def test_a_drain_can_be_cut_short(supervisor: Supervisor, command: Make) -> None:
    await supervisor.run(command("draining", drain_seconds=300.0))
    log = supervisor.log("draining")
    stopping = asyncio.create_task(supervisor.close())

    async def has_begun() -> None:
        assert log.read_text() == "draining\n"

    await eventually(has_begun)
    supervisor.hurry()

    async with asyncio.timeout(60):
        await stopping
    assert log.read_text() == "draining\nstopping\n"


async def test_processes_are_stopped_before_their_dependencies(
    tmp_path: Path, command: Make, argv: Make, console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with supervising(tmp_path, console) as supervisor:
        for layer in (0, 2, 1):
            name = f"layer {layer}"
            await supervisor.run(
                command("stopping", name=name, argv=argv("stopping", name), layer=layer)
            )

    assert (tmp_path / "stops").read_text().splitlines() == ["layer 2", "layer 1", "layer 0"]


async def test_no_process_is_left_not_even_a_daemon_with_its_own_session(
    tmp_path: Path, command: Make, console: Any
) -> None:
    async with supervising(tmp_path, console) as supervisor:
        await supervisor.run(command("forking"))
        assert len(leftovers.find(tmp_path)) == 2

    assert leftovers.find(tmp_path) == []


async def test_another_instances_processes_are_not_affected(
    tmp_path: Path, supervisor: Supervisor, command: Make
) -> None:
    await supervisor.run(command("good"))

    assert await leftovers.clear(tmp_path / "another", grace=0) == 0

    assert psutil.pid_exists(supervisor.pid("good"))
    assert os.getpid() not in [process.pid for process in leftovers.find(supervisor.home)]


async def _a_moment(seconds: float = 0.02) -> None:
    await asyncio.sleep(seconds)
