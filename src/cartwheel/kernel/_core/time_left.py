"""How much time the work at hand has left: `deadline.until` sets it, requests ask."""

import time
from contextvars import ContextVar

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Unix time, seconds; None outside of a handler."""


def time_left(at_most: float) -> float:
    """Return how many seconds the work at hand has left, at most `at_most`.

    while time_left(at_most=10.0) > 1.0:
        ...
    """
    until = deadline.get()
    return at_most if until is None else min(at_most, until - time.time())
