"""Clocks that jump: libfaketime, loaded into a process, adds what a file says to its wall clock.

The monotonic clock stays true, as it does where an administrator or NTP sets a clock.
"""

import contextlib
import glob
from collections.abc import Generator
from pathlib import Path

import msgspec
import psutil

from cartwheel.local import packages
from cartwheel.local.console import Console

CACHED = 1
"""Seconds for which a process may not notice that its file has changed."""

_LIBRARY = "/usr/lib/*/faketime/libfaketime.so.1"
_LEFT_BY_THE_KILLED = ("/dev/shm/faketime_shm_*", "/dev/shm/sem.faketime_sem_*")  # noqa: S108
"""Ends in the id of the process, and is removed by none that is killed."""


def install(console: Console) -> None:
    """Provide libfaketime.

    Raises:
        Missing: it is not there and cannot be installed from here.
    """
    if not glob.glob(_LIBRARY):
        packages.install({"libfaketime": "clocks that jump"}, console)


class Clocks(msgspec.Struct, frozen=True):
    """`folder` holds a file for each process: what its clock is ahead, in seconds."""

    folder: Path

    def environment(self, process: str) -> dict[str, str]:
        """Return what `process` needs in its environment, so that its clock can be set."""
        (library,) = glob.glob(_LIBRARY)
        self.set(process, 0)
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file(process)),
            "FAKETIME_CACHE_DURATION": str(CACHED),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, process: str, ahead: float) -> None:
        """Set the clock of `process` to be `ahead` so many seconds, from within `CACHED` on."""
        new = self._file(process).with_suffix(".new")
        new.write_text(f"{ahead:+.3f}\n")
        new.replace(self._file(process))  # at once: never half a line

    def _file(self, process: str) -> Path:
        return self.folder / process


@contextlib.contextmanager
def clocks(folder: Path) -> Generator[Clocks]:
    folder.mkdir(parents=True)
    try:
        yield Clocks(folder)
    finally:
        for pattern in _LEFT_BY_THE_KILLED:
            for name in glob.glob(pattern):
                if not psutil.pid_exists(int(name.rpartition("_")[2])):
                    Path(name).unlink(missing_ok=True)
