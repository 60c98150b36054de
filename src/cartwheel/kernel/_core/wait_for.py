"""Backports the `asyncio.wait_for` of Python 3.12 to 3.11; MongoDB's and RabbitMQ's clients use it.

The old one waits in a separate task, which has two bugs
(https://github.com/python/cpython/pull/98518). If the caller is cancelled just as the wait ends,
the cancellation is lost. If the caller is cancelled twice, the task survives: waiting for a
condition, it acquires the lock of pymongo's topology or pool and never releases it, and the client
hangs.
"""

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def wait_for(awaitable: Awaitable[Result], timeout: float | None) -> Result:
    """Return what `awaitable` returns.

    Raises:
        TimeoutError: `timeout` seconds have passed; `awaitable` was cancelled.
    """
    async with asyncio.timeout(timeout):
        return await awaitable


def install_wait_for() -> None:
    """Replace `asyncio.wait_for` in this process if it is the old one. May be repeated."""
    if sys.version_info >= (3, 12):
        return
    asyncio.wait_for = asyncio.tasks.wait_for = wait_for
    # pymongo imports it by name, so it keeps the old one if it was imported before. Not imported
    # here, because most commands do without it.
    if "pymongo.lock" in sys.modules:
        vars(sys.modules["pymongo.lock"])["wait_for"] = wait_for
