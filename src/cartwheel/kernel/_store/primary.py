"""Limits how long operations wait for a primary while the database has none.

An election takes 2 to 4 s if the set is configured as docs/operations.md says. For `WAIT_SECONDS`
after a primary was last seen, every operation waits for the next one, and clients do not notice the
election. After that operations fail at once: the outage will last, and requests that wait for their
deadline in vain would fill the callers' queues.

A newly elected primary has everything that its predecessor acknowledged. But it does not know yet
that a majority has it, so a majority read misses it. It knows once a majority has a write of its
own term. Operations wait for that, too, which takes some milliseconds.
"""

import asyncio
import time
from collections.abc import Mapping
from types import CoroutineType
from typing import Any, TypeAlias

import pymongo
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.errors import ConnectionFailure, ServerSelectionTimeoutError
from pymongo.monitoring import (
    ServerHeartbeatFailedEvent,
    ServerHeartbeatListener,
    ServerHeartbeatStartedEvent,
    ServerHeartbeatSucceededEvent,
)
from pymongo.server_type import SERVER_TYPE
from pymongo.topology_description import TopologyDescription

WAIT_SECONDS = 5.0
"""Seconds without a primary, after which operations fail at once."""

LOOK_SECONDS = 0.4
"""The shortest wait of the first operation without a primary. A process that was suspended has
not seen a primary for long, and needs a moment to reconnect."""

HEARTBEAT_SECONDS = 1.0
"""Seconds between heartbeats of each member. The driver's default is 10."""

CONNECT_SECONDS = 2.0
"""Seconds for a new connection. The driver's default is 20.

A member without a heartbeat for this and `HEARTBEAT_SECONDS` together counts as down. Operations
that wait for its answer are then retried at the new primary. A killed primary closes its
connections; a frozen or cut-off one is noticed only in this way. Source:
https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/server-monitoring.md"""

LOOK_AGAIN_SECONDS = 0.02
"""Seconds between two looks at whether a new primary knows what was acknowledged before it."""

_Selection: TypeAlias = "CoroutineType[Any, Any, Any]"


class NoPrimary(ServerSelectionTimeoutError):
    """There was no primary in time, so this attempt sent nothing.

    It has none of the driver's labels. With them, the driver would retry a transaction until its
    deadline, and its commit without any pause.
    """

    def has_error_label(self, label: str) -> bool:
        return False


class _LastSeen(ServerHeartbeatListener):
    """When a heartbeat last showed a primary, by the monotonic clock."""

    def __init__(self) -> None:
        self._seen: float | None = None
        self._missed: float | None = None

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        pass

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        if event.reply.is_writable:
            self._seen = time.monotonic()
            self._missed = None

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        pass

    def patience(self) -> float:
        """Return how many seconds an operation that finds no primary may wait for one."""
        now = time.monotonic()
        if self._missed is None:
            self._missed = now
        # Before the first heartbeat, time counts from the first operation.
        seen = self._missed if self._seen is None else self._seen
        return max(seen + WAIT_SECONDS, self._missed + LOOK_SECONDS) - now


class PatientClient(AsyncMongoClient[dict[str, Any]]):
    """The driver's client with the wait for a primary that this module describes.

    While there is a primary, this costs each operation one comparison.
    """

    def __init__(self, uri: str, *, event_listeners: list[Any], **options: Any) -> None:
        self._last_seen = _LastSeen()
        self._with_primary: TopologyDescription | None = None
        self._caught_up: ObjectId | None = None  # the election of the last primary that did
        self._behind: float | None = None  # since when a primary has not, by the monotonic clock
        super().__init__(
            uri,
            heartbeatFrequencyMS=int(HEARTBEAT_SECONDS * 1000),
            connectTimeoutMS=int(CONNECT_SECONDS * 1000),
            serverSelectionTimeoutMS=int(WAIT_SECONDS * 1000),
            event_listeners=[self._last_seen, *event_listeners],
            **options,
        )

    # The driver has no setting for this: under a deadline it waits until then. All its operations,
    # in transactions or not, select their server with this method.
    def _select_server(
        self, selector: Any, session: Any, operation: str, *args: Any, **options: Any
    ) -> _Selection:
        selection = super()._select_server(selector, session, operation, *args, **options)
        description = self.topology_description  # each heartbeat makes a new one
        if description is self._with_primary:
            return selection
        if operation == _HELLO:
            return self._select_in_time(selection)
        if description.has_writable_server() and _election(description) == self._caught_up:
            self._with_primary = description
            return selection
        return self._select_caught_up(selection)

    async def _select_in_time(self, selection: _Selection) -> Any:
        patience = self._last_seen.patience()
        if patience <= 0:
            selection.close()
            described = self.topology_description
            lacking = "primary" if described.known_servers else "server"
            raise NoPrimary(f"No {lacking} for {WAIT_SECONDS:.0f} s: {described!r}")
        try:
            with pymongo.timeout(patience):
                return await selection
        except ServerSelectionTimeoutError as error:
            raise NoPrimary(str(error)) from error

    async def _select_caught_up(self, selection: _Selection) -> Any:
        try:
            await self._catch_up()
        except BaseException:
            selection.close()
            raise
        return await selection

    async def _catch_up(self) -> None:
        """Return once there is a primary that knows what was acknowledged before its election.

        Raises:
            NoPrimary: there was none for `WAIT_SECONDS`.
        """
        while True:
            try:
                said = await self.admin.command(_HELLO)
            except ServerSelectionTimeoutError:
                raise
            except ConnectionFailure as error:  # it died in between
                if error.timeout:
                    raise
            else:
                if has_majority(said):
                    self._caught_up, self._behind = said.get("electionId"), None
                    return
                if self._behind is None:
                    self._behind = time.monotonic()
                if time.monotonic() > self._behind + WAIT_SECONDS:
                    raise NoPrimary(f"The primary has had no majority for {WAIT_SECONDS:.0f} s.")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


_HELLO = "hello"


def _election(description: TopologyDescription) -> ObjectId | None:
    """Return the id of the election that made the primary one, if there is a primary of a set."""
    for server in description.server_descriptions().values():
        if server.server_type == SERVER_TYPE.RSPrimary:
            return server.election_id
    return None


def has_majority(said: Mapping[str, Any]) -> bool:
    """Tell from a primary's `hello` whether a majority has a write of this primary's own term.

    Source: https://www.mongodb.com/docs/manual/reference/command/hello/
    """
    if "setName" not in said:  # a mongos, or a server that is no member of a set
        return True
    if not said["isWritablePrimary"]:
        return False
    written = said["lastWrite"]
    # A member that has just started knows of no majority.
    by_majority = written.get("majorityOpTime")
    return by_majority is not None and by_majority["t"] == written["opTime"]["t"]
