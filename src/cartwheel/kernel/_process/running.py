"""Every process starts and stops the same way.

Settings are read (or named, if missing), logs begin, and SIGTERM or Ctrl-C set the event that ends
its work. A second one ends the drain, if it is still under way.
"""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import uvloop

from cartwheel.kernel._core import telemetry
from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel._core.wait_for import install_wait_for
from cartwheel.kernel._process.listening import CannotListen
from cartwheel.kernel.servers import Unusable
from cartwheel.kernel.settings import read_or_exit

GC_NET_ALLOCATIONS = 200_000
"""Objects made, less those freed, until the collector looks for cycles: more than hundreds of
requests in hand hold, which would be looked through in vain, time and again."""

Settings = TypeVar("Settings", bound=msgspec.Struct)


class Stop(asyncio.Event):
    """Set when the process is told to stop, and so from when on it is unready.

    await stop.wait()
    await stop.drained(settings.drain_seconds)    # others notice, and it goes on serving
    """

    def __init__(self) -> None:
        super().__init__()
        self._hurry = asyncio.Event()

    def tell(self) -> None:
        """Tell the process to stop. Told again, it drains no longer."""
        (self._hurry if self.is_set() else self).set()

    async def drained(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as the process is told again to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()


Main = Callable[[Settings, Stop], Awaitable[None]]


def run(process: str, settings: type[Settings], main: Main[Settings]) -> None:
    """Run `main` with its settings until it returns; SIGTERM and Ctrl-C set the event it gets."""
    values = read_or_exit(process, settings)
    install_wait_for()
    telemetry.configure(process, getattr(values, "log_level", "INFO"))

    async def supervised() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.tell)
        await main(values, stop)

    # What was imported stays, so the collector need not look through it again and again; and most
    # of what a request makes goes without it.
    gc.freeze()
    gc.set_threshold(GC_NET_ALLOCATIONS, 20, 20)
    try:
        uvloop.run(supervised())
    except (Unusable, CannotListen) as error:
        sys.exit(f"{process} cannot start: {error}")
    log.info("stopped")


async def unless_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Do `work`, which may wait long for others; return False if `stop` was set before its end."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return False
