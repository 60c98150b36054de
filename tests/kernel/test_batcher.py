"""What shares a batch, and how long anything waits for that."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from cartwheel.kernel._core.batcher import Batcher, Gather

FOR_EVER = 3600.0
SOON = 5.0
"""Seconds, on a busy machine, for what goes at once."""


@pytest.fixture
async def stop() -> AsyncGenerator[asyncio.Event]:
    """Is set at the end: whatever still gathers then must not keep the loop."""
    event = asyncio.Event()
    yield event
    event.set()


class Batches:
    """Handles batches and remembers them; each takes so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.taken: list[list[int]] = []
        self._seconds = seconds

    async def handle(self, items: list[int]) -> list[int]:
        self.taken.append(items)
        await asyncio.sleep(self._seconds)
        return items


async def submitted(lane: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    """Return when all of `items` are in the lane."""
    tasks = [asyncio.create_task(lane.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_an_idle_batcher_handles_an_item_at_once() -> None:
    batches = Batches()

    async with asyncio.timeout(SOON):
        assert await Batcher(batches.handle).submit(1) == 1

    assert batches.taken == [[1]]


async def test_items_that_arrive_while_a_batch_gathers_join_it(stop: asyncio.Event) -> None:
    batches = Batches()
    lane = Batcher(batches.handle, gather=Gather(0.5, stop))

    first = await submitted(lane, 1)
    await asyncio.sleep(0.05)
    later = await submitted(lane, 2, 3)

    assert await asyncio.gather(*first, *later) == [1, 2, 3]
    assert batches.taken == [[1, 2, 3]]


async def test_a_lone_item_is_handled_when_its_time_is_up(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    lane = Batcher(Batches().handle, gather=Gather(0.2, stop))
    began = loop.time()

    await lane.submit(1)

    assert 0.19 < loop.time() - began < 0.2 + SOON


async def test_a_full_batch_is_handled_at_once(stop: asyncio.Event) -> None:
    batches = Batches()
    lane = Batcher(batches.handle, limit=2, gather=Gather(FOR_EVER, stop))

    async with asyncio.timeout(SOON):
        tasks = await submitted(lane, 1, 2, 3, 4, 5)
        await asyncio.gather(*tasks[:4])

    await asyncio.sleep(0.05)
    assert batches.taken == [[1, 2], [3, 4]]  # the next one is not full


async def test_a_gathering_batch_is_handled_at_once_when_the_process_stops(
    stop: asyncio.Event,
) -> None:
    batches = Batches()
    lane = Batcher(batches.handle, gather=Gather(FOR_EVER, stop))
    gathering = await submitted(lane, 1, 2)
    await asyncio.sleep(0.05)
    assert batches.taken == []

    async with asyncio.timeout(SOON):
        stop.set()
        await asyncio.gather(*gathering)
        await lane.submit(3)  # a step that follows, while what is in hand is finished

    assert batches.taken == [[1, 2], [3]]


async def test_the_wait_for_the_previous_batch_counts_as_gathering(
    stop: asyncio.Event,
) -> None:
    """The time runs from when an item came, not from when the lane looks at it."""
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    async def handle(items: list[int]) -> list[int]:
        begun.append(loop.time())
        await asyncio.sleep(1.0)
        return items

    lane = Batcher(handle, limit=2, gather=Gather(1.0, stop))
    tasks = await submitted(lane, 1, 2, 3)

    await asyncio.gather(*tasks)

    assert begun[1] - begun[0] < 1.9  # 1 s of handling, and not 1 s of gathering after that


async def test_giving_up_while_a_batch_gathers_harms_no_other(
    stop: asyncio.Event,
) -> None:
    lane = Batcher(Batches().handle, gather=Gather(0.2, stop))
    [impatient, patient] = await submitted(lane, 1, 2)
    await asyncio.sleep(0.05)

    impatient.cancel()

    assert await patient == 2


async def test_a_bad_item_fails_alone(stop: asyncio.Event) -> None:
    async def divide(items: list[int]) -> list[int]:
        return [6 // item for item in items]

    lane = Batcher(divide, gather=Gather(0.1, stop))

    outcomes = await asyncio.gather(*(lane.submit(n) for n in (2, 0, 3)), return_exceptions=True)

    assert outcomes[::2] == [3, 2]
    assert isinstance(outcomes[1], ZeroDivisionError)
