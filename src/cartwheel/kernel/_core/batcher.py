"""A batcher runs a batch handler: one batch is in flight while the next one fills.

An idle batcher handles a single item at once; a busy one then takes all items that came in
meanwhile. A durable write costs nearly the same for one item as for many, so the busier the system,
the cheaper each item. Where nobody waits for the result, items may also `Gather` for a while.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from cartwheel.kernel._core.deadline import until
from cartwheel.kernel._core.outages import is_outage

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE_SECONDS = 1.0
"""Seconds after which the next batch no longer waits for the current one, which may be stuck."""

BATCH_TIMEOUT_SECONDS = 10.0
"""Seconds for one batch, after which its database counts as down."""

BATCH_ITEMS = 64
"""The default limit of a batch."""

BatchHandler = Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]]
"""Returns, in the items' order, each item's result or the exception for it alone."""


class Gather(msgspec.Struct, frozen=True):
    """A batch of fewer than `limit` items waits until its oldest is `seconds` old or `stop` is set.

    Use it only where nobody waits for the result: on an idle system, it adds a delay.
    """

    seconds: float
    stop: asyncio.Event
    limit: int = BATCH_ITEMS


class _Entry(msgspec.Struct, Generic[Item, Result], frozen=True, eq=False):
    item: Item
    future: asyncio.Future[Result]
    since: float
    """When it was submitted, by the event loop's clock."""


class Batcher(Generic[Item, Result]):
    """`limit` is the most items of one batch."""

    def __init__(
        self,
        handler: BatchHandler[Item, Result],
        *,
        limit: int = BATCH_ITEMS,
        gather: Gather | None = None,
    ) -> None:
        self._handler = handler
        self._limit = limit
        self._gather = gather
        self._full = asyncio.Event()
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        # A batch belongs to no single item: it must not run in one item's trace or deadline.
        self._context = contextvars.copy_context()

    async def submit(self, item: Item) -> Result:
        """Return the handler's result for `item`.

        Raises:
            Refusal: the handler refused this item.
            Exception: the handler raised it for this item alone, or for the whole batch.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Entry(item, future, loop.time()))
        if len(self._waiting) >= self._limit:
            self._full.set()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), context=self._context)
        try:
            return await future
        finally:
            # Breaks a reference cycle: the future's exception refers to this frame.
            del future

    async def idle(self) -> None:
        """Return when nothing waits and no batch is in flight."""
        while self._worker is not None or self._running:
            await asyncio.wait({*self._running, *([self._worker] if self._worker else [])})

    async def _work(self) -> None:
        # Items submitted in the same turn of the loop belong to the first batch.
        await asyncio.sleep(0)
        while self._waiting:
            if self._gather is not None:
                await self._wait_to_fill(self._gather)
            count = min(self._limit, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            if len(self._waiting) < self._limit:
                self._full.clear()
            running = asyncio.create_task(self._run(batch))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
            await asyncio.wait({running}, timeout=PATIENCE_SECONDS)
        self._worker = None

    async def _wait_to_fill(self, gather: Gather) -> None:
        """Return when the next batch should start."""
        age = asyncio.get_running_loop().time() - self._waiting[0].since
        ends = {asyncio.create_task(event.wait()) for event in (self._full, gather.stop)}
        await asyncio.wait(
            ends, timeout=max(gather.seconds - age, 0), return_when=asyncio.FIRST_COMPLETED
        )
        for end in ends:
            end.cancel()

    async def _run(self, batch: list[_Entry[Item, Result]]) -> None:
        try:
            async with until(time.time() + BATCH_TIMEOUT_SECONDS):
                results = await self._handler([entry.item for entry in batch])
        except Exception as error:
            if len(batch) == 1 or is_outage(error):
                for entry in batch:
                    _settle(entry.future, error)
                return
            # One item may be at fault. Run each alone, so that it harms no other.
            for entry in batch:
                await self._run([entry])
            return
        for entry, result in zip(batch, results, strict=True):
            _settle(entry.future, result)


def _settle(future: asyncio.Future[Result], result: Result | Exception) -> None:
    if future.done():  # the caller has given up
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
