"""The API's description (OpenAPI 3.1): a document that people read and generators digest.

Litestar reads addresses, parameters and docstrings off the handlers. The rest is made here: bodies
and answers as msgspec checks them (`schemas`), what may be answered instead (`possible`), and the
examples that the routes give (`described`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from itertools import groupby
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Server, Tag
from litestar.routes import HTTPRoute
from litestar.types import Method

from cartwheel.contracts.orders import OrderView
from cartwheel.contracts.parcels import ReturnView, ShipmentView
from cartwheel.contracts.payments import PaymentView, Refund
from cartwheel.contracts.products import ProductView, StockAdjustmentView
from cartwheel.gateway import examples
from cartwheel.gateway.described import Described, Header, description_of
from cartwheel.gateway.possible import OF_EVERY_REQUEST, Possible, possible
from cartwheel.gateway.problems import MEDIA_TYPE, RETRY_AFTER, RETRY_AFTER_OF, Problem
from cartwheel.gateway.schemas import components, reference_for_clients
from cartwheel.kernel import Page
from cartwheel.kernel.errors import FieldError

SERVER = "/api/v1"
"""Relative: the document is right wherever it is served from."""

_DESCRIPTION = """The backend of an online shop.

## Log in

Most operations need an access token. Sign up with `POST /auth/signup`, send the code that was
mailed to you to `POST /auth/confirm`, and get the token from `POST /auth/login`. On this page,
press **Authorize** and enter the `access_token`; elsewhere, send it as `Authorization: Bearer …`.

## Errors

Every answer that is not a success is a problem document (RFC 9457). Its `code` is for programs and
never changes; its `detail` is for people. Each operation lists its codes. An unknown path is 404
`no_such_route`, and an unknown method of a path 405 `method_not_allowed`.

## Requests mean what they say

An unknown field of a body, an unknown query parameter and a parameter that is given twice are
refused with 422. Answers may get new fields at any time: ignore those that you do not know.

## HEAD and OPTIONS

Each GET has a HEAD, which answers the same without the body. OPTIONS needs no token, and its
`Allow` header lists the methods of a path.
"""
_SECURITY = (
    "Log in with `POST /auth/login`, then press Authorize and enter the `access_token` of the "
    "answer. It is valid for an hour."
)
_SHARED = {
    "X-Request-ID": Header(
        description="The id of the trace: quote it when you report a problem",
        example=examples.TRACE_ID,
    ),
    "WWW-Authenticate": Header(description="How to authenticate", example="Bearer"),
    "RateLimit-Policy": Header(
        description="The limits of this request: `q` requests in `w` seconds. Absent if the "
        "limits are turned off",
        example='"requests";q=6000;w=60',
        always=False,
    ),
    "RateLimit": Header(
        description="`r` requests are left in the next `t` seconds",
        example='"requests";r=5999;t=60',
        always=False,
    ),
    "Retry-After": Header(description="Seconds to wait before you try again", example="2"),
}
"""Headers of many answers, by name."""
_OF_EVERY_ANSWER = ("X-Request-ID", "RateLimit-Policy", "RateLimit")
_OF_STATUS = {401: ("WWW-Authenticate",), **dict.fromkeys(RETRY_AFTER, ("Retry-After",))}
_EXAMPLES = {
    **examples.IDS,
    "Idempotency-Key": examples.IDEMPOTENCY_KEY,
    "If-Match": '"1"',
    "If-None-Match": '"0"',
    "number": examples.ORDER_NUMBER,
    "email": examples.EMAIL,
    "group": "admin",
    **dict.fromkeys(("placed_after", "created_after"), "2026-11-01T00:00:00Z"),
    **dict.fromkeys(("placed_before", "created_before"), "2026-12-01T00:00:00Z"),
    "cursor": examples.CURSOR,
    "user_id": examples.USER_ID,
    "provider": examples.PAYMENT.provider,
    "amount": examples.PAYMENT.amount.amount,
    "currency": examples.PAYMENT.amount.currency,
}
"""Of parameters, by name."""
_ID_OF = {
    ProductView: "product_id",
    StockAdjustmentView: "adjustment_id",
    Refund: "refund_id",
    OrderView: "order_id",
    PaymentView: "payment_id",
    ShipmentView: "shipment_id",
    ReturnView: "return_id",
}
"""The parameter that is the `id` of such an answer."""
_PARAMETERS = {
    "product_id": "The id of the product",
    "order_id": "The id of the order",
    "payment_id": "The id of the payment",
    "adjustment_id": "The id of the stock adjustment",
    "refund_id": "The id of the refund",
    "address_id": "The id of the address",
    "shipment_id": "The id of the parcel",
    "return_id": "The id of the return",
    "group": "The name of the group",
    "user_id": "The id of the user",
    "status": "Only those with this status",
}
"""What parameters are whose declaration does not say it."""


class _Unused(Router):
    """Litestar insists on serving the description itself, with a page for every unknown path below
    it that is no problem document; `routes.docs` serves it instead."""

    def register(self, value: Any) -> list[Any]:
        return []


def _operation_id(handler: HTTPRouteHandler, method: Method, _path: Any) -> str:
    return f"head_{handler.handler_name}" if method == "HEAD" else handler.handler_name


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Cartwheel",
        version=version("cartwheel"),
        description=_DESCRIPTION,
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        security=[{"bearer": []}],
        servers=[Server(url=SERVER)],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http", scheme="bearer", bearer_format="JWT", description=_SECURITY
                )
            }
        ),
        tags=[
            Tag("auth", "Accounts and tokens"),
            Tag("products", "The catalogue and its stock"),
            Tag("addresses", "The addresses that you keep for later orders"),
            Tag("users", "For administrators: who has an account, and who may do what"),
            Tag("orders", "Placing orders, and what became of them"),
            Tag("payments", "Paying, and the history of payments"),
            Tag("webhooks", "What payment providers report"),
            Tag("health", "For operators: is this process alive and ready?"),
        ],
        render_plugins=[JsonRenderPlugin()],
        openapi_router=_Unused("/api", route_handlers=[]),
    )


class _Operation(NamedTuple):
    handler: HTTPRouteHandler
    told: dict[str, Any]
    """What Litestar tells of it; completed in place."""


def describe(app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document of `app`, as JSON's types."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    operations = list(_operations(app, document["paths"]))
    kinds: list[Any] = [Problem, FieldError]
    for handler, _ in operations:
        kinds += (*_body_types(handler), *_answer_types(handler), *_own_problems(handler).values())
    schemas, by_name = components(list(dict.fromkeys(kinds)))
    schema_of = dict(zip(dict.fromkeys(kinds), schemas, strict=True))
    for operation in operations:
        _complete(*operation, schema_of, visitors=app.state.visitors)
    _link(operations)
    document["paths"] = dict(_below_server(document["paths"]))
    document["components"] |= {
        "schemas": by_name,
        "responses": {
            _name(each): _refused([each], {}, schema_of[Problem]) for each in OF_EVERY_REQUEST
        },
        "examples": {
            _name(each): _example(each, {})
            for handler, _ in operations
            for each in possible(handler)
        },
        "headers": {_letters(name): _header(header) for name, header in _SHARED.items()},
    }
    return document


def _operations(app: Litestar, paths: dict[str, Any]) -> Iterator[_Operation]:
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        # The server answers it as GET; described, it would be everything twice.
        told = paths.get(route.path_format or "/", {})
        told.pop("head", None)
        for handler in route.route_handlers:
            for method in handler.http_methods:
                if operation := told.get(method.lower()):
                    yield _Operation(handler, operation)


def _below_server(paths: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, operations in paths.items():
        if path.startswith(f"{SERVER}/"):
            yield path.removeprefix(SERVER), operations
        else:
            yield path, {"servers": [{"url": "/"}], **operations}


def _body_types(handler: HTTPRouteHandler) -> list[Any]:
    """Return the type of the request's body, if it has one."""
    field = handler.parsed_data_field
    if field is None:
        said = description_of(handler).body_type
        return [said] if said else []
    return [field.inner_types[0].annotation if field.is_optional else field.annotation]


def _own_problems(handler: HTTPRouteHandler) -> dict[int, Any]:
    """Return the types of problem documents with further members, by status."""
    told: Mapping[int, Any] = handler.responses or {}
    return {status: answer.data_container for status, answer in told.items()}


def _answer_types(handler: HTTPRouteHandler) -> list[Any]:
    """Return the type of a success, if it has a body."""
    returned = handler.parsed_fn_signature.return_type
    if returned.is_none_type:
        return []
    return [returned.inner_types[0].annotation if returned.inner_types else returned.annotation]


def _complete(
    handler: HTTPRouteHandler,
    operation: dict[str, Any],
    schema_of: Mapping[Any, Any],
    *,
    visitors: bool,
) -> None:
    said = description_of(handler)
    summary, _, description = operation.get("description", "").partition("\n\n")
    operation |= {"summary": summary.replace("\n", " "), "description": description}
    operation.pop("deprecated", None)
    if handler.opt.get("public"):
        operation["security"] = []
    elif visitors and handler.opt.get("visited"):
        operation["security"] = [{}, {"bearer": []}]
    parameters = [_parameter(each) for each in operation.pop("parameters", [])]
    if said.signature:
        parameters.append(_signature(said.signature))
    if parameters:
        operation["parameters"] = parameters
    if kinds := _body_types(handler):
        operation["requestBody"] = {
            "required": bool(said.body_type) or not _is_optional(handler),
            "content": _json(schema_of[kinds[0]], said.body),
        }
    own = {status: schema_of[kind] for status, kind in _own_problems(handler).items()}
    operation["responses"] = {
        str(handler.status_code): _success(handler, said, schema_of),
        **(_unchanged(said) if said.unchanged else {}),
        **dict(_refusals(possible(handler), said, own, schema_of[Problem])),
    }


def _link(operations: Sequence[_Operation]) -> None:
    """Say of each answer with a thing's id which operations take that id."""
    takers: dict[str, list[str]] = {}
    for handler, told in operations:
        for each in told.get("parameters", []):
            if each["in"] == "path":
                takers.setdefault(each["name"], []).append(handler.handler_name)
    for handler, told in operations:
        links: dict[str, Any] = {}
        for kind in _answer_types(handler):
            things, place = (
                (get_args(kind), "/data/0") if get_origin(kind) is Page else ((kind,), "")
            )
            for parameter in (_ID_OF[each] for each in things if each in _ID_OF):
                links |= {
                    name: {
                        "operationId": name,
                        "parameters": {parameter: f"$response.body#{place}/id"},
                    }
                    for name in takers[parameter]
                    if name != handler.handler_name
                }
        if links:
            told["responses"][str(handler.status_code)]["links"] = links


def _is_optional(handler: HTTPRouteHandler) -> bool:
    return bool(handler.parsed_data_field and handler.parsed_data_field.is_optional)


def _json(schema: Any, example: object) -> dict[str, Any]:
    content = {"schema": schema}
    if example is not None:
        content["example"] = msgspec.to_builtins(example)
    return {"application/json": content}


def _success(
    handler: HTTPRouteHandler, said: Described, schema_of: Mapping[Any, Any]
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": said.returns,
        "headers": _headers(handler.status_code, said.headers),
    }
    for kind in _answer_types(handler):
        answer["content"] = _json(schema_of[kind], said.answer)
    return answer


def _unchanged(said: Described) -> dict[str, Any]:
    return {
        "304": {
            "description": "You have the current version: nothing has changed.",
            "headers": _headers(304, said.headers),
        }
    }


def _refusals(
    all_possible: Sequence[Possible], said: Described, own: Mapping[int, Any], problem: Any
) -> Iterator[tuple[str, Any]]:
    """Yield what may be answered instead of a success, by status; `own` are schemas of such
    documents that have further members."""
    for status, those in groupby(all_possible, key=lambda each: each.status):
        codes = list(those)
        if len(codes) == 1 and codes[0] in OF_EVERY_REQUEST:
            yield str(status), {"$ref": f"#/components/responses/{_name(codes[0])}"}
            continue
        schema = {"anyOf": [own[status], problem]} if status in own else problem
        yield str(status), _refused(codes, said.more, schema)


def _refused(
    codes: Sequence[Possible], more_of: Mapping[int | str, Mapping[str, object]], schema: Any
) -> dict[str, Any]:
    """Return the answer of one status: each code with its meaning, and an example of each.

    `more_of` are further members of the document, by status or code.
    """
    status = codes[0].status
    more = {each.code: more_of.get(each.code) or more_of.get(status) for each in codes}
    own: dict[str, Header] = {}
    for each in codes:
        if seconds := RETRY_AFTER_OF.get(each.code):
            own["Retry-After"] = Header(
                description=_SHARED["Retry-After"].description, example=seconds, always=False
            )
    return {
        "description": "\n".join(f"- `{each.code}`: {each.meaning}" for each in codes),
        "headers": _headers(status, own),
        "content": {
            MEDIA_TYPE: {
                "schema": schema,
                "examples": {
                    each.code: _example(each, members)
                    if (members := more[each.code])
                    else {"$ref": f"#/components/examples/{_name(each)}"}
                    for each in codes
                },
            }
        },
    }


def _example(of: Possible, more: Mapping[str, object]) -> dict[str, Any]:
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(of.status).phrase,
        "status": of.status,
        "code": of.code,
        "detail": of.meaning,
        "trace_id": examples.TRACE_ID,
        **more,
    }
    return {"summary": of.meaning, "value": problem}


def _name(of: Possible) -> str:
    return "".join(word.capitalize() for word in of.code.split("_"))


def _headers(status: int, own: Mapping[str, Header] | None = None) -> dict[str, Any]:
    """Return the headers of an answer: those of many, and its `own`."""
    shared = (*_OF_EVERY_ANSWER, *_OF_STATUS.get(status, ()))
    return {
        **{name: {"$ref": f"#/components/headers/{_letters(name)}"} for name in shared},
        **{name: _header(header) for name, header in (own or {}).items()},
    }


def _header(header: Header) -> dict[str, Any]:
    return {
        "description": header.description,
        "required": header.always,
        "schema": {"type": "string"},
        "example": header.example,
    }


def _letters(name: str) -> str:
    return name.replace("-", "")


def _parameter(told: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter as it can be sent: it is there or not, and never null."""
    schema: dict[str, Any] = dict(told["schema"])
    alternatives: list[dict[str, Any]] = schema.pop("oneOf", [])
    for alternative in alternatives:
        if alternative != {"type": "null"}:
            schema |= alternative
    description = schema.pop("description", None) or _PARAMETERS.get(told["name"])
    if "$ref" in schema:
        schema["$ref"] = reference_for_clients(schema["$ref"])
    for limit in ("minimum", "maximum"):
        if limit in schema:
            schema[limit] = int(schema[limit])
    parameter = {"name": told["name"], "in": told["in"], "required": told["required"]}
    if description:
        parameter["description"] = description
    parameter["schema"] = schema
    if told["name"] in _EXAMPLES:
        parameter["example"] = _EXAMPLES[told["name"]]
    return parameter


def _signature(header: str) -> dict[str, Any]:
    return {
        "name": header,
        "in": "header",
        "required": True,
        "description": "`t=` and Unix seconds, `,v1=` and the HMAC-SHA256 of `<t>.<body>` in hex",
        "schema": {"type": "string"},
        "example": f"t=1796031000,v1={hashlib.sha256().hexdigest()}",
    }
