"""Messages of the tests' own service."""

from typing import ClassVar

from aio_pika.abc import HeadersType

from cartwheel.kernel.bus import wire
from cartwheel.kernel.bus.wire import StoredEvent
from cartwheel.kernel.errors import Conflict
from cartwheel.kernel.messages import Event, Request
from cartwheel.operations.dead_letters.queue import as_published

SERVICE = "kernel-tests"


class Echo(Request[str], frozen=True, kw_only=True):
    type: ClassVar[str] = "test_echo"
    service: ClassVar[str] = SERVICE
    read: ClassVar[bool] = True

    text: str


class Write(Request[int], frozen=True, kw_only=True):
    type: ClassVar[str] = "test_write"
    service: ClassVar[str] = SERVICE

    number: int


class Outside(Request[int], frozen=True, kw_only=True):
    type: ClassVar[str] = "test_outside"
    service: ClassVar[str] = SERVICE
    coalesced: ClassVar[bool] = False

    number: int


class Full(Conflict):
    code = "test_full"


class Happened(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "test.happened.v1"
    consumers: ClassVar[tuple[str, ...]] = (SERVICE,)

    number: int


class Unheard(Event, frozen=True, kw_only=True):
    """Says it has a consumer, but no queue is bound for it."""

    type: ClassVar[str] = "test.unheard.v1"
    consumers: ClassVar[tuple[str, ...]] = (SERVICE,)


def headers_of(event: StoredEvent) -> HeadersType:
    """Return the headers with which `event` is published."""
    return as_published(wire.write_event(event)).headers
