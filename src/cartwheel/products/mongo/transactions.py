"""Transactions that change stock."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from cartwheel.kernel.errors import Contention
from cartwheel.kernel.mongodb import Client, is_contention

Done = TypeVar("Done")
Work = Callable[[AsyncClientSession], Awaitable[Done]]


async def in_transaction(client: Client, work: Work[Done]) -> Done:
    """Return what `work` returns, committed.

    Raises:
        Contention: other transactions kept conflicting until the deadline.
    """
    conflict: PyMongoError | None = None

    async def note_conflicts(session: AsyncClientSession) -> Done:
        nonlocal conflict
        try:
            done = await work(session)
        except PyMongoError as error:
            # A timeout may be the deadline, reached during conflicts. A missing primary,
            # however, is an outage.
            if not error.timeout or isinstance(error, ServerSelectionTimeoutError):
                conflict = error if is_contention(error) else None
            raise
        conflict = None  # an error from here on leaves open whether the commit happened
        return done

    async with client.start_session() as session:
        # On a conflict the driver runs `work` again: at once, then after growing random
        # pauses, until the deadline. If the result of a commit is unknown, it repeats only
        # the commit.
        try:
            return await session.with_transaction(
                note_conflicts,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority", j=True),
            )
        except PyMongoError as error:
            if error.timeout and conflict is not None:
                raise Contention(f"conflicts until the deadline: {conflict}") from error
            raise
