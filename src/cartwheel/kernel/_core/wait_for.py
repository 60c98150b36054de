"""Gives Python 3.11 the `asyncio.wait_for` of Python 3.12, which MongoDB's and RabbitMQ's clients
wait with.

The old one waits in a task of its own, with two faults
(https://github.com/python/cpython/pull/98518). A caller that is cancelled as the wait ends goes on
as if it had not been: what ought to stop does not. And of a caller that is cancelled twice that
task stays behind: waiting for a condition, it takes the lock of pymongo's topology or pool and
never gives it back, after which the client answers no call any more.
"""

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def wait_for(awaitable: Awaitable[Result], timeout: float | None) -> Result:
    """Return what `awaitable` returns.

    Raises:
        TimeoutError: `timeout` seconds have passed; it has been cancelled.
    """
    async with asyncio.timeout(timeout):
        return await awaitable


def install_wait_for() -> None:
    """Replace `asyncio.wait_for` in this process where it is the old one. May be repeated."""
    if sys.version_info >= (3, 12):
        return
    asyncio.wait_for = asyncio.tasks.wait_for = wait_for
    # pymongo takes it by name: this one from now on, and the old one if it was imported before.
    # Not imported here, because most of what the command line does is done without it.
    if "pymongo.lock" in sys.modules:
        vars(sys.modules["pymongo.lock"])["wait_for"] = wait_for
