"""What services exchange: requests, which command, and events, which record what happened.

A request names its answer type, so that callers are type-checked:

    @request("get_order", service="orders", read=True)
    class GetOrder(Request[OrderView], frozen=True, kw_only=True):
        order_id: str

    view = await bus.request(GetOrder(order_id="ord_…"))     # an OrderView

An event's name ends with its version and is also its routing key:

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
"""Returns the time (aware, in UTC). Domain code gets the time as an argument instead."""


class Request(msgspec.Struct, Generic[Answer], frozen=True, kw_only=True):
    """A request to `service`.

    A `read` request changes nothing and may be sent again. Of identical reads that are waiting,
    only one is sent. `coalesced` requests wait in the caller and travel together. A request that
    makes the service call an outside system is not coalesced: a slow answer would delay the others.
    The caller's bus fills in `traceparent`.
    `refusals` lists the refusals with which the service may answer.
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
    """Declare a request: its name and the service that answers it. `Request` explains the rest."""

    def declare(kind: type[Asked]) -> type[Asked]:
        kind.type, kind.service, kind.read, kind.coalesced = name, service, read, coalesced
        kind.refusals = refusals
        return kind

    return declare


def answer_type(request: type[Request[Answer]]) -> type[Answer]:
    """Return the type of the answer to `request`: for GetOrder, OrderView."""
    return get_args(get_original_bases(request)[0])[0]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes an aggregate, when and why.

    `by` is a user's id, a service or a job. `event_id` is the event that caused the change, if any.
    `traceparent` is the trace of the change; None for the current one.

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
        """Return the change that `event` causes in the service that handles it."""
        return cls(by=event.source, at=at, traceparent=event.traceparent, event_id=event.id)


class Bus(Protocol):
    """The bus as callers see it."""

    async def request(self, request: Request[Answer]) -> Answer:
        """Return the answer. Raises a `Refusal` from the request's contract, or an `Outage`."""
        ...


class Created(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """Something made by an idempotent request; `replayed` if an earlier request made it."""

    made: Item
    replayed: bool = False


class Page(msgspec.Struct, Generic[Item], frozen=True, kw_only=True):
    """A page of a list. `next_cursor` fetches the next page; it is None at the end."""

    data: list[Item]
    next_cursor: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened. `consumers` lists the services that must receive it."""

    type: ClassVar[str]
    consumers: ClassVar[tuple[str, ...]] = ()


Happened = TypeVar("Happened", bound=Event)


def event(
    name: str, *, consumers: tuple[str, ...] = ()
) -> Callable[[type[Happened]], type[Happened]]:
    """Declare an event: its name with its version, and the services that must receive it."""

    def declare(kind: type[Happened]) -> type[Happened]:
        kind.type, kind.consumers = name, consumers
        return kind

    return declare


EventData = TypeVar("EventData", bound=Event, covariant=True)


class CloudEvent(msgspec.Struct, Generic[EventData], frozen=True, kw_only=True):
    """An event with its CloudEvents 1.0 attributes (https://github.com/cloudevents/spec).

    `subject` is the aggregate's id. `sequence` counts that aggregate's events from 1. Events may be
    repeated or arrive in any order; consumers compare sequences to detect that.
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
