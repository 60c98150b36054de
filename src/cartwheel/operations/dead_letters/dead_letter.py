"""One dead letter, with all that there is to show of it and to replay."""

import base64
from datetime import datetime
from typing import Any

import msgspec
from aio_pika.abc import AbstractIncomingMessage

from cartwheel.kernel.operating import ATTEMPTS, RETRIES_REQUESTED, read_dead_letter, wire

REPLAYED = "replayed"
"""The header that counts the replays of a message."""

_SET_WHEN_DEAD_LETTERED = frozenset(
    {ATTEMPTS, RETRIES_REQUESTED, "reason", "stack", "origin", "parked_at"}
)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead-lettered message. `id` is the event's id; without one, it is derived from the body.

    `since` is the time of dead-lettering, if known. An event may be dead-lettered for several
    services and, because events are redelivered, several times for one service.
    """

    service: str
    id: str
    type: str | None
    subject: str | None
    reason: str
    attempts: int
    since: datetime | None
    happened: str | None
    replayed: int
    headers: dict[str, Any]
    body: bytes

    @property
    def stack(self) -> str | None:
        stack = self.headers.get("stack")
        return None if stack is None else str(stack)

    @property
    def payload(self) -> object:
        """Return the body: decoded from JSON if possible, otherwise as text or base 64."""
        try:
            return msgspec.json.decode(self.body)
        except wire.UNREADABLE:
            pass
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return base64.b64encode(self.body).decode()

    def headers_to_replay(self) -> dict[str, Any]:
        """Return the original headers and the count of replays."""
        kept = {
            name: value
            for name, value in self.headers.items()
            if name not in _SET_WHEN_DEAD_LETTERED and not name.startswith("x-")
        }
        return {**kept, REPLAYED: self.replayed + 1}


def read(service: str, message: AbstractIncomingMessage) -> DeadLetter:
    headers: dict[str, Any] = dict(message.headers)
    known = read_dead_letter(message)
    return DeadLetter(
        service=service,
        id=known.id,
        type=known.type,
        subject=wire.attribute(headers, "subject"),
        reason=known.reason,
        attempts=known.attempts,
        since=known.since,
        happened=wire.attribute(headers, "time"),
        replayed=_number(headers.get(REPLAYED)),
        headers=headers,
        body=message.body,
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
