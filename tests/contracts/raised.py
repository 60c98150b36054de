"""Which refusals a function may raise or return, read off its source and that of all it calls.

What is read: calls of refusals' classes, in the function and in every function of Cartwheel that it
names, or reaches through a port (by the adapters that have such a method). A request that it sends
may be refused as that request's contract says. Not read: refusals that are kept in a variable, as
those of Cognito are.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, cast

from cartwheel.kernel import Request
from cartwheel.kernel.errors import Refusal


class Found(NamedTuple):
    refusals: set[type[Refusal]]
    requests: set[type[Request[Any]]]


def raised_by(function: Callable[..., Any], adapters: Sequence[type] = ()) -> Found:
    """Return what `function` may refuse and which requests it makes; `adapters` are behind the
    ports that it is given."""
    found = Found(set(), set())
    seen: set[FunctionType] = set()
    waiting = [cast("FunctionType", inspect.unwrap(function))]
    while waiting:
        reading = waiting.pop()
        if reading in seen:
            continue
        seen.add(reading)
        for named, is_called in _named(reading, adapters):
            if isinstance(named, FunctionType):
                if named.__module__.startswith("cartwheel."):
                    waiting.append(cast("FunctionType", inspect.unwrap(named)))
            elif isinstance(named, type) and is_called:
                if issubclass(named, Refusal):
                    found.refusals.add(named)
                elif issubclass(named, Request):
                    found.requests.add(cast("type[Request[Any]]", named))
                    found.refusals.update(named.refusals)
    return found


def _named(function: FunctionType, adapters: Sequence[type]) -> Iterator[tuple[object, bool]]:
    """Yield what a function names, and whether it calls that."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    ports = {
        name
        for name, kind in function.__annotations__.items()
        if isinstance(kind, type) and kind.__module__.endswith(".ports")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            if named := _resolved(node, function):
                yield named, id(node) in called
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in (*ports, "self"):
                yield from ((method, True) for method in _methods(node.attr, adapters))


def _methods(name: str, adapters: Sequence[type]) -> Iterator[object]:
    # What an adapter refuses where there is nothing is given to its base when it is made.
    name = "__init__" if name == "_missing" else name
    return (getattr(adapter, name) for adapter in adapters if hasattr(adapter, name))


def _resolved(node: ast.expr, function: FunctionType) -> object:
    """Return what a name, or an attribute of a module or class, stands for in `function`."""
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolved(node.value, function)
        if isinstance(owner, ModuleType | type):
            return getattr(owner, node.attr, None)
    return None
