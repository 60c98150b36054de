"""Shows progress: permanent lines and, on a terminal, one line that is redrawn.

    with console.doing("starting RabbitMQ"):
        ...

It uses only the standard library, because `bootstrap` prints before anything is installed.
"""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

PATIENCE_SECONDS = 1.8
"""Seconds until a sign of life: a silence of two seconds looks like a hang."""

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Console:
    """Writes to `stream`, by default standard error. A `quiet` console writes nothing."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._stream = stream or sys.stderr
        self.interactive = not quiet and self._stream.isatty()
        self._doing: dict[int, tuple[str, float]] = {}
        self._lock = threading.RLock()
        self._ids = itertools.count()
        self._last_line = time.monotonic()
        self._ticker: threading.Thread | None = None

    def say(self, text: str) -> None:
        """Write a permanent line."""
        if self.quiet:
            return
        with self._lock:
            self._stream.write(f"{self._clear()}{text}\n")
            self._stream.flush()
            self._last_line = time.monotonic()

    @contextmanager
    def doing(self, text: str) -> Generator[Callable[[str], None]]:
        """Show `text` for as long as the body runs. The yielded function adds the progress."""
        started = time.monotonic()
        key = next(self._ids)

        def come_so_far(how_far: str) -> None:
            with self._lock:
                self._doing[key] = (f"{text}: {how_far}", started)

        if not self.interactive:
            self.say(f"… {text}")
        with self._lock:
            self._doing[key] = (text, started)
            self._tick_in_background()
        try:
            yield come_so_far
        except BaseException:
            self._done(key)
            raise
        self._done(key)
        self.say(f"✓ {text} ({time.monotonic() - started:.1f} s)")

    def _done(self, key: int) -> None:
        with self._lock:
            del self._doing[key]
            if self.interactive and not self._doing:
                self._stream.write(self._clear())
                self._stream.flush()

    def _clear(self) -> str:
        return "\r\x1b[K" if self.interactive else ""

    def _tick_in_background(self) -> None:
        # A thread, not a task: it works while pip or apt blocks, and needs no event loop.
        if not self.quiet and not (self._ticker and self._ticker.is_alive()):
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        for frame in itertools.cycle(_SPINNER):
            time.sleep(0.1)
            with self._lock:
                if not self._doing:
                    self._ticker = None
                    return
                now = time.monotonic()
                state = ", ".join(
                    f"{text} ({now - started:.0f} s)" for text, started in self._doing.values()
                )
                if self.interactive:
                    self._stream.write(f"{self._clear()}{frame} {state}"[:200])
                    self._stream.flush()
                elif now - self._last_line >= PATIENCE_SECONDS:
                    self.say(f"  still {state}")


QUIET = Console(quiet=True)
