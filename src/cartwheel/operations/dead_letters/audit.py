"""Who replayed or dropped what, when and why: `dead_letter_audit` in the database `operations`.

A line is stored before the action and marked `done` after it, so every action has a line. If a
line is not `done`, a crash interrupted the action: its message is still dead-lettered, unless only
the last step is missing. The line of a dropped message contains the whole message.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from cartwheel.kernel import new_id, utc_now
from cartwheel.kernel.mongodb import Database, from_document, to_document
from cartwheel.operations import typed
from cartwheel.operations.dead_letters.dead_letter import DeadLetter

_COLLECTION = "dead_letter_audit"


class Action(StrEnum):
    REPLAY = "replay"
    DROP = "drop"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One action. `who` is a user of the operating system. Only drops have a `message`."""

    id: str
    at: datetime
    who: str
    host: str
    action: Action
    service: str
    event_id: str
    type: str | None
    subject: str | None
    reason: str
    why: str | None = None
    done: bool = False
    message: dict[str, Any] | None = None


class Audit:
    def __init__(self, database: Database) -> None:
        self._lines = database[_COLLECTION]

    async def begin(
        self, action: Action, letters: Sequence[DeadLetter], *, why: str | None = None
    ) -> list[Line]:
        """Store and return a line for each of `letters`."""
        lines = [_line(action, letter, why) for letter in letters]
        if lines:
            await self._lines.insert_many([to_document(line) for line in lines])
        return lines

    async def finish(self, lines: Sequence[Line]) -> list[Line]:
        """Mark `lines` as done; return the changed lines."""
        ids = [line.id for line in lines]
        await self._lines.update_many({"_id": {"$in": ids}}, {"$set": {"done": True}})
        return [msgspec.structs.replace(line, done=True) for line in lines]

    async def newest(self, limit: int) -> AsyncIterator[Line]:
        """Yield the last `limit` lines, newest first; 0 for all."""
        async for document in self._lines.find().sort("_id", -1).limit(limit):
            yield from_document(document, Line)


def _line(action: Action, letter: DeadLetter, why: str | None) -> Line:
    kept: dict[str, Any] | None = None
    if action is Action.DROP:
        kept = msgspec.json.decode(
            msgspec.json.encode({"headers": letter.headers, "payload": letter.payload})
        )
    return Line(
        id=new_id("aud"),
        at=utc_now(),
        who=typed.user(),
        host=socket.gethostname(),
        action=action,
        service=letter.service,
        event_id=letter.id,
        type=letter.type,
        subject=letter.subject,
        reason=letter.reason,
        why=why,
        message=kept,
    )
