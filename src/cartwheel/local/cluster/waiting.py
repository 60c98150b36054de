"""Polling for changes in other processes, which send no signal."""

import asyncio
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.2


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Return when `check` returns true. There is no time limit."""
    while not await check():  # noqa: ASYNC110 another process will not set an event
        await asyncio.sleep(_POLL_SECONDS)
