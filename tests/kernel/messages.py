"""Messages of the tests' own service."""

from aio_pika.abc import HeadersType

from cartwheel.kernel._bus import wire
from cartwheel.kernel._bus.wire import StoredEvent
from cartwheel.kernel._core.messages import Event, Request, event, request
from cartwheel.kernel.errors import Conflict
from cartwheel.operations.dead_letters.queue import as_published

SERVICE = "kernel-tests"


@request("test_echo", service=SERVICE, read=True)
class Echo(Request[str], frozen=True, kw_only=True):
    text: str


@request("test_write", service=SERVICE)
class Write(Request[int], frozen=True, kw_only=True):
    number: int


@request("test_outside", service=SERVICE, coalesced=False)
class Outside(Request[int], frozen=True, kw_only=True):
    number: int


class Full(Conflict):
    code = "test_full"


@event("test.happened.v1", consumers=(SERVICE,))
class Happened(Event, frozen=True, kw_only=True):
    number: int


@event("test.unheard.v1", consumers=(SERVICE,))
class Unheard(Event, frozen=True, kw_only=True):
    """Says it has a consumer, but no queue is bound for it."""


def headers_of(event: StoredEvent) -> HeadersType:
    """Return the headers with which `event` is published."""
    return as_published(wire.write_event(event)).headers
