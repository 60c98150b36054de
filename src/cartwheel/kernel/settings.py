"""Settings come from the environment, are read once, and are checked before anything starts.

A field `mongodb_uri: str` is the variable `MONGODB_URI`; a default makes it optional:

    class Settings(msgspec.Struct, frozen=True, kw_only=True):
        mongodb_uri: str
        port: int = 8000

    settings = read(Settings)

A field's type may also be a class made from text; what it raises as a ValueError is told.
"""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

Settings = TypeVar("Settings", bound=msgspec.Struct)


class BadSettings(Exception):
    """A variable is missing or malformed; the message names each one and what it should be."""


def read(kind: type[Settings], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return a `kind` filled from `environment`.

    An empty variable counts as not given.

    Raises:
        BadSettings: with one line per variable at fault, never with its value (it may be secret).
    """
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(kind):
        variable = field.name.upper()
        given = environment.get(variable)
        if not given:
            if field.required:
                faults.append(f"{variable} is not set")
            continue
        try:
            values[field.name] = msgspec.convert(
                given, field.type, strict=False, dec_hook=_from_text
            )
        except msgspec.ValidationError as error:
            faults.append(f"{variable} is malformed: {error}")
    if faults:
        raise BadSettings("\n".join(faults))
    return kind(**values)


def _from_text(kind: type[Any], text: Any) -> Any:
    return kind(text)
