"""Events that harm their consumers.

This module decides which. `breaking/sitecustomize.py`, which runs in the services, reads the folder
and does the harm.
"""

import os
from pathlib import Path

import msgspec

BREAKING = Path(__file__).parent / "breaking"


class Mischief(msgspec.Struct, frozen=True):
    """Each file in `folder` is a fault. Its name is the id of an event that crashes its consumer,
    or the name of a service on whose events every handler fails."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the variables that a process needs to do the harm."""
        self.folder.mkdir(exist_ok=True)
        return {"MISCHIEF": str(self.folder), "PYTHONPATH": with_breaking()}

    def begin(self, name: str) -> None:
        (self.folder / name).touch()

    def end(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def end_all(self) -> None:
        for file in self.folder.iterdir():
            file.unlink()


def with_breaking() -> str:
    """Return a PYTHONPATH that makes a process load `breaking/sitecustomize.py`."""
    return f"{BREAKING}:{os.environ.get('PYTHONPATH', '')}"
