"""Waiting for what other processes do by themselves, and tell nobody."""

import asyncio
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.2


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Return once `check` says so; it may take for ever."""
    while not await check():  # noqa: ASYNC110 another process will not set an event
        await asyncio.sleep(_POLL_SECONDS)
