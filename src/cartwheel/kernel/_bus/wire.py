"""The wire format of requests, answers and events.

One AMQP message carries many requests of one type, as a JSON array of `RequestEnvelope`. Answers
return as arrays of `ReplyEnvelope`, in any order and any number of messages. Events are
CloudEvents in binary mode: attributes in headers, JSON body
(https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/amqp-protocol-binding.md).
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

from cartwheel.kernel._amqp.interface import Message, Received
from cartwheel.kernel._core.messages import CloudEvent, Event, Request, answer_type
from cartwheel.kernel.errors import (
    FieldError,
    Outage,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    TimedOut,
    Unavailable,
)

encode = msgspec.json.Encoder().encode

UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What decoding may raise: not JSON, not UTF-8, another shape, or nested too deeply."""


class RequestEnvelope(msgspec.Struct, array_like=True, frozen=True):
    """One request; `deadline` is Unix time in seconds."""

    id: int
    deadline: float
    body: Raw


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    OUTAGE = "outage"
    FAILED = "failed"


class ReplyEnvelope(msgspec.Struct, array_like=True, frozen=True):
    id: int
    outcome: Outcome
    body: Raw = Raw(b"null")


PING = "ping"
"""The type of a message that asks a replica for its name. It carries no requests."""
NO_REQUESTS = b"[]"
PONG_TYPE = "pong"
PONG = 0
"""The id of the answer to a ping; requests count from 1."""


def write_pong(service: str, replica: str) -> bytes:
    return encode([ReplyEnvelope(PONG, Outcome.DONE, Raw(encode((service, replica))))])


class Refused(msgspec.Struct, frozen=True):
    """A refusal on the wire. `kind` is its base's code, for callers that do not know `code`."""

    code: str
    kind: str
    detail: str
    errors: tuple[FieldError, ...] = ()
    members: dict[str, Any] = {}


read_requests = msgspec.json.Decoder(list[RequestEnvelope]).decode
read_replies = msgspec.json.Decoder(list[ReplyEnvelope]).decode
read_pong = msgspec.json.Decoder(tuple[str, str]).decode
"""Return the service and the replica that answered a ping."""
_read_refused = msgspec.json.Decoder(Refused).decode


def write_refusal(refusal: Refusal) -> Raw:
    kind = _kind(type(refusal))
    told = (refusal.code, kind.code, refusal.detail, refusal.errors, {**refusal.members})
    return Raw(encode(Refused(*told)))


@cache
def _kind(refusal: type[Refusal]) -> type[Refusal]:
    """Return the kind of refusal that the contract subclasses, such as `NotFound`."""
    return next((kind for kind in Refusal.__subclasses__() if issubclass(refusal, kind)), Refusal)


def read_refusal(body: Raw) -> Refusal:
    """Return an instance of the class that was raised, or of its kind if that class is unknown."""
    refused = _read_refused(body)
    known = Refusal.by_code.get(refused.code)
    refusal = (known or Refusal.by_code.get(refused.kind, Refusal))(
        refused.detail, errors=refused.errors, members=refused.members
    )
    if known is None:
        refusal.code = refused.code  # pyright: ignore[reportAttributeAccessIssue] because a newer service's code is passed on as it is
    return refusal


def write_outage(error: BaseException) -> Raw:
    """Pass on the code of an `Outage`; any other error leaves the outcome unknown."""
    return Raw(encode(error.code if isinstance(error, Outage) else OutcomeUnknown.code))


def read_outage(body: Raw, *, read: bool) -> Outage:
    """Return the outage. For a `read`, an unknown outcome counts as not done."""
    kinds: dict[str, type[Outage]] = {
        kind.code: kind for kind in (Unavailable, Overloaded, TimedOut)
    }
    unknown = Unavailable if read else OutcomeUnknown
    return kinds.get(msgspec.json.decode(body), unknown)("a dependency of the service is down")


@cache
def request_decoder(kind: type[Request[Any]]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def answer_decoder(kind: type[Request[Any]]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(answer_type(kind))


@cache
def _event_decoder(kind: type[Event]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class Undecodable(Exception):
    """A delivery that this code cannot read as an event. A retry would not help."""


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event in the outbox: its attributes, and its data as JSON text."""

    id: str
    type: str
    source: str
    subject: str
    sequence: int
    time: datetime
    data: str
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


_PREFIX = "cloudEvents_"


def write_event(event: StoredEvent) -> Message:
    headers = {
        f"{_PREFIX}specversion": "1.0",
        f"{_PREFIX}id": event.id,
        f"{_PREFIX}type": event.type,
        f"{_PREFIX}source": event.source,
        f"{_PREFIX}subject": event.subject,
        f"{_PREFIX}time": event.time.isoformat(),
        f"{_PREFIX}sequence": str(event.sequence),
    }
    if event.correlation_id:
        headers[f"{_PREFIX}correlationid"] = event.correlation_id
    if event.causation_id:
        headers[f"{_PREFIX}causationid"] = event.causation_id
    if event.traceparent:
        headers[f"{_PREFIX}traceparent"] = event.traceparent
    return Message(body=event.data.encode(), headers=headers, message_id=event.id, persistent=True)


def copy_of(message: Received, headers: Mapping[str, Any]) -> Message:
    """Return a persistent copy of `message` to publish, with `headers` instead of its own."""
    return Message(
        body=message.body,
        headers=headers,
        message_id=message.message_id,
        content_type=message.content_type,
        persistent=True,
    )


def read_event(message: Received, kinds: dict[str, type[Event]]) -> CloudEvent[Any]:
    """Return the event in `message`.

    Raises:
        Undecodable: an attribute is missing, the type is not in `kinds`, or the data does not fit.
    """
    try:
        headers = {key.removeprefix(_PREFIX): value for key, value in message.headers.items()}
        kind = kinds[str(headers["type"])]
        return CloudEvent(
            id=str(headers["id"]),
            type=kind.type,
            source=str(headers["source"]),
            subject=str(headers["subject"]),
            sequence=int(str(headers["sequence"])),
            time=datetime.fromisoformat(str(headers["time"])),
            data=_event_decoder(kind).decode(message.body),
            correlation_id=_optional(headers.get("correlationid")),
            causation_id=_optional(headers.get("causationid")),
            traceparent=_optional(headers.get("traceparent")),
        )
    except KeyError as error:
        raise Undecodable(f"unknown type or missing attribute: {error}") from error
    except UNREADABLE as error:
        raise Undecodable(str(error)) from error


def attribute(headers: Mapping[str, Any], name: str) -> str | None:
    """Return an event's attribute, as its message has it."""
    return _optional(headers.get(_PREFIX + name))


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
