"""Rules for every route: HEAD, OPTIONS and query parameters.

HEAD is answered like GET, and the server leaves out the body (RFC 9110, §9.3.2). OPTIONS lists all
methods of an address. A query parameter that the handler does not declare is refused: ignoring it
would answer another question than the client asked.
"""

import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request, Response
from litestar.config.app import AppConfig
from litestar.handlers import BaseRouteHandler
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from cartwheel.kernel.errors import FieldError, Invalid

MOST_PARAMETERS = 50
"""The most parameters of a query, known or not: thousands fit into a URL."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z_]{0,29}")
"""Names safe to repeat to the client. Others may be anything, even a card number."""


class UnknownParameter(Invalid):
    """The query has a parameter that this address does not take.

    Use only the parameters that `detail` lists.
    """

    code = "unknown_parameter"


class EveryRoute(InitPlugin, ReceiveRoutePlugin):
    """Litestar plugin. It runs after the guards, so without a token nobody learns about parameters.
    It costs a request without a query less than 1 µs."""

    def __init__(self) -> None:
        self._parameters: dict[BaseRouteHandler, frozenset[str]] = {}
        self._not_text: dict[BaseRouteHandler, frozenset[str]] = {}
        self._allow: dict[BaseRouteHandler, str] = {}

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.before_request = self._before
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        if not isinstance(route, HTTPRoute):
            return
        handlers = route.route_handler_map
        if "GET" in handlers:
            handlers["HEAD"] = handlers["GET"]
        for handler, expected in handlers.values():
            parameters = expected.expected_query_params
            self._parameters[handler] = frozenset(each.field_alias for each in parameters)
            self._not_text[handler] = frozenset(
                each.field_alias for each in parameters if not _is_text(handler, each.field_name)
            )
        # Litestar's own handler does not know about HEAD, which was added above.
        options, _ = handlers["OPTIONS"]
        self._allow[options] = ", ".join(sorted(handlers))

    async def _before(self, request: Request[Any, Any, Any]) -> Response[None] | None:
        handler = request.route_handler
        if request.method == "OPTIONS":
            return Response(None, status_code=204, headers={"Allow": self._allow[handler]})
        if query := request.scope["query_string"]:
            _check(query, self._parameters[handler], self._not_text[handler])
        return None


def _is_text(handler: BaseRouteHandler, argument: str) -> bool:
    declared = handler.parsed_fn_signature.parameters[argument]
    return str in {declared.annotation, *(each.annotation for each in declared.inner_types)}


def _check(query: bytes, known: frozenset[str], not_text: frozenset[str]) -> None:
    """`not_text` are the known parameters that are no free text.

    Raises UnknownParameter, or Invalid if a parameter is repeated or there are too many."""
    pairs = _pairs(query)
    given = [name for name, _ in pairs]
    if unknown := [name for name in given if name not in known]:
        raise UnknownParameter(
            f"This address takes {_listed(known)}.",
            errors=_errors(unknown, "is not a parameter of this address."),
        )
    if repeated := [name for name, times in Counter(given).items() if times > 1]:
        raise Invalid(
            "Send each query parameter only once.",
            errors=_errors(repeated, "must be sent only once."),
        )

    # msgspec takes this word for a value that is not given, and so for no filter at all.
    if nulls := [name for name, value in pairs if name in not_text and value.lower() == "null"]:
        raise Invalid(
            "Leave out a query parameter that has no value.",
            errors=_errors(nulls, "must have a value."),
        )


def _pairs(query: bytes) -> list[tuple[str, str]]:
    # Litestar's parser caches the last 1,024 queries of any length. It gets only those that pass,
    # so that strangers cannot fill the memory.
    try:
        return parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_PARAMETERS
        )
    except ValueError:
        raise Invalid(f"Send at most {MOST_PARAMETERS} query parameters.") from None


_UNNAMED = "The query has a parameter that this address does not take."


def _errors(names: list[str], message: str) -> list[FieldError]:
    """Return one error for each name that is safe to repeat, and one for all others together."""
    fields = dict.fromkeys(name if _PLAIN.fullmatch(name) else "" for name in names)
    return [FieldError(field, f"`{field}` {message}" if field else _UNNAMED) for field in fields]


def _listed(known: frozenset[str]) -> str:
    if not known:
        return "no query parameters"
    return f"only the query parameters {', '.join(sorted(known))}"
