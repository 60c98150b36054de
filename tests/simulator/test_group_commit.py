import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest

from cartwheel.simulator.group_commit import GroupCommit

MIGRATIONS = ("CREATE TABLE words (word TEXT UNIQUE);",)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[GroupCommit]:
    store = GroupCommit(tmp_path / "new" / "folder" / "words.sqlite", MIGRATIONS)
    yield store
    await store.close()


def add(db: sqlite3.Connection, *words: str) -> str:
    for word in words:
        db.execute("INSERT INTO words VALUES (?)", (word,))
    return words[0]


def add_one(db: sqlite3.Connection, word: str) -> str:
    return add(db, word)


def stored(db: sqlite3.Connection) -> set[str]:
    return {word for (word,) in db.execute("SELECT word FROM words")}


async def test_all_waiting_work_is_stored_and_answered(store: GroupCommit) -> None:
    words = [str(number) for number in range(500)]

    answers = await asyncio.gather(*[store.do(partial(add_one, word=word)) for word in words])

    assert answers == words
    assert await store.do(stored) == set(words)


async def test_failing_work_is_rolled_back_and_affects_no_other(store: GroupCommit) -> None:
    def fail(db: sqlite3.Connection) -> None:
        add(db, "half done")
        raise LookupError("changed my mind")

    first, failed, doubled, last = await asyncio.gather(
        store.do(lambda db: add(db, "first")),
        store.do(fail),
        store.do(lambda db: add(db, "twin", "first")),
        store.do(lambda db: add(db, "last")),
        return_exceptions=True,
    )

    assert (first, last) == ("first", "last")
    assert isinstance(failed, LookupError)
    assert isinstance(doubled, sqlite3.IntegrityError)
    assert await store.do(stored) == {"first", "last"}


async def test_a_canceled_callers_write_still_happens(store: GroupCommit) -> None:
    writing = asyncio.create_task(store.do(lambda db: add(db, "kept")))
    await asyncio.sleep(0)
    writing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await writing

    assert await store.do(stored) == {"kept"}


async def test_closing_finishes_the_waiting_work(tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    store = GroupCommit(path, MIGRATIONS)
    writing = [asyncio.create_task(store.do(partial(add_one, word=word))) for word in "abc"]
    await asyncio.sleep(0)

    await store.close()

    assert await asyncio.gather(*writing) == ["a", "b", "c"]
    with sqlite3.connect(path) as outside:
        assert stored(outside) == {"a", "b", "c"}
    outside.close()
