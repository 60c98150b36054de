"""Messages keep their shape, so that processes of two versions understand each other.

`golden/` has each message as released code writes it. Later code must still read these files and
write at least the same fields. To add a new message or a new optional field, run

    UPDATE_GOLDEN=1 make test ARGS=tests/contracts

It writes additions only: the test still fails if a field is missing, renamed or of another type.
Such a change needs a new message (`order.paid.v2`) beside the old one. Only the file of a message
that was never released may be deleted and written again.
"""

import os
import pkgutil
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest
from msgspec import structs

import cartwheel.contracts
from cartwheel.kernel import Event, Request
from cartwheel.kernel.errors import Refusal
from cartwheel.kernel.operating import wire
from cartwheel.kernel.testing import answer_type
from cartwheel.services import SERVICES, events

from .examples import EVENTS, REQUESTS

GOLDEN = Path(__file__).parent / "golden"
MODULES = tuple(
    import_module(f"cartwheel.contracts.{each.name}")
    for each in pkgutil.iter_modules(cartwheel.contracts.__path__)
)

Message = tuple[str, Any, list[Any]]
"""The name of a golden file, the type in it, and examples of that type."""


def emptied(value: Any) -> Any:
    """Return `value` without its optional fields."""
    if isinstance(value, list):
        return [emptied(item) for item in cast("list[Any]", value)]
    if not isinstance(value, msgspec.Struct):
        return value
    fields = structs.fields(value)
    empty = {
        field.name: None if allows_none(field.type) else emptied(getattr(value, field.name))
        for field in fields
    }
    return structs.replace(value, **empty)


def allows_none(kind: Any) -> bool:
    if isinstance(kind, TypeVar):  # the parameter of a generic type is unknown here
        return False
    try:
        msgspec.convert(None, kind)
    except msgspec.ValidationError:
        return False
    return True


def full_and_empty(examples: Sequence[Any]) -> list[Any]:
    return [*examples, *(empty for value in examples if (empty := emptied(value)) not in examples)]


MESSAGES: list[Message] = [
    *((f"{kind.type}.request", kind, full_and_empty(q)) for kind, (q, _) in REQUESTS.items()),
    *(
        (f"{kind.type}.answer", answer_type(kind), full_and_empty(a))
        for kind, (_, a) in REQUESTS.items()
    ),
    *((kind.type, kind, full_and_empty(told)) for kind, told in EVENTS.items()),
]
every_message = pytest.mark.parametrize(
    ("name", "kind", "examples"), MESSAGES, ids=[name for name, _, _ in MESSAGES]
)


def golden(name: str, written: list[Any]) -> list[Any]:
    """Return the content of the golden file. With UPDATE_GOLDEN, add new messages and fields."""
    path = GOLDEN / f"{name}.json"
    if not path.exists() and os.environ.get("UPDATE_GOLDEN"):
        write(path, written)
    assert path.exists(), f"{name} has no golden file: UPDATE_GOLDEN=1 writes it"
    held: list[Any] = msgspec.json.decode(path.read_bytes())
    if os.environ.get("UPDATE_GOLDEN") and not lost(held, written):
        write(path, written)
        held = written
    return held


def write(path: Path, content: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def lost(before: object, after: object, path: str = "$") -> list[str]:
    """Return the paths at which `after` lacks a value of `before`, or has a different one."""
    same = type(before) is type(after) and before == after
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
    elif isinstance(before, list) and isinstance(after, list):
        old = {str(index): item for index, item in enumerate(cast("list[Any]", before))}
        new = {str(index): item for index, item in enumerate(cast("list[Any]", after))}
    else:
        return [] if same else [path]
    faults: list[str] = []
    for name, value in old.items():
        here = f"{path}.{name}"
        faults += lost(value, new[name], here) if name in new else [here]
    return faults


def from_a_later_version(content: Any) -> Any:
    """Return `content` with an additional field in each of its objects."""
    if isinstance(content, list):
        return [from_a_later_version(item) for item in cast("list[Any]", content)]
    if not isinstance(content, dict):
        return content
    fields = cast("dict[str, Any]", content)
    more = {name: from_a_later_version(value) for name, value in fields.items()}
    return {**more, "from_a_later_version": {"deep": [1]}}


def structs_in(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from structs_in(item)
    elif isinstance(value, msgspec.Struct):
        yield value
        for field in structs.fields(value):
            yield from structs_in(getattr(value, field.name))


def is_message(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, Request | Event)
        and kind not in (Request, Event)
    )


@every_message
def test_a_message_is_written_as_before(name: str, kind: Any, examples: list[Any]) -> None:
    written = msgspec.json.decode(wire.encode(examples))

    held = golden(name, written)

    assert not lost(held, written), "incompatible: readers of an older version miss this"
    assert held == written, "something was added: run with UPDATE_GOLDEN=1"


@every_message
def test_a_message_of_an_older_version_is_read(name: str, kind: Any, examples: list[Any]) -> None:
    held = golden(name, msgspec.json.decode(wire.encode(examples)))

    assert msgspec.json.decode(wire.encode(held), type=list[kind]) == examples


@every_message
def test_a_message_of_a_later_version_is_read(name: str, kind: Any, examples: list[Any]) -> None:
    later = from_a_later_version(golden(name, msgspec.json.decode(wire.encode(examples))))

    assert msgspec.json.decode(wire.encode(later), type=list[kind]) == examples


@every_message
def test_the_examples_fill_every_field(name: str, kind: Any, examples: list[Any]) -> None:
    filled: dict[str, bool] = {}
    for value in structs_in(examples):
        for field in structs.fields(value):
            key = f"{type(value).__name__}.{field.name}"
            given = getattr(value, field.name) not in (None, msgspec.UNSET, [])
            filled[key] = filled.get(key, False) or given

    empty = {key for key, given in filled.items() if not given}

    assert {key for key in empty if not key.endswith(".traceparent")} == set()


def test_every_message_of_the_contracts_has_an_example() -> None:
    defined: set[Any] = {
        kind for module in MODULES for kind in vars(module).values() if is_message(kind)
    }

    assert defined == REQUESTS.keys() | EVENTS.keys()


def test_every_event_of_the_contracts_is_declared() -> None:
    assert set(events()) == EVENTS.keys()


def test_no_two_messages_share_a_name() -> None:
    assert len({name for name, _, _ in MESSAGES}) == len(MESSAGES)


def test_every_golden_file_has_a_message() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {name for name, _, _ in MESSAGES} | {
        "routes",
        "refusals",
    }


def test_services_and_consumers_stay_the_same() -> None:
    """RabbitMQ's queues and bindings depend on who answers a request and who consumes an event."""
    routes: dict[str, list[str]] = {kind.type: [kind.service] for kind in REQUESTS}
    routes |= {kind.type: sorted(kind.consumers) for kind in EVENTS}

    held = golden("routes", [routes])

    assert held == [routes]
    assert {name for consumers in routes.values() for name in consumers} <= set(SERVICES)


def test_a_refusal_keeps_its_code_and_kind() -> None:
    """Clients act on the code. Callers that are too old to know the code act on the kind."""
    refusals = {
        kind.code: msgspec.json.decode(wire.write_refusal(kind("no")))["kind"]
        for module in MODULES
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Refusal) and "code" in vars(kind)
    }

    held = golden("refusals", [refusals])

    assert held == [refusals]


@pytest.mark.parametrize(
    ("after", "where"),
    [
        ({"id": "x", "total": {"amount": 1}, "new": 1}, []),
        ({"total": {"amount": 1}}, ["$.id"]),
        ({"ident": "x", "total": {"amount": 1}}, ["$.id"]),
        ({"id": 7, "total": {"amount": 1}}, ["$.id"]),
        ({"id": "x", "total": {"amount": "1"}}, ["$.total.amount"]),
        ({"id": "x", "total": {"amount": True}}, ["$.total.amount"]),
    ],
)
def test_missing_and_changed_values_are_named(after: dict[str, Any], where: list[str]) -> None:
    before = {"id": "x", "total": {"amount": 1}}

    assert lost(before, after) == where
