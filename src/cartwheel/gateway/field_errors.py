"""Why a field or parameter is refused, in a sentence that names it and says what it takes.

    `items[0].quantity` must be a whole number from 1 to 1,000,000.
    `status` must be one of AWAITING_PAYMENT, AUTHORIZED, PAID, REJECTED, CANCELED.
    `price.currency` is required.

The sentence is made from the field's type, so it is true for every constraint, lists the values of
an enum and shows no regular expression. It never repeats what the client sent.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from cartwheel.contracts import text
from cartwheel.kernel.errors import FieldError

_PATH = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`$")
_STEP = re.compile(r"\w+|[^\w.\[\]]+")
_INDEX = re.compile(r"[0-9]{1,6}")
_MISSING = re.compile(r"Object missing required field `(.+)`")


def of_body(error: msgspec.ValidationError, kind: Any) -> FieldError:
    """Return what is wrong in a body that should be a `kind`.

    msgspec says where: "Expected `int`, got `str` - at `$.items[0].quantity`". An unknown field is
    not named, since its name is the client's own text.
    """
    message = str(error)
    found = _PATH.search(message)
    path = found[1] if found else ""
    reason = message[: found.start()] if found else message
    kinds = _kinds_at(_described(kind), path)
    if not kinds:  # What looks like a path is the end of an unknown field's name.
        path, kinds = "", [*_alternatives(_described(kind))]
    if missing := _MISSING.fullmatch(reason):
        return required(f"{path}.{missing[1]}" if path else missing[1])
    if reason.startswith("Object contains unknown field"):
        return _unknown(path, kinds)
    return FieldError(path, f"{_subject(path)} must be {_either(kinds)}.")


def of_parameter(name: str, argument: str, signature: type[msgspec.Struct]) -> FieldError:
    """Return what the parameter `name` takes, which is `argument` in a handler's `signature`."""
    kinds = [
        kind
        for field in msgspec.structs.fields(signature)
        if field.name == argument
        for kind in _alternatives(_described(field.type))
        if not isinstance(kind, inspect.NoneType)  # left out, rather than sent as null
    ]
    return FieldError(name, f"{_subject(name)} must be {_either(kinds)}.")


def required(field: str) -> FieldError:
    return FieldError(field, f"`{field}` is required.")


def told(errors: Sequence[FieldError]) -> str:
    """Return the `detail` of a problem with these errors: all their messages."""
    return " ".join(error.message for error in errors)


def _subject(field: str) -> str:
    return f"`{field}`" if field else "The body"


def _unknown(path: str, kinds: Sequence[inspect.Type]) -> FieldError:
    objects = [each for each in kinds if isinstance(each, inspect.StructType)]
    message = f"{_subject(path)} has an unknown field."
    if len(objects) == 1:
        tag = [objects[0].tag_field] if objects[0].tag_field else []
        known = ", ".join([*tag, *(field.encode_name for field in objects[0].fields)])
        message += f" Its fields are {known}."
    return FieldError(path, message)


_described = cache(inspect.type_info)


def _kinds_at(kind: inspect.Type, path: str) -> list[inspect.Type]:
    """Return what may be at `path` in `kind`; nothing if `kind` has no such path."""
    kinds = [*_alternatives(kind)]
    for step in _STEP.findall(path):
        inner = [found for outer in kinds for found in _inside(outer, step)]
        kinds = [each for found in inner for each in _alternatives(found)]
    return kinds


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types of a union, without what only describes them."""
    if isinstance(kind, inspect.Metadata):
        return _alternatives(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [found for each in kind.types for found in _alternatives(each)]
    return [kind]


def _inside(kind: inspect.Type, step: str) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        fields = {field.encode_name: field.type for field in kind.fields}
        if kind.tag_field and isinstance(kind.tag, str):
            fields[kind.tag_field] = inspect.LiteralType((kind.tag,))
        return [fields[step]] if step in fields else []
    if isinstance(kind, inspect.ListType) and _INDEX.fullmatch(step):
        return [kind.item_type]
    return []


def _either(kinds: Sequence[inspect.Type]) -> str:
    """Return what any of `kinds` takes, each once, null first."""
    values = [value for kind in kinds for value in _values(kind)]
    takes = [f"one of {', '.join(values)}"] if len(values) > 1 else values
    takes += [_takes(kind) for kind in kinds if not _values(kind)]
    takes.sort(key=lambda each: each != "null")
    return " or ".join(dict.fromkeys(takes))


def _values(kind: inspect.Type) -> list[str]:
    match kind:
        case inspect.EnumType(cls):
            return [str(each.value) for each in cls]
        case inspect.LiteralType(values):
            return [str(each) for each in values]
        case _:
            return []


def _takes(kind: inspect.Type) -> str:
    match kind:
        case inspect.NoneType():
            return "null"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number{_range(' from', least, most)}"
        case inspect.StrType(min_length=least, max_length=most, pattern=pattern):
            words = text.IN_WORDS[pattern] if pattern else "text"
            length = _range(",", least, most)
            return f"{words}{length} characters long" if length else words
        case inspect.ListType(min_length=least, max_length=most):
            length = _range(" of", least, most)
            return f"a list{length} items" if length else "a list"
        case _:
            return "a JSON object"


def _range(before: str, least: int | None, most: int | None) -> str:
    if least is not None and most is not None:
        return f"{before} {least:,} to {most:,}"
    if most is not None:
        return f"{before} at most {most:,}"
    return f"{before} at least {least:,}" if least is not None else ""
