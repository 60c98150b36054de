"""What MongoDB did to answer: which index it took, and how much it looked at."""

from collections.abc import Awaitable
from typing import Any

from cartwheel.kernel.mongodb import Database


async def finding(database: Database, listing: Awaitable[object]) -> dict[str, Any]:
    """Run `listing`; return what the profiler noted of its one `find`."""
    await database.command("profile", 0)
    await database["system.profile"].drop()
    await database.command("profile", 2)
    try:
        await listing
    finally:
        await database.command("profile", 0)
    noted = {"op": "query", "ns": {"$ne": f"{database.name}.system.profile"}}
    [entry] = await database["system.profile"].find(noted).to_list()
    return entry


def assert_from_an_index(entry: dict[str, Any], *, limit: int) -> None:
    """Few documents are read that are not on the page, whatever there are. The index may well be
    that of `_id`, where most match."""
    assert "COLLSCAN" not in entry["planSummary"], entry["planSummary"]
    examined = entry["keysExamined"], entry["docsExamined"]
    assert max(examined) <= 3 * (limit + 1), (entry["planSummary"], examined)
