"""Until when the work at hand makes sense: a request's deadline, handed on to what it causes."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import pymongo

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def left(default: float) -> float:
    """Return how many seconds are left, at most `default`."""
    until = _deadline.get()
    return default if until is None else min(default, until - time.time())


@contextmanager
def until(deadline: float) -> Generator[None]:
    """Work under `deadline` (Unix time, seconds), the database's driver too.

    The driver alone would wait 30 s for a server that is gone.
    """
    token = _deadline.set(deadline)
    try:
        with pymongo.timeout(max(deadline - time.time(), 0.001)):
            yield
    finally:
        _deadline.reset(token)
