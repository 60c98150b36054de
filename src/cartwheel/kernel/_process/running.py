"""Every process starts and stops the same way.

It reads its settings (or reports the bad ones) and sets up logging. SIGTERM or Ctrl-C sets the
event that ends its work; a second one cuts the drain short.
"""

import asyncio
import contextlib
import gc
import resource
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
"""Run the cyclic GC every 200,000 net allocations. Hundreds of concurrent requests allocate fewer;
scanning them again and again would find nothing."""

Settings = TypeVar("Settings", bound=msgspec.Struct)


class Stop(asyncio.Event):
    """Set when the process is told to stop. From then on it is unready.

    await stop.wait()
    await stop.drained(settings.drain_seconds)    # still serving, while load balancers notice
    """

    def __init__(self) -> None:
        super().__init__()
        self._hurry = asyncio.Event()

    def tell(self) -> None:
        """Tell the process to stop. A second call cuts the drain short."""
        (self._hurry if self.is_set() else self).set()

    async def drained(self, seconds: float) -> None:
        """Return after `seconds`, or as soon as the process is told to stop again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()


Main = Callable[[Settings, Stop], Awaitable[None]]


def run(process: str, settings: type[Settings], main: Main[Settings]) -> None:
    """Run `main` with its settings until it returns. SIGTERM and Ctrl-C set its `Stop`."""
    no_core_dumps()
    values = read_or_exit(process, settings)
    install_wait_for()
    telemetry.configure(process, getattr(values, "log_level", "INFO"))

    async def supervised() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.tell)
        await main(values, stop)

    # Imported modules stay in memory, so the GC need not scan them. Most objects of a request are
    # freed without the GC.
    gc.freeze()
    gc.set_threshold(GC_NET_ALLOCATIONS, 20, 20)
    try:
        uvloop.run(supervised())
    except (Unusable, CannotListen) as error:
        sys.exit(f"{process} cannot start: {error}")
    log.info("stopped")


def no_core_dumps() -> None:
    """Keep this process, and those that it starts from now on, from leaving core dumps.

    A dump would hold the tokens, passwords and addresses that are in memory.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


async def unless_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Run `work`, which may wait for long; return False if `stop` is set before it ends."""
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
