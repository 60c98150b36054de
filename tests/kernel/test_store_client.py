"""MongoDB's driver survives that its callers are cancelled."""

import asyncio

from pymongo.lock import (
    _async_cond_wait,  # pyright: ignore[reportPrivateUsage] because its locks are not to be had otherwise
    _async_create_condition,  # pyright: ignore[reportPrivateUsage]
    _async_create_lock,  # pyright: ignore[reportPrivateUsage]
)

from cartwheel.kernel.store import client as mongodb

assert mongodb  # whoever has it may cancel what waits for the driver


async def test_a_caller_that_is_cancelled_twice_leaves_no_lock_taken() -> None:
    lock = _async_create_lock()
    condition = _async_create_condition(lock)

    async def select_server() -> None:
        async with lock:
            await _async_cond_wait(condition, 10)

    waiting = asyncio.create_task(select_server())
    await asyncio.sleep(0.01)
    async with lock:
        waiting.cancel()
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(waiting, return_exceptions=True)

    async with asyncio.timeout(1), lock:
        pass
