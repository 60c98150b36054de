"""A stuck driver ends its process; a server that is away does not."""

import asyncio

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from cartwheel.kernel.bus import deadline
from cartwheel.kernel.store import watchdog


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(watchdog, "ANSWER_WITHIN", 0.02)
    monkeypatch.setattr(deadline, "GRACE", 0.01)


async def test_a_driver_that_answers_nothing_any_more_ends_its_process() -> None:
    ended: list[bool] = []

    async def stuck() -> None:
        await asyncio.sleep(3600)

    async with asyncio.timeout(5):
        await watchdog.watch(stuck, give_up=lambda: ended.append(True))

    assert ended == [True]


async def test_a_server_that_is_away_or_slow_now_and_then_is_waited_for() -> None:
    looks = 0

    async def away_or_slow() -> None:
        nonlocal looks
        looks += 1
        if looks % 3:
            await asyncio.sleep(3600)
        raise ServerSelectionTimeoutError("away")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await watchdog.watch(away_or_slow, give_up=lambda: pytest.fail("gave up"))
    assert looks > 9
