"""The client of a service's own database, with the guarantees that the services rely on."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from cartwheel.kernel._core import crash_points
from cartwheel.kernel._store.primary import WAIT_SECONDS, PatientClient
from cartwheel.kernel.servers import Unusable, check_mongodb, why
from cartwheel.kernel.settings import DatabaseAddress, DatabaseAddresses

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Client = AsyncMongoClient[Document]

SERVER_SELECTION_TIMEOUT_SECONDS = WAIT_SECONDS
OPERATION_SECONDS = 10.0
"""Seconds for one operation, including its retries."""


class _Commits(CommandListener):
    """Reports every write to the crash points."""

    _WRITES = frozenset({"insert", "update", "delete", "findAndModify", "commitTransaction"})

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in self._WRITES:
            crash_points.reach("commit.before")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name in self._WRITES:
            crash_points.reach("commit.after")

    def failed(self, event: CommandFailedEvent) -> None:
        pass


def connect(
    uri: str,
    *,
    process: str,
    prefix: str = "",
    timeout: float | None = OPERATION_SECONDS,
    variable: str = "MONGODB_URI",
) -> Client:
    """Return a client. It connects on first use, and reconnects when needed.

    `variable` is the setting that holds `uri`. MongoDB shows the client under `application_name`,
    which includes the databases' `prefix`. `timeout` (seconds) applies to operations without a
    deadline: the relay, jobs, leases. Without a timeout, the driver may wait forever for an answer
    that was lost with its connection. `primary` limits the wait for a primary.

    Raises:
        Unusable: the driver does not understand `uri`.
    """
    options: dict[str, Any] = {} if timeout is None else {"timeoutMS": int(timeout * 1000)}
    try:
        return PatientClient(
            uri,
            appname=application_name(process, prefix),
            **options,
            tz_aware=True,
            event_listeners=[_Commits()] if crash_points.armed() else [],
        )
    except (PyMongoError, ValueError) as error:
        raise Unusable(why(variable, uri, error)) from error


def application_name(process: str, prefix: str = "") -> str:
    """Return the `appName` that MongoDB shows for a process's connections."""
    return f"cartwheel-{prefix}{process}"


def database(client: Client, name: str, prefix: str = "") -> Database:
    """Return the database `name` of the deployment that uses `prefix`.

    A write is acknowledged once a majority has it in the journal, and reads see only such writes.
    So an acknowledged write survives any crash.
    """
    return client.get_database(
        prefix + name,
        write_concern=WriteConcern("majority", j=True),
        read_concern=ReadConcern("majority"),
    )


@asynccontextmanager
async def opened(
    addresses: DatabaseAddresses,
    *,
    process: str,
    prefix: str = "",
    timeout: float | None = OPERATION_SECONDS,
) -> AsyncGenerator[Mapping[str, Database]]:
    """Yield each service's database by the service's name. Services with one URI share a client.

    Raises:
        Unusable: the body raised a MongoDB error. The message names the server's setting.
    """
    async with AsyncExitStack() as stack:
        clients = {
            each.uri: await stack.enter_async_context(
                connect(
                    each.uri,
                    variable=each.variable,
                    process=process,
                    prefix=prefix,
                    timeout=timeout,
                )
            )
            for each in addresses.distinct()
        }
        try:
            yield {
                service: database(clients[each.uri], each.name)
                for service, each in addresses.by_service.items()
            }
        except PyMongoError as error:
            raise await _about(addresses.distinct(), error) from error


async def _about(servers: list[DatabaseAddress], error: PyMongoError) -> Unusable:
    """Return the sentence about `error`.

    The error does not name its server. If there are several, each is checked.
    """
    if len(servers) == 1:
        return Unusable(why(servers[0].variable, servers[0].uri, error))
    for each in servers:
        try:
            await check_mongodb(each.uri, each.variable)
        except Unusable as unusable:
            return unusable
    return Unusable(f"MongoDB says {type(error).__name__}: {str(error)[:200]}")
