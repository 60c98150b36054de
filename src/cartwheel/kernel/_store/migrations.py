"""What `cartwheel setup` does to a service's database before any process starts.

A service lists its migrations in order and only ever appends to the list. Each may run again.
"""

from collections.abc import Awaitable, Callable, Sequence

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from cartwheel.kernel._store.client import Database, Document
from cartwheel.kernel.servers import Unusable

Migration = Callable[[Database], Awaitable[None]]

_VERSION = {"_id": "schema"}
_INDEX_NOT_FOUND = 27


class NotSetUp(Unusable):
    """The database's schema is older than the code."""


async def apply_migrations(database: Database, migrations: Sequence[Migration]) -> int:
    """Run the pending migrations of `database`; return how many ran."""
    seen = await _seen(database)
    for number, migration in enumerate(migrations[seen:], start=seen + 1):
        await migration(database)
        await database["meta"].update_one(_VERSION, {"$max": {"version": number}}, upsert=True)
    return max(len(migrations) - seen, 0)


async def pending(database: Database, migrations: Sequence[Migration]) -> int:
    """Return how many migrations of `database` are pending."""
    return max(len(migrations) - await _seen(database), 0)


async def check(database: Database, migrations: Sequence[Migration]) -> None:
    """Raises:
    NotSetUp: migrations are pending; `cartwheel setup` runs them.
    """
    if await pending(database, migrations):
        raise NotSetUp(f"database {database.name!r} is not up to date: run `cartwheel setup`")


async def drop_index(collection: AsyncCollection[Document], name: str) -> None:
    """Drop an index that is no longer needed. May be repeated."""
    try:
        await collection.drop_index(name)
    except OperationFailure as error:
        if error.code != _INDEX_NOT_FOUND:
            raise


async def _seen(database: Database) -> int:
    found = await database["meta"].find_one(_VERSION)
    return found["version"] if found else 0
