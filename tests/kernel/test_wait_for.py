"""Who is cancelled while waiting stops, and leaves nothing behind, on Python 3.11 too."""

import asyncio
import subprocess
import sys

import pytest
from pymongo.lock import (
    _async_cond_wait,  # pyright: ignore[reportPrivateUsage] because the driver's locks are not to be had otherwise
    _async_create_condition,  # pyright: ignore[reportPrivateUsage]
    _async_create_lock,  # pyright: ignore[reportPrivateUsage]
)

import cartwheel.kernel

assert cartwheel.kernel  # which repairs it for everybody


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


async def test_a_caller_that_is_cancelled_as_its_wait_ends_stops() -> None:
    came = asyncio.Event()

    async def wait() -> None:
        await asyncio.wait_for(came.wait(), 10)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    came.set()
    waiting.cancel()
    await asyncio.wait({waiting})

    assert waiting.cancelled()


@pytest.mark.parametrize("imports", ["pymongo, cartwheel.kernel", "cartwheel.kernel, pymongo"])
def test_the_driver_waits_with_it_in_whatever_order_they_are_imported(imports: str) -> None:
    same = "from asyncio import wait_for; assert pymongo.lock.wait_for is wait_for, wait_for"
    program = f"import {imports}, pymongo.lock; {same}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: S603 our own words
    assert ran.stderr == ""
