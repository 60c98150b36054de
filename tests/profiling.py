"""Measures how many documents MongoDB reads for a query."""

import contextlib
from collections.abc import AsyncGenerator

from cartwheel.kernel.mongodb import Database


@contextlib.asynccontextmanager
async def documents_examined(database: Database, collection: str) -> AsyncGenerator[list[int]]:
    """Yield a list that, at the end, has the number of documents that each query has read."""
    examined: list[int] = []
    plain = database.client[database.name]
    await plain.command("profile", 2)
    try:
        yield examined
    finally:
        await plain.command("profile", 0)
    query = {"ns": f"{database.name}.{collection}", "op": "query"}
    examined += [entry["docsExamined"] async for entry in plain["system.profile"].find(query)]
