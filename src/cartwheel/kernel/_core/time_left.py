"""The time left until the current deadline, which `deadline.until` sets and requests obey."""

import time
from contextvars import ContextVar

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
"""Unix time in seconds; None outside of a handler."""


def time_left(at_most: float) -> float:
    """Return the seconds left until the current deadline, at most `at_most`.

    while time_left(at_most=10.0) > 1.0:
        ...
    """
    until = deadline.get()
    return at_most if until is None else min(at_most, until - time.time())
