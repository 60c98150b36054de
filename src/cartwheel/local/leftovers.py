"""Processes of an instance that outlived the `cartwheel up` that started them.

They are recognized only by a variable in their environment, which contains the instance's folder.
Names, ports and stored process ids could belong to other processes by now.
"""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from cartwheel.local.instance import MARKER


def find(home: Path) -> list[psutil.Process]:
    """Return the processes marked as belonging to `home`."""
    return [process for process in psutil.process_iter() if home_of(process) == str(home)]


def home_of(process: psutil.Process) -> str | None:
    """Return the instance that `process` belongs to, or None."""
    try:
        return process.environ().get(MARKER)
    except (psutil.Error, OSError):  # it has ended, or belongs to another user
        return None


async def clear(home: Path, *, grace: float = 8.0) -> int:
    """End the processes that `home` left behind: SIGTERM, and SIGKILL after `grace` seconds.

    Returns:
        How many processes there were.
    """
    found = find(home)
    if grace:
        _send(found, signal.SIGTERM)
        await _gone(found, grace)
    # Search again: Erlang's helpers start and end by themselves.
    remaining = find(home)
    _send(remaining, signal.SIGKILL)
    await _gone(remaining, 2.0)
    return len(found)


async def _gone(processes: list[psutil.Process], limit: float) -> None:
    for _ in range(int(limit / 0.05)):
        if not any(map(_is_alive, processes)):
            return
        await asyncio.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
