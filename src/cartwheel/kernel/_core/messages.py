"""What travels between services: requests, which command, and events, which remember.

A request names its answer, so that callers are type-checked:

    @request("get_order", service="orders", read=True)
    class GetOrder(Request[OrderView], frozen=True, kw_only=True):
        order_id: str

    view = await bus.request(GetOrder(order_id="ord_…"))     # an OrderView

An event's name ends in its version and is also its routing key:

    @event("order.paid.v1", consumers=("products", "notifications"))
    class OrderPaid(Event, frozen=True, kw_only=True):
        order: OrderSnapshot
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args

import msgspec
from typing_extensions import get_original_bases

from cartwheel.kernel.errors import Refusal

Answer = TypeVar("Answer")
Item = TypeVar("Item")

Refusals = tuple[type[Refusal], ...]

Clock = Callable[[], datetime]
"""Tells the time (aware, UTC); the domain gets the time as an argument instead."""


class Request(msgspec.Struct, Generic[Answer], frozen=True, kw_only=True):
    """Bus `service` for something.

    `read` requests change nothing and may be sent again; the same one, waiting twice, is sent once.
    Requests wait for each other in the
    caller and travel together where `coalesced`; those that make the service call somebody outside
    are not, since one slow answer would hold back its neighbours.
    `traceparent` is filled in by the caller's bus.
    `refusals` are all that the service may answer instead of doing it.
    """

    type: ClassVar[str]
    service: ClassVar[str]
    read: ClassVar[bool] = False
    coalesced: ClassVar[bool] = True
    refusals: ClassVar[Refusals] = ()

    traceparent: str | None = None


Asked = TypeVar("Asked", bound=Request[Any])


def request(
    name: str,
    *,
    service: str,
    read: bool = False,
    coalesced: bool = True,
    refusals: Refusals = (),
) -> Callable[[type[Asked]], type[Asked]]:
    """Name a kind of request, and the service that answers it; see `Request` for the rest."""

    def declare(kind: type[Asked]) -> type[Asked]:
        kind.type, kind.service, kind.read, kind.coalesced = name, service, read, coalesced
        kind.refusals = refusals
        return kind

    return declare


def answer_type(request: type[Request[Answer]]) -> type[Answer]:
    """Return what `request` is answered with, for GetOrder an OrderView."""
    return get_args(get_original_bases(request)[0])[0]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes an aggregate, when, and what led to it.

    `by` is a user's id, a service or a job; `event_id` the event that led to it, if one did.
    `traceparent` is the trace that the change belongs to, None for the current one.

        await orders.change(order_id, domain.expire, by=Change(by="deadline", at=now()))
        change = Change.caused_by(event, at=now())
        await orders.change(order_id, domain.pay, event.data, by=change)
    """

    by: str
    at: datetime
    traceparent: str | None = None
    event_id: str | None = None

    @classmethod
    def caused_by(cls, event: "CloudEvent[Any]", *, at: datetime) -> "Change":
        """Return the change that `event` leads to in the service that handles it."""
        return cls(by=event.source, at=at, traceparent=event.traceparent, event_id=event.id)


class Bus(Protocol):
    """The bus as those who ask see it."""

    async def request(self, request: Request[Answer]) -> Answer:
        """Return the answer; raises a `Refusal` of the request's contract, or an `Outage`."""
        ...


class Created(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """A thing made by a repeatable request; `replayed` if an earlier one had made it."""

    made: Item
    replayed: bool = False


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """Part of a list; `next_cursor` fetches what follows, `None` at the end."""

    data: list[Item]
    next_cursor: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened. `consumers` are the services that must get it."""

    type: ClassVar[str]
    consumers: ClassVar[tuple[str, ...]] = ()


Happened = TypeVar("Happened", bound=Event)


def event(
    name: str, *, consumers: tuple[str, ...] = ()
) -> Callable[[type[Happened]], type[Happened]]:
    """Name a kind of event, with its version, and the services that must get it."""

    def declare(kind: type[Happened]) -> type[Happened]:
        kind.type, kind.consumers = name, consumers
        return kind

    return declare


EventData = TypeVar("EventData", bound=Event, covariant=True)


class CloudEvent(msgspec.Struct, Generic[EventData], frozen=True, kw_only=True):
    """An event with its CloudEvents 1.0 attributes (https://github.com/cloudevents/spec).

    `subject` is the aggregate's id. `sequence` counts that aggregate's events from 1: a consumer
    may see them repeated and in any order, and compares sequences to tell.
    """

    id: str
    type: str
    source: str
    subject: str
    sequence: int
    time: datetime
    data: EventData
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
