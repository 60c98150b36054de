"""Events that harm whoever handles them. This says when; `breaking/sitecustomize.py`, which runs in
the services, looks into the folder and does the harm."""

import os
from pathlib import Path

import msgspec

BREAKING = Path(__file__).parent / "breaking"


class Mischief(msgspec.Struct, frozen=True):
    """A file in `folder` stands for what is wrong: it bears the name of an event that kills its
    reader, or of a service whose every event fails."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """Return what a process needs in its environment to do the harm."""
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
    """Return a PYTHONPATH that has a process load `breaking/sitecustomize.py`."""
    return f"{BREAKING}:{os.environ.get('PYTHONPATH', '')}"
