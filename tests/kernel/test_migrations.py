"""What `cartwheel setup` does to a database may be broken off, and is then done again."""

from collections.abc import Sequence
from typing import Any

import pytest

from cartwheel.kernel._store import migrations
from cartwheel.kernel._store.client import Database
from cartwheel.kernel._store.migrations import Migration
from cartwheel.notifications import mongo as notifications
from cartwheel.orders import mongo as orders
from cartwheel.payments import mongo as payments
from cartwheel.products.mongo import schema as products

SERVICES = {
    "products": products.MIGRATIONS,
    "orders": orders.MIGRATIONS,
    "payments": payments.MIGRATIONS,
    "notifications": notifications.MIGRATIONS,
}


async def indexes(database: Database) -> dict[str, Any]:
    names = await database.list_collection_names()
    return {name: await database[name].index_information() for name in sorted(names)}


@pytest.mark.parametrize("service", SERVICES)
async def test_each_migration_may_be_run_again(database: Database, service: str) -> None:
    steps: Sequence[Migration] = SERVICES[service]
    for migration in steps:
        await migration(database)
        once = await indexes(database)

        await migration(database)

        assert await indexes(database) == once


@pytest.mark.parametrize("service", SERVICES)
async def test_a_database_is_brought_up_to_date_once(database: Database, service: str) -> None:
    steps: Sequence[Migration] = SERVICES[service]
    await migrations.apply_migrations(database, steps[:-1])

    assert await migrations.apply_migrations(database, steps) == 1
    assert await migrations.apply_migrations(database, steps) == 0
