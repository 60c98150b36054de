"""Gives every request a trace and a line in the log.

A request continues the trace of its `traceparent` header, or starts one. The trace id is returned
in `X-Request-Id` (the W3C recommendation has no response header yet) and in every problem document.
"""

import asyncio
import time
from http import HTTPMethod
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from cartwheel.gateway.problems import SEND_AGAIN, problem
from cartwheel.gateway.rate_limits import headers as rate_limit_headers
from cartwheel.kernel import log
from cartwheel.kernel.errors import OutcomeUnknown
from cartwheel.kernel.lowlevel import continue_trace

NO_ROUTE = "(no route)"
"""Logged instead of an unknown path, which may hold anything, even a card number."""
_METHODS = frozenset(HTTPMethod)


class Traced:
    """ASGI middleware. It logs the route's template, but not the path, query, headers or bodies:
    they hold tokens, addresses and cards. Health probes are logged only when they fail."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        trace_id = continue_trace(_traceparent(scope["headers"]))
        request_id = (b"x-request-id", trace_id.encode())
        status = 0

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                limits = rate_limit_headers(scope)
                message["headers"] = [*message["headers"], request_id, *limits]
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        except asyncio.CancelledError:
            # The server is stopping, and this request took too long.
            if not status:
                await _say_unknown(send_traced)
        finally:
            _log(scope, status, time.perf_counter() - started)


def _traceparent(headers: Any) -> str | None:
    for name, value in headers:
        if name == b"traceparent":
            return value.decode("latin-1")
    return None


def _log(scope: Any, status: int, seconds: float) -> None:
    path: str = scope.get("path_template", NO_ROUTE)
    if path.startswith("/health/") and status == 200:
        return
    user = scope.get("user")
    log.info(
        "request",
        method=scope["method"] if scope["method"] in _METHODS else "(other)",
        path=path,
        status=status,
        ms=round(seconds * 1000, 1),
        client=scope["client"][0] if scope["client"] else None,
        user_id=user.user_id if user else None,
    )


async def _say_unknown(send: Send) -> None:
    body, headers = problem(503, OutcomeUnknown.code, f"The server is stopping. {SEND_AGAIN}")
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    encoded.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 503, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})
