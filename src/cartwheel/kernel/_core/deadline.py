"""The deadline of the current work: a request's deadline also applies to what it causes."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pymongo

from cartwheel.kernel._core import time_left

GRACE_SECONDS = 1.0
"""Seconds after the deadline in which the driver may still report its own error."""


@asynccontextmanager
async def until(deadline: float) -> AsyncGenerator[None]:
    """Run the body under `deadline` (Unix time, seconds); it applies to the database driver too.

    By itself the driver waits 30 s for a server that is down. For an answer that was lost with its
    connection, it may wait forever.

    Raises:
        TimeoutError: the deadline has passed, and the driver has not raised an error.
    """
    token = time_left.deadline.set(deadline)
    left = max(deadline - time.time(), 0.001)
    try:
        with pymongo.timeout(left):
            async with asyncio.timeout(left + GRACE_SECONDS):
                yield
    finally:
        time_left.deadline.reset(token)
