"""What MongoDB did to answer: which index it took, and how much it looked at."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from cartwheel.kernel.mongodb import Database

_ROOM = 64 * 1024 * 1024
"""Bytes for the profiler's notes. By default it has 1 MB, and forgets the oldest."""


@asynccontextmanager
async def reading_no_more_than(
    database: Database, *, most: int, merging: int = 0
) -> AsyncGenerator[None]:
    """Fail at the end if a query that ran meanwhile read more than `most` keys or documents.

    A query that merges scans of an index reads a key more for each scan, `merging` at most.
    """
    await database.create_collection("system.profile", capped=True, size=_ROOM)
    await database.command("profile", 2)
    try:
        yield
    finally:
        await database.command("profile", 0)
    noted = {"op": "query", "ns": {"$ne": f"{database.name}.system.profile"}}
    entries = await database["system.profile"].find(noted).to_list()
    assert entries
    wrong = [_told(each) for each in entries if _read(each, merging) > most]
    assert wrong == [], wrong


def _read(entry: dict[str, Any], merging: int = 0) -> int:
    return max(entry["keysExamined"] - merging, entry["docsExamined"])


def _told(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["command"]["filter"], entry["planSummary"], _read(entry)
