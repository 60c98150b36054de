"""Compares two systems: this code and another revision, or this code with another setting.

Both systems run all the time and are loaded in turn, for a few seconds each. The machine's speed
changes by a third within minutes, so runs to be compared must be seconds apart. Restarting the
systems for each turn would take a minute and measure cold caches. The idle system takes some
hundredths of a core; "others' cores" includes that, for both sides alike.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from bench import machine
from bench.results import Compared, Comparison, Round, Run, Side
from bench.scenarios import SCENARIOS
from bench.side import Asked, Load, Ready, Verify
from cartwheel.local.command import kill_session
from cartwheel.local.console import Console

ROOT = Path(__file__).parents[1]
_STOP = 30.0
"""Seconds for a process to end; for a side, including all its processes."""

Answer = TypeVar("Answer")


class SideFailed(Exception):
    """A revision cannot be measured, or one side has ended."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What this code is compared with: a `revision`, or itself if that is None.

    `setting` is a variable to add to its environment.
    """

    revision: str | None = None
    setting: Mapping[str, str] = {}

    @property
    def label(self) -> str:
        settings = (f"{name}={value}" for name, value in self.setting.items())
        return " ".join(filter(None, (self.revision, *settings)))


class Options(msgspec.Struct, frozen=True, kw_only=True):
    only: tuple[str, ...]
    connections: tuple[int, ...]
    seconds: float
    times: int
    """The number of rounds. Each has one run per side."""


class _System:
    """A running system, in its own process."""

    def __init__(self, label: str, process: Process) -> None:
        self.label = label
        self._process = process

    async def ask(self, asked: Asked, kind: type[Answer]) -> Answer:
        if self._process.stdin is not None:
            self._process.stdin.write(msgspec.json.encode(asked) + b"\n")
        return await self.answer(kind)

    async def answer(self, kind: type[Answer]) -> Answer:
        """Return its next answer.

        Raises:
            SideFailed: it has ended instead, with a reason on standard error.
        """
        line = await self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise SideFailed(f"{self.label} has ended")
        return msgspec.json.decode(line, type=kind)


async def compare(baseline: Baseline, options: Options, console: Console) -> Comparison:
    """Load both sides in turn; return the comparison.

    Raises:
        SideFailed: the revision cannot be measured, or one side failed.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    async with (
        checked_out(baseline.revision, console) as tree,
        # Start one after the other, because the start is measured, too.
        _up("this code", ROOT, {}, console) as (here, here_is),
        _up(baseline.label, tree, baseline.setting, console) as (base, base_is),
    ):
        compared = await _rounds(here, base, options, console)
        with console.doing("cartwheel verify, on both sides"):
            verified = {side.label: await side.ask(Verify(), str) for side in (here, base)}
    return Comparison(
        at=began,
        machine=machine.described(),
        versions=here_is.versions,
        options=msgspec.to_builtins(options),
        here=_side(here, here_is),
        base=_side(base, base_is),
        compared=compared,
        verify=verified,
    )


def _side(system: _System, ready: Ready) -> Side:
    return Side(label=system.label, commit=ready.commit, start_s=ready.start_s, idle=ready.idle)


async def _rounds(
    here: _System, base: _System, options: Options, console: Console
) -> list[Compared]:
    chosen = [
        (scenario, connections)
        for scenario in SCENARIOS
        if scenario.name in options.only
        for connections in scenario.connections
        if connections in options.connections
    ]
    compared: list[Compared] = []
    done, total = 0, 2 * options.times * len(chosen)
    with console.doing("measuring both sides in turn") as so_far:
        for scenario, connections in chosen:
            rounds: list[Round] = []
            for number in range(1, options.times + 1):
                runs: dict[str, Run] = {}
                # Alternate the order from round to round, so that a drift of the machine's speed
                # favors neither side.
                for side in (here, base) if number % 2 else (base, here):
                    so_far(f"{_bar(done, total)} {scenario.name}, {connections}: {side.label}")
                    load = Load(
                        scenario=scenario.name,
                        connections=connections,
                        seconds=options.seconds,
                        seed=number,
                    )
                    runs[side.label] = await side.ask(load, Run)
                    done += 1
                rounds.append(Round(here=runs[here.label], base=runs[base.label]))
            compared.append(
                Compared(
                    scenario=scenario.name,
                    title=scenario.title,
                    unit=scenario.unit,
                    connections=connections,
                    rounds=rounds,
                )
            )
    return compared


def _bar(done: int, total: int, width: int = 20) -> str:
    full = width * done // total
    return f"{'█' * full}{'░' * (width - full)} {done} of {total}"


@asynccontextmanager
async def checked_out(revision: str | None, console: Console) -> AsyncGenerator[Path]:
    """Yield a temporary worktree of `revision` with its environment; this tree, if it is None.

    Raises:
        SideFailed: there is no such revision, or it cannot be installed or measured.
    """
    if revision is None:
        yield ROOT
        return
    folder = Path(tempfile.mkdtemp(prefix="cartwheel-against-"))
    try:
        with console.doing(f"checking out {revision}"):
            await _run("git", "worktree", "add", "--quiet", "--detach", str(folder), revision)
        if not (folder / "bench" / "side.py").exists():
            raise SideFailed(f"{revision} has no bench/side.py, so it cannot be measured this way")
        console.say(f"… installing {revision}")
        await _run("make", "--no-print-directory", "-C", str(folder), ".venv/.ready")
        yield folder
    finally:
        # Also remove the folder: git leaves a worktree that is only half created.
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await _run("git", "worktree", "prune")


async def _run(*words: str) -> None:
    """Run a command in this repository to its end; end it if this task is canceled."""
    process = await asyncio.create_subprocess_exec(
        *words, cwd=ROOT, stdin=DEVNULL, stdout=sys.stderr, start_new_session=True
    )
    try:
        await process.wait()
    finally:
        # With SIGTERM, git removes a half-created worktree.
        await _end(process, signal.SIGTERM)
    if process.returncode:
        raise SideFailed(f"`{' '.join(words)}` failed")


@asynccontextmanager
async def _up(
    label: str, tree: Path, setting: Mapping[str, str], console: Console
) -> AsyncGenerator[tuple[_System, Ready]]:
    """Run the code in `tree` with its own interpreter, for as long as the body runs."""
    console.say(f"… starting {label}")
    process = await asyncio.create_subprocess_exec(
        *(str(tree / ".venv" / "bin" / "python"), "-m", "bench.side"),
        *(f"{name}={value}" for name, value in setting.items()),
        cwd=tree,
        stdin=PIPE,
        stdout=PIPE,
        limit=2**24,
        # A Ctrl-C reaches only this process, which then closes the side's input.
        start_new_session=True,
    )
    try:
        system = _System(label, process)
        yield system, await system.answer(Ready)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await _end(process)


async def _end(process: Process, by: signal.Signals | None = None) -> None:
    """Return when the process has ended; kill it if it exceeds the limit."""
    if by is not None and process.returncode is None:
        os.killpg(process.pid, by)
    try:
        async with asyncio.timeout(_STOP):
            await process.wait()
    except TimeoutError:
        kill_session(process)
        await process.wait()
