"""Every answer that is not a success, as a problem document (RFC 9457).

This is the only place that turns refusals, outages, Litestar's errors and crashes into HTTP:

    {"type": "about:blank", "title": "Conflict", "status": 409, "code": "insufficient_stock",
     "detail": "There is not enough stock for some items. Order fewer of them.",
     "trace_id": "4bf9…"}

`code` is for programs and never changes; `detail` is for people. `type` is `about:blank`, so the
status names the kind. Nothing that a client sent is repeated, since any field may hold a card
number. Nor are exceptions.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler

from cartwheel.contracts.products import TooManyOpenOrders
from cartwheel.gateway import field_errors
from cartwheel.gateway.identity import InvalidToken
from cartwheel.gateway.rate_limits import WAIT
from cartwheel.kernel import log
from cartwheel.kernel.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    Outage,
    OutcomeUnknown,
    Overloaded,
    Refusal,
    Stale,
    Throttled,
    TimedOut,
    Unauthenticated,
)
from cartwheel.kernel.lowlevel import trace_id

MEDIA_TYPE = "application/problem+json"

SAFE_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
"""For every answer, unless its route says otherwise: browsers trust the media type, and no cache
stores what may be personal or secret."""


class MalformedJson(Refusal):
    """The body is not well-formed JSON in UTF-8, or there is none where one is required.

    Send a JSON body.
    """

    code = "malformed_json"


class BodyTooLarge(Refusal):
    """The body is too long.

    Send a shorter one.
    """

    code = "body_too_large"


class UnsupportedMediaType(Refusal):
    """The body is not declared as JSON.

    Send `Content-Type: application/json`.
    """

    code = "unsupported_media_type"


STATUS_OF: dict[type[Exception], int] = {
    MalformedJson: 400,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    Invalid: 422,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    Throttled: 429,
    TimedOut: 504,
    Outage: 503,
}
"""The first of a class's bases that is listed here decides."""

_OF_HTTP: dict[int, tuple[str, str]] = {
    404: ("no_such_route", "There is nothing at this address. Check the path."),
    405: (
        "method_not_allowed",
        "This address does not take this method. The Allow header lists those it takes.",
    ),
}
"""Code and detail. Litestar's own texts would repeat the address."""

_BAD_REQUEST = ("bad_request", "The request is not valid.")

_TRY_AGAIN = "The service is temporarily unavailable. Nothing was done. Try again."
SEND_AGAIN = (
    "The request may or may not have been carried out. "
    "To find out, send it again with the same Idempotency-Key."
)
_DETAIL_OF: dict[type[Outage], str] = {
    OutcomeUnknown: f"The outcome is unknown. {SEND_AGAIN}",
    Overloaded: "The system is overloaded. Nothing was done. Try again later.",
    TimedOut: f"There was no answer in time. {SEND_AGAIN}",
}
RETRY_AFTER = {429: "10", 503: "2"}
"""Seconds, by status."""

RETRY_AFTER_OF = {TooManyOpenOrders.code: "1"}
"""Seconds, by code: products has heard of a payment or a cancellation by then."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 problem details, plus `code`, `trace_id` and `errors`."""

    status: int
    title: str
    code: Annotated[
        str, msgspec.Meta(description="Stable, for programs", examples=["order_not_found"])
    ]
    detail: str
    trace_id: Annotated[str, msgspec.Meta(description="Quote it when you report the problem")]
    errors: Annotated[
        tuple[FieldError, ...], msgspec.Meta(description="The fields or parameters at fault")
    ] = ()
    type: str = msgspec.field(default_factory=lambda: "about:blank")


def problem(
    status: int,
    code: str,
    detail: str,
    errors: tuple[FieldError, ...] = (),
    *,
    kind: type[Problem] = Problem,
    **more: Any,
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a problem document in the current trace.

    `more` holds the further members of a `kind` that has some.
    """
    document = kind(
        status=status,
        title=HTTPStatus(status).phrase,
        code=code,
        detail=detail,
        trace_id=trace_id(),
        errors=errors,
        **more,
    )
    headers = {"content-type": MEDIA_TYPE, **SAFE_HEADERS}
    if retry_after := RETRY_AFTER_OF.get(code) or RETRY_AFTER.get(status):
        headers["retry-after"] = retry_after
    return msgspec.json.encode(document), headers


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler, for all exceptions."""
    status, code, detail, errors = _describe(error, request)
    body, headers = problem(status, code, detail, errors)
    if isinstance(error, Refusal) and error.members:
        body = msgspec.json.encode({**msgspec.json.decode(body), **error.members})
    if status == 401:  # RFC 6750, §3: no error code unless a token was sent
        headers["www-authenticate"] = (
            'Bearer error="invalid_token"' if isinstance(error, InvalidToken) else "Bearer"
        )
    if status == 413:  # the rest of the body is not read
        headers["connection"] = "close"
    scope: Any = request.scope
    if status == 429 and WAIT in scope:
        headers["retry-after"] = str(scope[WAIT])
    if status == 405 and isinstance(error, HTTPException):
        headers |= _allow(error.headers or {})
    return Response(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _describe(
    error: Exception, request: Request[Any, Any, Any]
) -> tuple[int, str, str, tuple[FieldError, ...]]:
    if isinstance(error, Refusal):
        return status_of(type(error)), error.code, error.detail, error.errors
    if isinstance(error, Outage):
        # Its text is for operators, since it may name hosts.
        log.warning("outage", code=error.code, reason=str(error))
        return status_of(type(error)), error.code, _DETAIL_OF.get(type(error), _TRY_AGAIN), ()
    if isinstance(error, ValidationException):
        return _invalid_parameters(error, request)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return error.status_code, *_OF_HTTP.get(error.status_code, _BAD_REQUEST), ()
    log.error("crashed", exc_info=error)
    return (
        500,
        "internal",
        "An internal error occurred and was logged. Quote the trace_id when you report it.",
        (),
    )


def status_of(error: type[Exception]) -> int:
    """Return the status that answers a kind of refusal or outage."""
    return next((STATUS_OF[kind] for kind in error.__mro__ if kind in STATUS_OF), 409)


_MISSING = re.compile(r"Missing required \w+ parameter '([^']+)'")


def _invalid_parameters(
    error: ValidationException, request: Request[Any, Any, Any]
) -> tuple[int, str, str, tuple[FieldError, ...]]:
    """Describe what Litestar itself refuses: parameters of the query, the path and headers."""
    if missing := _MISSING.match(error.detail):
        errors = [field_errors.required(missing[1])]
    else:
        entries: list[Any] = error.extra if isinstance(error.extra, list) else []
        handler = request.route_handler
        errors = [
            field_errors.of_parameter(
                _name_of(entry["key"], handler), entry["key"], handler.signature_model
            )
            for entry in entries
        ]
    if any(fault.field == "data" for fault in errors):
        return 400, MalformedJson.code, "Send a JSON body.", ()
    return 422, Invalid.code, field_errors.told(errors), tuple(errors)


def _name_of(argument: str, handler: BaseRouteHandler) -> str:
    """Return what clients call an argument of the handler: `key` is `Idempotency-Key`."""
    declared = handler.parsed_fn_signature.parameters[argument]
    return getattr(declared.kwarg_definition, "name", None) or argument


def _allow(headers: Mapping[str, str]) -> dict[str, str]:
    return {"allow": headers.get("allow", "")}
