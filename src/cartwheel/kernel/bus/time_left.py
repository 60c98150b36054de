"""How much time the work at hand has left: `deadline.until` sets it, requests ask."""

import time
from contextvars import ContextVar

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Unix time, seconds; None outside of a handler."""


def at_most(default: float) -> float:
    """Return how many seconds are left, at most `default`."""
    until = deadline.get()
    return default if until is None else min(default, until - time.time())
