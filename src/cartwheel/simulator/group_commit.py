"""SQLite in one thread, with group commit: all waiting work shares one durable commit.

A commit costs one disk flush, however much it writes. A `Batcher` gathers work during a commit,
and the event loop never waits for the disk.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cartwheel.kernel import Batcher

Result = TypeVar("Result")
MOST_IN_A_COMMIT = 1_000

Work = Callable[[sqlite3.Connection], Any]


class GroupCommit:
    """`await ledger.do(work)` runs `work(connection)` and returns when its writes are on disk.

    If `work` raises, only its own writes are rolled back, and its caller gets the exception. If
    the caller is canceled, the writes still happen.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        """Open the file at `path`, and run the `migrations` that it has not had yet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._database = self._thread.submit(_open, path, migrations).result()
        self._batcher: Batcher[Work, Any] = Batcher(self._commit, limit=MOST_IN_A_COMMIT)

    async def do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._batcher.submit(work)

    async def close(self) -> None:
        """Finish the waiting work, then close the database."""
        await self._batcher.idle()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown()

    async def _commit(self, works: list[Work]) -> Sequence[Any]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _commit, self._database, works)


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
    """Return, for each of `works`, its result or the exception that it raised."""
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
