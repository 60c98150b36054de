"""A replica set of three members, shared by the tests of this folder; each leaves it healthy."""

from collections.abc import AsyncGenerator

import pytest

from ..replica_set import ReplicaSet, replica_set


@pytest.fixture(scope="session")
async def shared_members(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ReplicaSet]:
    async with replica_set(tmp_path_factory.mktemp("members")) as members:
        yield members


@pytest.fixture
async def members(shared_members: ReplicaSet) -> ReplicaSet:
    await shared_members.healthy()
    return shared_members
