"""SQLite behind one thread, where everything waiting at the moment shares one durable commit.

A commit costs a disk flush, whatever it holds. While one is under way further work queues up, and
the next commit takes it all: an idle system commits at once, a busy one in large groups, and the
event loop never waits for the disk.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Any]


class GroupCommit:
    """`await ledger.do(work)` runs `work(connection)` and returns once its writes are on disk.

    If `work` raises, its own writes are undone and the exception is the caller's; neighbours in
    the group don't notice. A caller that is canceled meanwhile does not take its writes back.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        """Open the file at `path`, and run those of the `migrations` that it has not had yet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._database = self._thread.submit(_open, path, migrations).result()
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await done

    async def close(self) -> None:
        """Finish what is waiting, then close the database."""
        if self._committing is not None:
            await self._committing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            works = [work for work, _ in group]
            results: list[Any]
            try:
                results = await loop.run_in_executor(self._thread, _commit, self._database, works)
            except sqlite3.Error as error:  # a full disk, say: nothing of the group was stored
                results = [error for _ in group]
            for (_, done), result in zip(group, results, strict=True):
                if done.done():
                    continue
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)
        self._committing = None


def _open(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    database.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
    )
    (done,) = database.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(migrations[done:], done + 1):
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
    return database


def _commit(database: sqlite3.Connection, works: list[Work]) -> list[Any]:
    """Return each work's result, or in its place the exception it raised."""
    results: list[Any] = []
    database.execute("BEGIN IMMEDIATE")
    try:
        for work in works:
            database.execute("SAVEPOINT one")
            try:
                results.append(work(database))
            except Exception as error:
                database.execute("ROLLBACK TO one")
                results.append(error)
            database.execute("RELEASE one")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return results
