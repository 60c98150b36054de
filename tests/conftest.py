"""Shared fixtures: one running system with real dependencies, started when first needed."""

import os
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cartwheel.kernel import install_wait_for, mongodb
from cartwheel.kernel.lowlevel import configure
from cartwheel.kernel.mongodb import Client, Database
from cartwheel.local.console import Console
from cartwheel.local.up import System, running

from . import progress
from .databases import Names, Prepared
from .order import longest_first
from .table_scans import refusing_table_scans, without_table_scans

_CONSOLE = pytest.StashKey[Console]()


def pytest_configure(config: pytest.Config) -> None:
    install_wait_for()
    # Customers sign up by the hundred from one address. What is about limits turns them on.
    os.environ["RATE_LIMITS"] = "off"
    os.environ["OPERATIONS_MAIL"] = "operations@example.com"
    # On a busy machine, an example may take any time.
    settings.register_profile(
        "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("untimed")
    config.stash[_CONSOLE] = progress.configure(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = longest_first(items)


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    configure("tests", "CRITICAL")


@pytest.fixture(scope="session")
async def system(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> AsyncGenerator[System]:
    """The whole system: MongoDB, RabbitMQ, the AWS emulator, the simulator, all five processes."""
    home: Path = tmp_path_factory.mktemp("system")
    console = pytestconfig.stash[_CONSOLE]
    async with AsyncExitStack() as stack:
        with refusing_table_scans():
            started = await stack.enter_async_context(running(home, given={}, console=console))
        await stack.enter_async_context(without_table_scans(started))
        yield started


@pytest.fixture
async def client(system: System) -> AsyncGenerator[Client]:
    async with mongodb.connect(system.environment["MONGODB_URI"], process="tests") as connected:
        yield connected


@pytest.fixture(scope="session")
def _names() -> Names:
    return {}


@pytest.fixture
def prepared(client: Client, _names: Names) -> Prepared:
    return Prepared(client, _names)


@pytest.fixture
async def database(client: Client) -> AsyncGenerator[Database]:
    """An empty database for one test, with the guarantees of a service's database."""
    name = f"test_{secrets.token_hex(6)}"
    yield mongodb.database(client, name)
    await client.drop_database(name)
