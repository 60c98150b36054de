"""One process: how it is started, how it is killed, what can be said about its end."""

import asyncio
import itertools
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from cartwheel.local.instance import MARKER, UMASK, private

LARGEST_LOG = 20_000_000
"""A log longer than that is put aside as `.log.1` when its process starts."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A process to keep running.

    It is ready when `probe` returns or, without one, when it says so itself (see `notify`); a
    probe tries again by itself for as long as it takes. Processes of a higher `layer` use those
    of lower ones, and are stopped before them. Limits are in seconds. The process goes on for
    `drain_seconds` when it is told to stop, unless it is told again; `stop_limit` counts from then.
    `where` tells people where it can be reached.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    probe: Callable[[], Awaitable[None]] | None = None
    layer: int = 0
    start_limit: float = 60.0
    stop_limit: float = 9.0
    drain_seconds: float = 0.0
    where: str = ""


async def spawn(command: Command, *, home: Path, log: Path, socket: Path) -> Process:
    """Start the process, marked as belonging to `home`.

    It gets a session of its own: a Ctrl-C at the terminal is for `cartwheel up` alone, which then
    stops its processes in order.
    """
    marks = {MARKER: str(home), "NOTIFY_SOCKET": str(socket)}
    with _appending(log) as output:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            env={**command.environment, **marks},
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            start_new_session=True,
            umask=UMASK,
        )


def _appending(log: Path) -> BinaryIO:
    return open(log, "ab", opener=private)


def end_of(log: Path) -> int:
    """Return where the next run's lines will begin; a log that is too large is put aside first."""
    size = log.stat().st_size if log.exists() else 0
    if size <= LARGEST_LOG:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def kill_session(process: Process) -> None:
    """Kill -9 the process and the helpers it started (not what made a session of its own)."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def how_it_ended(process: Process | None) -> str:
    """Return for example `was ended by SIGKILL` or `ended with status 1`."""
    status = process.returncode if process else None
    if status is None or status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def tail(log: Path, begin: int, lines: int = 15) -> str:
    """Return the end of what `log` holds from the byte `begin` on, indented, to be shown."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 8000))
        text = file.read().decode(errors="replace")
    readable = (line for line, _ in itertools.groupby(map(_readable, text.splitlines())))
    return "\n".join(f"    {line}" for line in deque(readable, lines))


def _readable(line: str) -> str:
    """Return what a line of our own logs says; others as they are."""
    try:
        said = msgspec.json.decode(line, type=_Said)
    except msgspec.DecodeError:
        return line
    return f"{said.event}: {said.error}" if said.error else said.event


class _Said(msgspec.Struct):
    event: str
    error: str | None = None
