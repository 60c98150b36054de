"""The schemas of the API's description: what msgspec checks, under names for clients.

A contract's `OrderView` is `Order` for clients, and `Page[OrderView]` is `OrderPage`. Names have
letters and digits only, so that every generator makes a class of each.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec

_PREFIX = "#/components/schemas/"
_CLEAN = {
    "Failure": "PaymentFailure",
    "Line": "OrderLine",
    "Me": "Account",
    "Method": "PaymentMethod",
    "Tokens": "Tokens",
    "User": "Customer",
}
"""Names in contracts that are clear there, beside the message that has them, and not alone."""
_PAGE = re.compile(r"Page_(\w+)_")


def components(kinds: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the schemas of `kinds`, in their order, and the components that these refer to.

    Raises:
        ValueError: two types have the same name for clients, or one that is not clean.
    """
    schemas, found = msgspec.json.schema_components(
        kinds, ref_template=_PREFIX + "{name}", schema_hook=_anything
    )
    names = {name: _clean(name) for name in found}
    for name in names.values():
        if list(names.values()).count(name) > 1 or not re.fullmatch("[A-Za-z0-9]+", name):
            raise ValueError(f"{name} is the name of two schemas, or not a name for clients")
    of_clients = {_PREFIX + name: _PREFIX + clean for name, clean in names.items()}
    return (
        [_told(schema, of_clients) for schema in schemas],
        {
            names[name]: {**_told(schema, of_clients), "title": names[name]}
            for name, schema in sorted(found.items(), key=lambda each: names[each[0]])
        },
    )


def _anything(kind: Any) -> dict[str, Any]:
    if kind is not object:
        raise NotImplementedError
    return {"description": "Of no fixed type"}


def _clean(name: str) -> str:
    if page := _PAGE.fullmatch(name):
        return f"{_clean(page[1])}Page"
    name = name.lstrip("_").removesuffix("View")
    return _CLEAN.get(name, name)


def _told(part: Any, names: dict[str, str]) -> Any:
    """Return a part of a schema as OpenAPI has it; `names` are of references."""
    if isinstance(part, str):
        return names.get(part, part)
    if isinstance(part, list):
        return [_told(each, names) for each in cast("list[Any]", part)]
    if isinstance(part, dict):
        return _told_schema(cast("dict[str, Any]", part), names)
    return part


def _told_schema(schema: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    told = {key: _told(value, names) for key, value in schema.items()}
    if "discriminator" in told:  # exactly one of them fits, as it is told by a field
        told["oneOf"] = told.pop("anyOf")
    if "enum" in told:
        told["type"] = "string"
        if len(told["enum"]) == 1:
            [told["const"]] = told.pop("enum")
    for field, schema in told.get("properties", {}).items():
        if field == "at" or field.endswith("_at"):
            # msgspec does not say so, as it also takes a time without a zone.
            _tell_of_time(schema)
    return told


def _tell_of_time(schema: dict[str, Any]) -> None:
    for each in (schema, *schema.get("anyOf", ())):
        if each.get("type") == "string":
            each["format"] = "date-time"
