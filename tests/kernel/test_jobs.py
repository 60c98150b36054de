"""A job continues past a failing item, which is retried after ever longer pauses."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from pymongo import ASCENDING
from structlog.typing import EventDict

from cartwheel.kernel._core import jobs
from cartwheel.kernel._store.client import Database, Document
from cartwheel.kernel._store.due import DueItems
from cartwheel.kernel._store.outbox import Outboxes
from cartwheel.kernel.errors import Unavailable

from ..logs import logged_by
from .test_aggregates import CHANGED, NEW, stored_in

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Work(NamedTuple):
    """A job that marks each thing as done, and that fails on those that `fails` names."""

    database: Database
    fails: dict[str, Exception]
    tried: list[str]

    @property
    def things(self) -> DueItems:
        """Made anew each time, as by another replica or after a restart."""
        return DueItems(
            self.database["things"],
            {"status": "OPEN"},
            when=lambda now: {"opened_at": {"$lt": now}},
        )

    async def add(self, *names: str) -> None:
        opened = {"status": "OPEN", "version": 1, "opened_at": NOW - SECOND}
        await self.database["things"].insert_many([{"_id": name, **opened} for name in names])

    async def run(self, *, after: timedelta = timedelta(0)) -> None:
        """Run the job as if it were `after` so long."""
        await jobs.for_each("tests", self.things, self._do, now=lambda: NOW + after)

    async def run_in_batches(self, size: int) -> None:
        await jobs.in_batches("tests", self.things, self._do_all, now=lambda: NOW, size=size)

    async def _do(self, name: str) -> None:
        await self._do_all([name])

    async def _do_all(self, names: list[str]) -> None:
        self.tried.extend(names)
        for name in names:
            if name in self.fails:
                raise self.fails[name]
        query = {"_id": {"$in": names}}
        await self.database["things"].update_many(query, {"$set": {"status": "DONE"}})

    async def document(self, name: str) -> Document:
        found = await self.database["things"].find_one({"_id": name})
        assert found
        return found

    async def open(self) -> list[str]:
        found = self.database["things"].find({"status": "OPEN"}).sort("_id")
        return [document["_id"] async for document in found]


@pytest.fixture
async def work(database: Database) -> Work:
    await database["things"].create_index(
        [("status", ASCENDING), ("due_at", ASCENDING), ("opened_at", ASCENDING)]
    )
    return Work(database, fails={}, tried=[])


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[EventDict]:
    return logged_by(monkeypatch, "kernel._core.jobs")


def named(count: int) -> list[str]:
    return [f"thing {number:02}" for number in range(count)]


@pytest.mark.parametrize("fault", [ValueError("no"), Unavailable("away")])
async def test_a_failing_item_does_not_delay_the_others(work: Work, fault: Exception) -> None:
    await work.add(*named(50))
    work.fails["thing 00"] = fault

    await work.run()

    assert await work.open() == ["thing 00"]


async def test_an_item_that_fails_is_tried_after_5_s_doubled_up_to_5_minutes(work: Work) -> None:
    await work.add("bad")
    work.fails["bad"] = ValueError("no")
    waits = [5, 10, 20, 40, 80, 160, 300, 300, 300]

    tried_at: list[int] = []
    for second in range(0, sum(waits) + 1, 5):
        before = len(work.tried)
        await work.run(after=second * SECOND)
        if len(work.tried) > before:
            tried_at.append(second)

    assert [later - now for now, later in pairwise(tried_at)] == waits
    retry = (await work.document("bad"))["retry"]
    assert (retry["failures"], retry["since"]) == (len(waits) + 1, NOW)
    assert retry["error"] == "ValueError: no"


async def test_a_failed_item_is_retried_when_it_is_due(work: Work) -> None:
    await work.add("bad")
    work.fails["bad"] = ValueError("no")
    await work.run()
    work.fails.clear()

    await work.run(after=4 * SECOND)
    still_open = await work.open()
    await work.run(after=5 * SECOND)

    assert still_open == ["bad"]
    assert await work.open() == []


async def test_five_outages_in_a_row_end_a_run_and_the_next_one_goes_on(work: Work) -> None:
    names = named(12)
    await work.add(*names)
    work.fails.update({name: Unavailable("away") for name in names[:10]})

    for _ in range(2):
        with pytest.raises(Unavailable):
            await work.run()
    await work.run()

    assert work.tried == names
    assert await work.open() == names[:10]


async def test_failures_that_are_no_outages_or_not_in_a_row_do_not_end_a_run(work: Work) -> None:
    names = named(40)
    await work.add(*names)
    work.fails.update({name: ValueError("no") for name in names[:20]})
    work.fails.update({name: Unavailable("away") for name in names[20::2]})

    await work.run()

    assert work.tried == names


async def test_a_failure_is_logged_once_and_again_when_its_reason_changes(
    work: Work, logged: list[EventDict]
) -> None:
    await work.add("bad")
    for second in range(60):
        work.fails["bad"] = ValueError("no") if second < 20 else ValueError("not so")
        await work.run(after=second * SECOND)

    assert [(line["item"], line["error"]) for line in logged] == [
        ("bad", "ValueError: no"),
        ("bad", "ValueError: not so"),
    ]


async def test_an_item_that_fails_for_a_day_is_reported_once_as_needing_a_person(
    work: Work, logged: list[EventDict]
) -> None:
    await work.add("bad")
    work.fails["bad"] = ValueError("no")

    for hour in range(72):
        await work.run(after=timedelta(hours=hour))
        said = sum(line["event"] == "item needs a person" for line in logged)
        assert said == (hour >= 24)


@pytest.mark.parametrize("size", [7, 50])
async def test_a_batch_with_an_item_that_fails_is_done_for_each_alone(
    work: Work, size: int
) -> None:
    await work.add(*named(50))
    work.fails["thing 25"] = ValueError("no")

    await work.run_in_batches(size)

    assert await work.open() == ["thing 25"]


async def test_replicas_that_fail_at_once_count_and_log_it_as_one_failure(
    work: Work, logged: list[EventDict]
) -> None:
    await work.add("bad")
    work.fails["bad"] = ValueError("no")

    await asyncio.gather(*(work.run() for _ in range(8)))

    assert (await work.document("bad"))["retry"]["failures"] == 1
    assert len(logged) == 1


async def test_a_failure_leaves_the_item_itself_as_it_is(work: Work) -> None:
    await work.add("bad")
    before = await work.document("bad")
    work.fails["bad"] = ValueError("no")

    await work.run()

    after = await work.document("bad")
    assert {name: after[name] for name in before} == before


async def test_a_failure_of_an_item_that_another_replica_has_done_is_not_stored(
    work: Work, logged: list[EventDict]
) -> None:
    await work.add("thing")

    async def fail(name: str) -> None:
        await work.database["things"].update_one({"_id": name}, {"$set": {"status": "DONE"}})
        raise ValueError("somebody else has done it")

    await jobs.for_each("tests", work.things, fail, now=lambda: NOW)

    assert "retry" not in await work.document("thing")
    assert logged == []


async def test_a_saved_aggregate_starts_afresh(database: Database) -> None:
    things = stored_in(database, Outboxes())
    items = DueItems(database["things"], {"name": NEW.name})
    await database["things"].create_index([("name", ASCENDING)])
    await things.insert(NEW)

    async def fail(_: str) -> None:
        raise ValueError("no")

    await jobs.for_each("tests", items, fail, now=lambda: NOW)
    failed = await database["things"].find_one({"_id": NEW.id})
    await things.save(CHANGED, expected=NEW)

    saved = await database["things"].find_one({"_id": NEW.id})
    assert failed is not None
    assert saved is not None
    assert {"due_at", "retry"} <= failed.keys()
    assert not {"due_at", "retry"} & saved.keys()


async def test_unreadable_failures_of_another_version_do_not_delay_an_item(work: Work) -> None:
    await work.add("first", "odd", "last")
    odd = {"$set": {"retry": {"failed": "often"}}}
    await work.database["things"].update_one({"_id": "odd"}, odd)
    work.fails["odd"] = ValueError("no")

    await work.run()

    assert await work.open() == ["odd"]
    assert (await work.document("odd"))["retry"]["failures"] == 1


async def test_an_item_that_is_not_done_yet_becomes_due_again(work: Work) -> None:
    await work.add("slow")
    things = work.things

    async def look(name: str) -> None:
        work.tried.append(name)
        await things.look_again([name], at=NOW + 60 * SECOND)

    def at(second: int) -> Callable[[], datetime]:
        return lambda: NOW + second * SECOND

    for second in (0, 30, 59, 60):
        await jobs.for_each("tests", things, look, now=at(second))

    assert len(work.tried) == 2
    assert "retry" not in await work.document("slow")
