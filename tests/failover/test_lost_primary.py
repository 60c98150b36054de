"""Losing the primary takes a few seconds. Without one, each request fails within a moment.

The asserted times are loose, for a busy machine. `pytest -rP` prints the measured times.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pymongo.asynchronous.client_session import AsyncClientSession

from cartwheel.kernel._store.primary import WAIT_SECONDS, has_majority
from cartwheel.kernel.mongodb import Client, Database
from cartwheel.kernel.testing import is_outage, until

from ..replica_set import NAMES, ReplicaSet
from ..waiting import eventually
from .conftest import new_database

DEADLINE_SECONDS = 10.0
"""The deadline of each request."""

LONGEST_GAP_SECONDS = 8.0
LONGEST_FAILURE_SECONDS = 1.0

Lose = Callable[[ReplicaSet, str], Awaitable[None]]


async def kill(members: ReplicaSet, name: str) -> None:
    await members.kill(name)


async def freeze(members: ReplicaSet, name: str) -> None:
    members.freeze(name)


@asynccontextmanager
async def all_back(members: ReplicaSet) -> AsyncGenerator[None]:
    """Make all members run and be healthy at the end, whatever the body did to them."""
    try:
        yield
    finally:
        members.thaw(*NAMES)
        down = [name for name, state in (await members.states()).items() if state == "DOWN"]
        await members.start(*down)
        await members.healthy()


@pytest.fixture
async def database(client: Client) -> Database:
    database = await new_database(client, ())
    await database["things"].insert_one({"_id": "before"})
    return database


async def write(database: Database, number: int) -> None:
    async with until(time.time() + DEADLINE_SECONDS):
        await database["things"].insert_one({"_id": number})


@pytest.mark.parametrize("lose", [kill, freeze])
async def test_when_the_primary_is_lost_writers_wait_for_the_next_one_and_lose_nothing(
    members: ReplicaSet, database: Database, lose: Lose
) -> None:
    done: list[float] = []
    failed: list[Exception] = []

    async def keep_writing(first: int) -> None:
        for number in range(first, first + 1_000_000):
            try:
                await write(database, number)
            except Exception as error:
                failed.append(error)
            else:
                done.append(time.monotonic())
                stored.add(number)
            await asyncio.sleep(0.02)

    stored: set[int] = set()
    async with all_back(members):
        old = await members.primary()
        writers = [asyncio.create_task(keep_writing(first * 1_000_000)) for first in range(4)]
        await asyncio.sleep(1)
        lost = time.monotonic()
        await lose(members, old)

        async def goes_on() -> None:
            assert done[-1] > lost + 1

        await eventually(goes_on)
        await asyncio.sleep(1)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    gap = max(after - before for before, after in itertools.pairwise(done))
    print(f"{lose.__name__}: {gap:.2f} s without a write, {len(failed)} failed")  # noqa: T201
    assert gap < LONGEST_GAP_SECONDS
    assert all(is_outage(error) for error in failed), failed
    found = {each["_id"] async for each in database["things"].find({"_id": {"$ne": "before"}})}
    assert found >= stored


async def test_a_new_primary_is_read_once_it_knows_what_was_acknowledged_before_it(
    members: ReplicaSet, database: Database
) -> None:
    """A new primary knows what the last one had acknowledged when a majority has a write of its
    own. Here the other member votes, but replicates nothing."""
    things = database["things"]
    async with all_back(members):
        old = await members.primary()
        async with members.copying_nothing(await members.last_in_chain()):
            await things.insert_one({"_id": "acknowledged"})
            await members.kill(old)
            await members.primary()
            read = asyncio.create_task(things.find_one({"_id": "acknowledged"}))
            await asyncio.sleep(1)
            assert not read.done()
        assert await read == {"_id": "acknowledged"}


async def attempt(
    work: Callable[[], Awaitable[object]], *, within: float = DEADLINE_SECONDS
) -> tuple[float, Exception | None]:
    """Return how long it took, and what it raised."""
    began = time.monotonic()
    try:
        async with until(time.time() + within):
            await work()
    except Exception as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


@pytest.mark.parametrize("lose", [kill, freeze])
async def test_without_a_primary_requests_wait_at_first_and_then_fail_at_once(
    members: ReplicaSet, database: Database, client: Client, lose: Lose
) -> None:
    things = database["things"]

    async def in_transaction() -> None:
        async def insert(session: AsyncClientSession) -> None:
            await things.insert_one({"_id": "in a transaction"}, session=session)

        async with client.start_session() as session:
            await session.with_transaction(insert)

    begun, no_member = asyncio.Event(), asyncio.Event()

    async def about_to_commit() -> None:
        async def insert(session: AsyncClientSession) -> None:
            await things.insert_one({"_id": "about to commit"}, session=session)
            begun.set()
            await no_member.wait()

        async with client.start_session() as session:
            await session.with_transaction(insert)

    requests: list[Callable[[], Awaitable[object]]] = [
        lambda: things.find_one({"_id": "before"}),
        lambda: things.insert_one({"_id": "during"}),
        lambda: things.find({}).to_list(),
        in_transaction,
    ]

    async with all_back(members):
        committing = asyncio.create_task(attempt(about_to_commit, within=3 * DEADLINE_SECONDS))
        await begun.wait()
        for name in NAMES:
            await lose(members, name)
        lost = time.monotonic()
        no_member.set()

        early = await asyncio.gather(*map(attempt, requests), committing)
        waited = time.monotonic() - lost
        # A request that was already running may have waited for less time than the others.
        await asyncio.sleep(max(WAIT_SECONDS + 0.5 - waited, 0))
        late = [await asyncio.gather(*map(attempt, requests)) for _ in range(3)]
        slowest = max(took for each in late for took, _ in each)
        print(f"{lose.__name__}: at first {waited:.2f} s, then {slowest:.3f} s")  # noqa: T201

    assert [is_outage(error) for _, error in early if error] == [True] * len(early)
    assert max(took for took, _ in early) > WAIT_SECONDS / 2
    assert waited < DEADLINE_SECONDS - 1
    assert [is_outage(error) for each in late for _, error in each if error] == [True] * (
        3 * len(requests)
    )
    assert slowest < LONGEST_FAILURE_SECONDS

    async def works_again() -> None:
        _, error = await attempt(lambda: things.find_one({"_id": "before"}))
        assert error is None, error

    await eventually(works_again)


async def test_a_member_that_has_just_started_has_no_majority(members: ReplicaSet) -> None:
    """A client may ask it, because it was the primary before it was restarted."""
    async with all_back(members):
        for name in NAMES:
            await members.kill(name)
        await members.start(NAMES[0])
        async with members.client(NAMES[0]) as client:
            said = await client.admin.command("hello")

    assert "majorityOpTime" not in said["lastWrite"]
    assert not has_majority(said)
