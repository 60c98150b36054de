"""Waiting for what follows by events."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def eventually(check: Callable[[], Awaitable[Result]], *, within: float = 30.0) -> Result:
    """Return what `check` returns once none of its assertions fails any more.

    `within` is for a busy machine; a shorter one only where the promise is a time.

    Raises:
        AssertionError: the last one, after `within` seconds.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while True:
        try:
            return await check()
        except AssertionError:
            if loop.time() > until:
                raise
        await asyncio.sleep(0.05)
