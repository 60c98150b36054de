"""One parked message, and why it lies there.

A consumer that parks a message says why in its headers (`kernel._bus.consuming`). One that killed
its reader is parked by RabbitMQ itself, which tells its reasons in `x-death`
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
"""The header that counts how often a message was replayed."""

_PARKING = frozenset({ATTEMPTS, RETRIES_REQUESTED, "reason", "stack", "origin", "parked_at"})
_CLOUD_EVENTS = "cloudEvents_"


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """A parked message; `id` is the event's, or made from the body where there is none.

    `since` is when it was parked, where that is known. An event may be parked for several services
    and, since events are repeated, more than once for one.
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
        """Return the body as JSON, else as text, else in base 64."""
        try:
            return msgspec.json.decode(self.body)
        except wire.UNREADABLE:
            pass
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return base64.b64encode(self.body).decode()

    def headers_to_replay(self) -> dict[str, Any]:
        """Return the headers as the message first came, but for the count of replays."""
        kept = {
            name: value
            for name, value in self.headers.items()
            if name not in _PARKING and not name.startswith("x-")
        }
        return {**kept, REPLAYED: self.replayed + 1}


def read(service: str, message: AbstractIncomingMessage) -> Parked:
    headers: dict[str, Any] = dict(message.headers)
    reason, attempts, since = _why(headers)
    digest = hashlib.sha256(message.body).hexdigest()[:16]
    return Parked(
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
    """Return the reason, the number of attempts, and since when it is parked."""
    attempts = _number(headers.get(ATTEMPTS))
    if "reason" in headers:
        return str(headers["reason"]), attempts, _time(headers.get("parked_at"))
    # The newest comes first; retry queues leave their traces (`expired`) here too.
    deaths: list[dict[str, Any]] = headers.get("x-death") or []
    if not deaths:
        return "unknown: it came without a reason", attempts, None
    last = deaths[0]
    since = _time(last.get("time"))
    if last.get("reason") == "delivery_limit":
        times = topology.DELIVERY_LIMIT + 1
        return f"killed its reader {times} times, so RabbitMQ took it away", times, since
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
