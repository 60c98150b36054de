"""One process: starting it, killing it, and describing how it ended."""

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

from cartwheel.kernel.lowlevel import no_core_dumps
from cartwheel.local.instance import MARKER, UMASK, private

LARGEST_LOG = 20_000_000
"""When a process starts, a log with more bytes than this is renamed to `.log.1`."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A process to keep running.

    It is ready when `probe` returns, which retries as long as necessary; or, without a probe, when
    the process reports it (see `notify`). Processes of a higher `layer` use those of lower ones,
    and are stopped before them. Limits are in seconds. A process that is told to stop runs on for
    `drain_seconds`, unless it is told again; `stop_limit` starts after that. `where` is the address
    that is shown to people.
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
    """Start the process, marked as belonging to `home`. It leaves no core dump.

    It gets a session of its own, so that a Ctrl-C at the terminal reaches only `cartwheel up`,
    which then stops its processes in order.
    """
    marks = {MARKER: str(home), "NOTIFY_SOCKET": str(socket)}
    no_core_dumps()  # inherited
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
    """Return where the next run's lines will begin, after renaming a log that is too large."""
    size = log.stat().st_size if log.exists() else 0
    if size <= LARGEST_LOG:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def kill_session(process: Process) -> None:
    """Kill -9 the process and its helpers, except those that made a session of their own."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def how_it_ended(process: Process | None) -> str:
    """Return, for example, `was ended by SIGKILL` or `ended with status 1`."""
    status = process.returncode if process else None
    if status is None or status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def tail(log: Path, begin: int, lines: int = 15) -> str:
    """Return the last lines of `log` after the byte `begin`, indented for display."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 8000))
        text = file.read().decode(errors="replace")
    readable = (line for line, _ in itertools.groupby(map(_readable, text.splitlines())))
    return "\n".join(f"    {line}" for line in deque(readable, lines))


def _readable(line: str) -> str:
    """Return the text of a line of our own logs; return other lines unchanged."""
    try:
        said = msgspec.json.decode(line, type=_Said)
    except msgspec.DecodeError:
        return line
    return f"{said.event}: {said.error}" if said.error else said.event


class _Said(msgspec.Struct):
    event: str
    error: str | None = None
