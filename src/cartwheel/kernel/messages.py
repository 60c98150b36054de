"""What travels between services: requests, which command, and events, which remember.

A request names its answer, so that callers are type-checked:

    class GetOrder(Request[OrderView], frozen=True, kw_only=True):
        type: ClassVar = "get_order"
        service: ClassVar = "orders"
        order_id: str

    view = await bus.request(GetOrder(order_id="ord_…"))     # an OrderView

An event's name ends in its version and is also its routing key:

    class OrderPaid(Event, frozen=True, kw_only=True):
        type: ClassVar = "order.paid.v1"
        consumers: ClassVar = ("products", "notifications")
        order: OrderSnapshot
"""

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Generic, Protocol, TypeVar, get_args

import msgspec
from typing_extensions import get_original_bases

Answer = TypeVar("Answer")
Item = TypeVar("Item")

Clock = Callable[[], datetime]
"""Tells the time (aware, UTC); the domain gets the time as an argument instead."""


class Request(msgspec.Struct, Generic[Answer], frozen=True, kw_only=True):
    """Asks `service` for something.

    `read` requests change nothing and may be sent again; the same one, waiting twice, is sent once.
    Requests wait for each other in the
    caller and travel together where `coalesced`; those that make the service call somebody outside
    are not, since one slow answer would hold back its neighbours.
    `traceparent` is filled in by the caller's bus.
    """

    type: ClassVar[str]
    service: ClassVar[str]
    read: ClassVar[bool] = False
    coalesced: ClassVar[bool] = True

    traceparent: str | None = None


def answer_type(request: type[Request[Answer]]) -> type[Answer]:
    """Return what `request` is answered with, for GetOrder an OrderView."""
    return get_args(get_original_bases(request)[0])[0]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What led to a change: `by` is a user's id or a service; `event_id` the event, if it was one.

    `traceparent` is the trace that the change belongs to, None for the current one.
    """

    by: str
    traceparent: str | None = None
    event_id: str | None = None


class Asks(Protocol):
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

    def cause(self) -> Cause:
        """Return this event as what leads to a change in the consumer."""
        return Cause(by=self.source, traceparent=self.traceparent, event_id=self.id)
