"""What an operation may answer instead of a success: by status, and code by code.

It is read off the code: what holds for every route, what its body and its guards add, and what
the route and the services that it asks refuse (see `described`).
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from litestar.handlers import HTTPRouteHandler

from cartwheel.gateway import refusals
from cartwheel.gateway.described import description_of
from cartwheel.gateway.every_route import UnknownParameter
from cartwheel.gateway.identity import InvalidToken, admin
from cartwheel.gateway.problems import (
    BodyTooLarge,
    MalformedJson,
    UnsupportedMediaType,
    status_of,
)
from cartwheel.kernel.errors import (
    Forbidden,
    Invalid,
    Outage,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    TimedOut,
    Unauthenticated,
    Unavailable,
)


class Possible(NamedTuple):
    """One answer that is no success; `meaning` is for people."""

    status: int
    code: str
    meaning: str


OF_EVERY_REQUEST = (
    *(
        Possible(*refusal)
        for refusal in (
            refusals.NOT_HTTP,
            refusals.LONG_TARGET,
            refusals.FULL_FOR_ONE,
            refusals.LONG_HEAD,
        )
    ),
    Possible(500, "internal", "Something went wrong here. It has been logged."),
)
"""Told before a request gets as far as its route, or if the route has a bug."""


def possible(handler: HTTPRouteHandler) -> list[Possible]:
    """Return what the operation of `handler` may answer instead of a success, by status."""
    found = {(each.status, each.code): each for each in OF_EVERY_REQUEST}
    for kind in _kinds(handler):
        # What is said of the kind is nearer to the operation than what holds for every request.
        found[status_of(kind), kind.code] = Possible(status_of(kind), kind.code, _meaning(kind))
    return [found[key] for key in sorted(found)]


def _kinds(handler: HTTPRouteHandler) -> Iterator[type[Refusal | Outage]]:
    said = description_of(handler)
    yield from (Invalid, UnknownParameter, Overloaded, OutcomeUnknown)
    if not handler.opt.get("public"):
        yield from (Unauthenticated, InvalidToken, Unavailable)
    guards: Sequence[Any] = cast("Any", handler).guards or ()
    if admin in guards:
        yield Forbidden
    if handler.parsed_data_field or said.body_type:
        yield from (MalformedJson, BodyTooLarge)
    if handler.parsed_data_field:
        yield UnsupportedMediaType
    if said.asks:
        yield from (*said.asks.refusals, Unavailable, TimedOut)
    yield from said.refuses


def _meaning(kind: type[Any]) -> str:
    """Return the first paragraph of its docstring: the others say what a client can do."""
    return inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
