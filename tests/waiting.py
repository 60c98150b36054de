"""Waits for the effects of events."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def eventually(check: Callable[[], Awaitable[Result]], *, within: float = 30.0) -> Result:
    """Repeat `check` until no assertion in it fails; return its result.

    The default of `within` suits a busy machine. Use a shorter one only to test a promised time.

    Raises:
        AssertionError: the last failure, after `within` seconds.
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
