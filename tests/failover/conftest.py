"""A replica set of three members that the tests in this folder share. Each leaves it healthy."""

import secrets
from collections.abc import AsyncGenerator

import pytest

from cartwheel.kernel import mongodb
from cartwheel.kernel.mongodb import Client, Database, Migration
from cartwheel.kernel.operating import apply_migrations

from ..replica_set import ReplicaSet, replica_set


@pytest.fixture(scope="session")
async def shared_members(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ReplicaSet]:
    async with replica_set(tmp_path_factory.mktemp("members")) as members:
        yield members


@pytest.fixture
async def members(shared_members: ReplicaSet) -> ReplicaSet:
    await shared_members.healthy()
    return shared_members


@pytest.fixture
async def client(members: ReplicaSet) -> AsyncGenerator[Client]:
    async with mongodb.connect(members.uri, process="tests") as connected:
        yield connected


async def new_database(client: Client, steps: tuple[Migration, ...]) -> Database:
    """Return an empty database of a service."""
    database = mongodb.database(client, f"test_{secrets.token_hex(6)}")
    await apply_migrations(database, steps)
    return database
