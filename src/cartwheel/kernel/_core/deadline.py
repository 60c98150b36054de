"""Until when the work at hand makes sense: a request's deadline, handed on to what it causes."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pymongo

from cartwheel.kernel._core import time_left

GRACE_SECONDS = 1.0
"""Seconds that the driver gets beyond a deadline to say itself what is wrong."""


@asynccontextmanager
async def until(deadline: float) -> AsyncGenerator[None]:
    """Work under `deadline` (Unix time, seconds), the database's driver too.

    The driver alone would wait 30 s for a server that is gone, and for an answer that was lost with
    its connection sometimes for ever.

    Raises:
        TimeoutError: time is up, and not even the driver has noticed.
    """
    token = time_left.deadline.set(deadline)
    left = max(deadline - time.time(), 0.001)
    try:
        with pymongo.timeout(left):
            async with asyncio.timeout(left + GRACE_SECONDS):
                yield
    finally:
        time_left.deadline.reset(token)
