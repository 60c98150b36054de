"""The client of a service's own database, with the guarantees that the promises need."""

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
from cartwheel.kernel.servers import Unusable, why

Document = dict[str, Any]
Database = AsyncDatabase[Document]
Client = AsyncMongoClient[Document]

SERVER_SELECTION_TIMEOUT_SECONDS = 5.0
OPERATION_SECONDS = 10.0
"""Seconds for one operation, its repetitions included."""


class _Commits(CommandListener):
    """Tells the crash points of every write."""

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
    uri: str, *, process: str, prefix: str = "", timeout: float | None = OPERATION_SECONDS
) -> Client:
    """Return a client. It connects when first used, and again whenever it has to.

    MongoDB knows it by `application_name`; `prefix` is that of the databases it will be used on.
    `timeout` (seconds) is for each operation that runs under no deadline of its own: the relay,
    jobs, leases. Without one, the driver may wait for ever for what was lost with a connection.

    Raises:
        Unusable: the driver does not understand `uri`.
    """
    options: dict[str, Any] = {} if timeout is None else {"timeoutMS": int(timeout * 1000)}
    try:
        return AsyncMongoClient(
            uri,
            appname=application_name(process, prefix),
            serverSelectionTimeoutMS=int(SERVER_SELECTION_TIMEOUT_SECONDS * 1000),
            **options,
            tz_aware=True,
            event_listeners=[_Commits()] if crash_points.armed() else [],
        )
    except (PyMongoError, ValueError) as error:
        raise Unusable(why("MONGODB_URI", uri, error)) from error


def application_name(process: str, prefix: str = "") -> str:
    """Return what MongoDB shows as `appName` of a process's connections."""
    return f"cartwheel-{prefix}{process}"


def database(client: Client, name: str, prefix: str = "") -> Database:
    """Return the database `name` of the deployment whose databases bear `prefix`.

    A write is acknowledged when a majority has it in the journal, and only such writes are read:
    what was answered survives any crash.
    """
    return client.get_database(
        prefix + name,
        write_concern=WriteConcern("majority", j=True),
        read_concern=ReadConcern("majority"),
    )
