"""Ends the process if MongoDB's driver is stuck.

After connections were lost in the midst of things, the driver has been seen to answer no call any
more, not even with the time-out that it was given (`make chaos SEED=301`). What such a process
waits for never comes; it is of more use dead, and started again, which loses nothing.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from pymongo.errors import PyMongoError

from cartwheel.kernel.bus.deadline import until
from cartwheel.kernel.telemetry import log

LOOK_EVERY = 5.0
ANSWER_WITHIN = 5.0
STRIKES = 3
"""Calls in a row that end neither with an answer nor with the driver's own error."""


def end_process() -> None:
    os._exit(1)


async def watch(
    ping: Callable[[], Awaitable[object]], *, give_up: Callable[[], None] = end_process
) -> None:
    """Call `ping` for ever, and `give_up` once the driver is stuck; a server that is merely away
    makes the driver raise its own error, and is waited for."""
    strikes = 0
    while strikes < STRIKES:
        await asyncio.sleep(LOOK_EVERY)
        try:
            async with until(time.time() + ANSWER_WITHIN):
                await ping()
            strikes = 0
        except PyMongoError:
            strikes = 0
        except TimeoutError:
            strikes += 1
    log.critical("MongoDB's driver is stuck: this process ends, to be started again")
    give_up()
