"""The history of a round: requests with their answers, and injected faults, as JSON lines."""

import time
from pathlib import Path
from typing import Any

import msgspec


class Call(msgspec.Struct, frozen=True, kw_only=True, tag="call"):
    """A request and its answer. Without an answer, `status` is None and `error` says why.

    `at` is the Unix time at which it was sent, `took` the seconds until the answer.
    """

    at: float
    took: float
    who: str
    method: str
    path: str
    key: str | None
    body: Any
    status: int | None = None
    answer: Any = None
    error: str | None = None
    trace: str | None = None

    @property
    def code(self) -> str | None:
        """Return the code, if the answer is a problem document."""
        if self.status is None or self.status < 400 or self.answer is None:
            return None
        return self.answer["code"]


class Injected(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """An injected fault."""

    at: float
    what: str


class History:
    """Keeps everything in memory and, for the analysis of a failed run, in `file`."""

    def __init__(self, file: Path) -> None:
        self.calls: list[Call] = []
        self.faults: list[Injected] = []
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.open("ab")

    def add(self, call: Call) -> None:
        self.calls.append(call)
        self._write(call)

    def fault(self, what: str) -> None:
        injected = Injected(at=time.time(), what=what)
        self.faults.append(injected)
        self._write(injected)

    def close(self) -> None:
        self._file.close()

    def _write(self, entry: Call | Injected) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
