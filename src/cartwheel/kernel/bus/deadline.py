"""Until when the work at hand makes sense: a request's deadline, handed on to what it causes."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pymongo

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def left(default: float) -> float:
    """Return how many seconds are left, at most `default`."""
    until = _deadline.get()
    return default if until is None else min(default, until - time.time())


GRACE = 1.0
"""Seconds that the driver gets beyond a deadline to say itself what is wrong."""


@asynccontextmanager
async def until(deadline: float) -> AsyncGenerator[None]:
    """Work under `deadline` (Unix time, seconds), the database's driver too.

    The driver alone would wait 30 s for a server that is gone, and for an answer that was lost with
    its connection sometimes for ever.

    Raises:
        TimeoutError: time is up, and not even the driver has noticed.
    """
    token = _deadline.set(deadline)
    left = max(deadline - time.time(), 0.001)
    try:
        with pymongo.timeout(left):
            async with asyncio.timeout(left + GRACE):
                yield
    finally:
        _deadline.reset(token)
