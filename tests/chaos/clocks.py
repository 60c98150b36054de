"""Clocks that jump: libfaketime, loaded into a process, adds a file's number to its wall clock.

The monotonic clock is not affected, just as when an administrator or NTP sets a clock.
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
"""Seconds until a process notices that its file has changed."""

_LIBRARY = "/usr/lib/*/faketime/libfaketime.so.1"
_LEFT_BY_THE_KILLED = ("/dev/shm/faketime_shm_*", "/dev/shm/sem.faketime_sem_*")  # noqa: S108
"""Files that end in the id of a process. A killed process does not remove them."""


def install(console: Console) -> None:
    """Provide libfaketime.

    Raises:
        Missing: it is missing and cannot be installed automatically.
    """
    if not glob.glob(_LIBRARY):
        packages.install({"libfaketime": "clocks that jump"}, console)


class Clocks(msgspec.Struct, frozen=True):
    """`folder` has a file per process, with the seconds by which its clock is ahead."""

    folder: Path

    def environment(self, process: str) -> dict[str, str]:
        """Return the variables that `process` needs so that its clock can be set."""
        (library,) = glob.glob(_LIBRARY)
        self.set(process, 0)
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file(process)),
            "FAKETIME_CACHE_DURATION": str(CACHED),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, process: str, ahead: float) -> None:
        """Set the clock of `process` `ahead` by this many seconds. It takes up to `CACHED`."""
        new = self._file(process).with_suffix(".new")
        new.write_text(f"{ahead:+.3f}\n")
        new.replace(self._file(process))  # atomic: nobody reads half a line

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
