"""What requests and operations may refuse is what they say: clients read it in the document."""

import ast
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from cartwheel.contracts.fulfilment import ShipOrder
from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.ledger import ReconcilePayment
from cartwheel.contracts.payments import CreatePayment, PaymentNotFound
from cartwheel.contracts.products import (
    AdjustStock,
    ArchiveProduct,
    MixedCurrencies,
    NameTaken,
    OrderTooLarge,
    PriceChanged,
    ProductNotFound,
    ReserveStock,
    RestoreProduct,
    SkuTaken,
    StockChanged,
    TooManyOpenOrders,
    TooManyPieces,
    UnknownProduct,
)
from cartwheel.gateway.app import ROUTES
from cartwheel.gateway.described import description_of
from cartwheel.gateway.possible import possible
from cartwheel.kernel import Request
from cartwheel.kernel.errors import Invalid, Refusal
from cartwheel.services import SERVICES

from .examples import REQUESTS
from .raised import raised_by

UNREACHABLE: dict[type[Request[Any]], set[type[Refusal]]] = {
    # An archived product keeps its SKU, and gives its name free.
    ArchiveProduct: {NameTaken, SkuTaken},
    RestoreProduct: {SkuTaken},
    # It changes the payment that it has just stored.
    CreatePayment: {PaymentNotFound},
    # The payment that it captures has made the order AUTHORIZED.
    ShipOrder: {PaymentNotFound},
    # A payment that is not known is an answer.
    ReconcilePayment: {PaymentNotFound},
    # One handler answers both, each with its own rules.
    ReserveStock: {Invalid, IdempotencyKeyReused, ProductNotFound, StockChanged},
    AdjustStock: {
        UnknownProduct,
        MixedCurrencies,
        TooManyPieces,
        OrderTooLarge,
        PriceChanged,
        TooManyOpenOrders,
    },
}
"""What the source says that may be refused, and does not happen."""

ANSWERS = ("answer", "answer_batch", "answer_together")


class Answered(NamedTuple):
    kind: type[Request[Any]]
    handler: Callable[..., Any]
    adapters: list[type]


def answered() -> Iterator[Answered]:
    """Yield each request with its handler, as the services' tables have them."""
    for name in SERVICES:
        app = import_module(f"cartwheel.{name}.app")
        adapters = list(adapters_of(name))
        [table] = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(app.wire)))).body
        for node in ast.walk(table):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ANSWERS:
                continue
            kinds, handler = node.args[:2]
            for kind in kinds.elts if isinstance(kinds, ast.Tuple) else [kinds]:
                yield Answered(told(app, kind), told(app, handler), adapters)


def told(module: ModuleType, name: ast.expr) -> Any:
    found: Any = module
    for step in ast.unparse(name).split("."):
        found = getattr(found, step)
    return found


def adapters_of(service: str) -> Iterator[type]:
    package = import_module(f"cartwheel.{service}")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "mongo" in found.name:
            module = import_module(found.name)
            for kind in vars(module).values():
                if isinstance(kind, type) and kind.__module__ == module.__name__:
                    yield kind


def handlers() -> Iterator[HTTPRouteHandler]:
    router = Router("/", route_handlers=ROUTES)
    for route in router.routes:
        assert isinstance(route, HTTPRoute)
        yield from (each for each in route.route_handlers if each.handler_name != "options_handler")


ANSWERED = list(answered())
# The router keeps them in sets; each worker of pytest has to collect them in the same order.
HANDLERS = sorted(handlers(), key=lambda handler: handler.handler_name)


def test_every_request_is_looked_at() -> None:
    assert {each.kind for each in ANSWERED} == REQUESTS.keys()
    assert len(HANDLERS) > 15


@pytest.mark.parametrize("each", ANSWERED, ids=lambda each: each.kind.type)
def test_a_request_names_all_that_its_service_may_refuse(each: Answered) -> None:
    refused = raised_by(each.handler, each.adapters).refusals

    assert set(each.kind.refusals) == refused - UNREACHABLE.get(each.kind, set())


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.handler_name)
def test_an_operation_describes_what_it_asks_and_refuses(handler: HTTPRouteHandler) -> None:
    found = raised_by(handler.fn)

    said = description_of(handler)
    assert set(said.asks) == found.requests
    described = {each.code for each in possible(handler)}
    assert {kind.code for kind in found.refusals - set(said.takes)} <= described
