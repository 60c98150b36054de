"""What an operation may answer instead of a success: by status, and code by code.

It is read off the code: what holds for every route, what its body and its guards add, and what
the route and the services that it asks refuse (see `described`).
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from litestar.handlers import HTTPRouteHandler

from cartwheel.gateway import refusals
from cartwheel.gateway.card import CARD_FREE, CardDataNotAccepted
from cartwheel.gateway.described import description_of
from cartwheel.gateway.every_route import UnknownParameter
from cartwheel.gateway.identity import InvalidToken, admin
from cartwheel.gateway.problems import (
    BodyTooLarge,
    MalformedJson,
    UnsupportedMediaType,
    status_of,
)
from cartwheel.gateway.rate_limits import UNLIMITED
from cartwheel.kernel.errors import (
    Forbidden,
    Invalid,
    Outage,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    Throttled,
    TimedOut,
    Unauthenticated,
    Unavailable,
)


class Possible(NamedTuple):
    """One answer that is no success. `meaning` is for people, and `remedy` is what to do."""

    status: int
    code: str
    meaning: str
    remedy: str


def _explained(refusal: refusals.Refusal, meaning: str, remedy: str) -> Possible:
    return Possible(refusal.status, refusal.code, meaning, remedy)


BEFORE_THE_APP = (
    _explained(
        refusals.NOT_HTTP,
        "The server cannot read the request: it is not valid HTTP, or names no host.",
        "Correct the request line and the headers; `detail` says more.",
    ),
    _explained(refusals.LONG_TARGET, "The path and the query are too long.", "Shorten them."),
    _explained(
        refusals.FULL_FOR_ONE,
        "Too many connections from the client's address are open.",
        "Close some, or reuse them.",
    ),
    _explained(
        refusals.LONG_HEAD,
        "The request line and the headers are too long.",
        "Send fewer headers, or shorter ones.",
    ),
)
"""Told before a request gets as far as the app; see `refusals`."""

OF_EVERY_REQUEST = (
    *BEFORE_THE_APP,
    Possible(
        500,
        "internal",
        "The server failed. The request may or may not have been done.",
        "Report the problem with its `trace_id`.",
    ),
)
"""What every operation may answer."""

OF_NO_OPERATION = (
    Possible(404, "no_such_route", "Nothing is at this address.", "Check the path."),
    Possible(
        405,
        "method_not_allowed",
        "The address does not take this method.",
        "Use a method that the `Allow` header names.",
    ),
)
"""What is answered where there is no operation."""


def possible(handler: HTTPRouteHandler) -> list[Possible]:
    """Return what the operation of `handler` may answer instead of a success, by status."""
    found = {(each.status, each.code): each for each in OF_EVERY_REQUEST}
    for kind in _kinds(handler):
        # What is said of the kind is nearer to the operation than what holds for every request.
        found[status_of(kind), kind.code] = Possible(status_of(kind), kind.code, *explained(kind))
    return [found[key] for key in sorted(found)]


def _kinds(handler: HTTPRouteHandler) -> Iterator[type[Refusal | Outage]]:
    said = description_of(handler)
    yield from (Invalid, UnknownParameter, Overloaded, OutcomeUnknown)
    if not handler.opt.get(UNLIMITED):
        yield Throttled
    if not handler.opt.get("public"):
        yield from (Unauthenticated, InvalidToken, Unavailable)
    guards: Sequence[Any] = cast("Any", handler).guards or ()
    if admin in guards:
        yield Forbidden
    if handler.parsed_data_field or said.body_type:
        yield from (MalformedJson, BodyTooLarge)
    if handler.parsed_data_field:
        yield UnsupportedMediaType
    if CARD_FREE in handler.opt:
        yield CardDataNotAccepted
    for request in said.asks:
        yield from (each for each in request.refusals if each not in said.takes)
        yield from (Unavailable, TimedOut)
    yield from said.refuses


def explained(kind: type[Refusal | Outage]) -> tuple[str, str]:
    """Return the two paragraphs of its docstring: what it means, and what a client can do."""
    meaning, _, remedy = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    return meaning.replace("\n", " "), remedy.replace("\n", " ")
