"""Databases of services, each made once. Making its indexes takes longer than most tests."""

import secrets
from collections.abc import Sequence

from cartwheel.kernel import mongodb
from cartwheel.kernel.mongodb import Client, Database, Migration
from cartwheel.kernel.operating import apply_migrations

Names = dict[Sequence[Migration], str]
"""Of the databases, by the migrations that have made their indexes."""


class Prepared:
    """Returns a service's database: empty, with the indexes that `cartwheel setup` makes."""

    def __init__(self, client: Client, names: Names) -> None:
        self._client = client
        self._names = names

    async def __call__(self, migrations: Sequence[Migration]) -> Database:
        name = self._names.setdefault(migrations, f"test_{secrets.token_hex(6)}")
        database = mongodb.database(self._client, name)
        await apply_migrations(database, migrations)
        await _empty(database)
        return database


async def _empty(database: Database) -> None:
    """Delete everything but the number of the last migration."""
    for name in await database.list_collection_names():
        if name == "system.profile":  # of a test that has looked at queries
            await database.drop_collection(name)
        else:
            await database[name].delete_many({"_id": {"$ne": "schema"}} if name == "meta" else {})
