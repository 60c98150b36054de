"""One dead letter, and the reason for it.

A consumer that dead-letters a message states the reason in headers (`kernel._bus.consuming`). If a
message keeps crashing its consumer, RabbitMQ dead-letters it and states the reason in `x-death`
(https://www.rabbitmq.com/docs/dlx#effects).
"""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aio_pika.abc import AbstractIncomingMessage

from cartwheel.kernel.operating import ATTEMPTS, RETRIES_REQUESTED, topology, wire

REPLAYED = "replayed"
"""The header that counts the replays of a message."""

_SET_WHEN_DEAD_LETTERED = frozenset(
    {ATTEMPTS, RETRIES_REQUESTED, "reason", "stack", "origin", "parked_at"}
)
_CLOUD_EVENTS = "cloudEvents_"


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
    reason, attempts, since = _why(headers)
    digest = hashlib.sha256(message.body).hexdigest()[:16]
    return DeadLetter(
        service=service,
        id=message.message_id or f"msg_{digest}",
        type=_attribute(headers, "type"),
        subject=_attribute(headers, "subject"),
        reason=reason,
        attempts=attempts,
        since=since,
        happened=_attribute(headers, "time"),
        replayed=_number(headers.get(REPLAYED)),
        headers=headers,
        body=message.body,
    )


def _why(headers: Mapping[str, Any]) -> tuple[str, int, datetime | None]:
    """Return the reason, the number of attempts, and the time of dead-lettering."""
    attempts = _number(headers.get(ATTEMPTS))
    if "reason" in headers:
        return str(headers["reason"]), attempts, _time(headers.get("parked_at"))
    # The newest entry comes first. Retry queues leave entries (`expired`) here too.
    deaths: list[dict[str, Any]] = headers.get("x-death") or []
    if not deaths:
        return "unknown: the message has no reason", attempts, None
    last = deaths[0]
    since = _time(last.get("time"))
    if last.get("reason") == "delivery_limit":
        times = topology.DELIVERY_LIMIT + 1
        return f"crashed its consumer {times} times, so RabbitMQ dead-lettered it", times, since
    return f"dead-lettered by RabbitMQ: {last.get('reason')}", attempts, since


def _attribute(headers: Mapping[str, Any], name: str) -> str | None:
    value = headers.get(_CLOUD_EVENTS + name)
    return None if value is None else str(value)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
