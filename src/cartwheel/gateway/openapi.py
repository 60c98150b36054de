"""What the API says about itself (OpenAPI 3.1), beyond what Litestar reads off the handlers."""

from importlib.metadata import version
from typing import Any

from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.routes import HTTPRoute
from litestar.types import Method

from cartwheel.gateway.problems import MEDIA_TYPE

_PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "trace_id"],
    "properties": {
        "type": {"type": "string", "examples": ["about:blank"]},
        "title": {"type": "string", "examples": ["Unprocessable Entity"]},
        "status": {"type": "integer", "examples": [422]},
        "code": {"type": "string", "description": "Stable, for programs", "examples": ["invalid"]},
        "detail": {"type": "string", "description": "For people"},
        "trace_id": {"type": "string", "description": "Quote it when you report a problem"},
        "errors": {
            "type": "array",
            "description": "The fields or parameters at fault",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {
                        "type": "string",
                        "description": "Empty if it is the whole body, or a parameter whose name "
                        "is not repeated",
                        "examples": ["items[0].quantity"],
                    },
                    "message": {"type": "string", "examples": ["Expected int >= 1"]},
                },
            },
        },
    },
}
_DESCRIPTION = """An online shop's backend.

Everything but a success is a problem document (RFC 9457). It repeats nothing of what was sent.

A query parameter that an operation does not take is refused with 422 `unknown_parameter`, and one
that is given twice with 422 `invalid`; an unknown field of a body is refused with 422 `invalid`.

Wherever there is a GET there is a HEAD; OPTIONS needs no token, and its `Allow` names the methods.
"""
_PROBLEM: dict[str, Any] = {"$ref": "#/components/responses/Problem"}


def _operation_id(handler: HTTPRouteHandler, method: Method, _path: Any) -> str:
    return f"head_{handler.handler_name}" if method == "HEAD" else handler.handler_name


class _Unused(Router):
    """Litestar insists on serving the description itself, with a page for every unknown path below
    it that is no problem document; `routes.docs` serves it instead."""

    def register(self, value: Any) -> list[Any]:
        return []


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Cartwheel",
        version=version("cartwheel"),
        description=_DESCRIPTION,
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        security=[{"bearer": []}],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    bearer_format="JWT",
                    description="The access token that `POST /api/v1/auth/login` answers",
                )
            }
        ),
        tags=[
            Tag("auth", "Accounts and tokens"),
            Tag("products", "The catalogue and its stock"),
            Tag("orders", "Placing orders and what became of them"),
            Tag("payments", "Paying, and the history of it"),
            Tag("webhooks", "What payment providers report"),
            Tag("health", "For whoever runs this"),
        ],
        render_plugins=[JsonRenderPlugin()],
        openapi_router=_Unused("/api", route_handlers=[]),
    )


def describe(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of `app`, as JSON's types."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    components = document.setdefault("components", {})
    components["responses"] = {
        "Problem": {
            "description": "It was not done; the document says why.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    }
    components.setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        # The server answers it as GET; described, it would be everything twice.
        document["paths"].get(route.path_format, {}).pop("head", None)
        for handler in route.route_handlers:
            for method in handler.http_methods:
                path = document["paths"].get(route.path_format or "/", {})
                if operation := path.get(method.lower()):
                    _complete(operation, public=bool(handler.opt.get("public")))
    return document


def _complete(operation: dict[str, Any], *, public: bool) -> None:
    summary, _, description = operation.get("description", "").partition("\n\n")
    operation |= {"summary": summary.replace("\n", " "), "description": description}
    responses: dict[str, Any] = operation["responses"]
    responses.pop("400", None)  # Litestar's own form of errors, which nobody gets to see
    if public:
        operation["security"] = []
    else:
        responses["401"] = _PROBLEM
    responses["4XX"] = responses["5XX"] = _PROBLEM
