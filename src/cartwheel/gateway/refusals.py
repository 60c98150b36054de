"""The answers to connections and requests that do not reach the app."""

import re
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from cartwheel.gateway.problems import problem
from cartwheel.kernel import log
from cartwheel.kernel.lowlevel import continue_trace


class Refusal(NamedTuple):
    """A problem document; see `problems`."""

    status: int
    code: str
    detail: str


NOT_HTTP = Refusal(400, "bad_request", "This is not a valid HTTP request.")
NOT_ONE_HOST = Refusal(400, "bad_request", "Send exactly one Host header (RFC 9112, section 3.2).")
LONG_FRAMING = Refusal(400, "bad_request", "The chunk extensions or trailers are too long.")
LONG_TARGET = Refusal(414, "target_too_long", "The path and the query are too long.")
LONG_HEAD = Refusal(431, "head_too_large", "The request line and headers are too long.")
FULL = Refusal(503, "overloaded", "Too many connections are open. Try again later.")
FULL_FOR_ONE = Refusal(
    429,
    "too_many_connections",
    "Too many connections are open from your address. Close some first.",
)

_HOST = re.compile(rb"[\w.~!$&'()*+,;=:%\[\]-]*", re.ASCII)


def names_one_host(headers: list[tuple[bytes, bytes]], parser: Any) -> bool:
    """Return whether a request has exactly one valid Host header, or is HTTP/1.0 without one."""
    hosts = [value for name, value in headers if name == b"host"]
    if not hosts:
        return parser.get_http_version() == "1.0"
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


def tell(refusal: Refusal, *, client: str) -> bytes:
    """Return the whole response and log it. The connection closes after it."""
    trace_id = continue_trace(None)
    log.info("connection_refused", status=refusal.status, code=refusal.code, client=client)
    body, headers = problem(*refusal)
    headers |= {
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": trace_id,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[refusal.status] + lines.encode() + b"\r\n" + body
