"""Shows the current test when pytest has been silent for two seconds, and what is being started.

With xdist, the controller shows the tests, because the workers tell it which tests they start. Each
worker shows what it starts. Both bypass pytest's capture with copies of the original streams.
"""

import os
import threading
import time
from collections.abc import Iterator

import pytest

from cartwheel.local.console import PATIENCE_SECONDS, Console


class Progress:
    """The plugin. It closes `out`, the file descriptor of the terminal or the log."""

    def __init__(self, out: int, *, patience: float = PATIENCE_SECONDS) -> None:
        self._out = out
        self._patience = patience
        self._overwrites = os.isatty(out)
        self._running: dict[str, float] = {}
        self._idle = "collecting the tests"
        self._began = self._last = time.monotonic()
        self._before = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def pytest_sessionstart(self) -> None:
        self._ticker.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with self._lock:
            self._running[nodeid] = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:  # pytest writes a letter now
            with self._lock:
                self._clear()
                self._last = time.monotonic()
                self._before = "\n"

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        with self._lock:
            self._running.pop(nodeid, None)
            self._idle, self._began = "stopping what the tests used", time.monotonic()

    def pytest_sessionfinish(self) -> None:
        with self._lock:
            self._clear()

    def pytest_unconfigure(self) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join()
        os.close(self._out)

    def _tick(self) -> None:
        while not self._ended.wait(0.1):
            with self._lock:
                now = time.monotonic()
                if now - self._last >= self._patience:
                    self._say(", ".join(self._state(now)))
                    self._last = now

    def _state(self, now: float) -> Iterator[str]:
        for what, since in (self._running or {self._idle: self._began}).items():
            yield f"{what} ({now - since:.0f} s)"

    def _say(self, text: str) -> None:
        line = f"\r\x1b[K  … {text}"[:200] if self._overwrites else f"  … {text}\n"
        os.write(self._out, f"{self._before}{line}".encode())
        self._before = ""

    def _clear(self) -> None:
        if self._overwrites and not self._before:
            os.write(self._out, b"\r\x1b[K")


class Lines(Console):
    """A console without a ticker, because `Progress` shows the progress."""

    def _tick_in_background(self) -> None:
        pass


def configure(config: pytest.Config) -> Console:
    """Register the plugin, except in an xdist worker; return the console for messages."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        config.pluginmanager.register(Progress(os.dup(1)))
    stream = os.fdopen(os.dup(2), "w")
    config.add_cleanup(stream.close)
    console = Lines(stream)
    console.interactive = False
    return console
