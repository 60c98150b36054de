"""Settings come from the environment, are read once, and are checked before anything starts.

A field `mongodb_uri: MongodbUri` is the variable `MONGODB_URI`; a default makes it optional:

    class Settings(msgspec.Struct, frozen=True, kw_only=True):
        mongodb_uri: MongodbUri
        port: int = 8000

    settings = read(Settings)

A field's type may also be a class made from text; what it raises as a ValueError is told.
"""

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from msgspec import Meta

# None has an @ but before the host: a password with a / or ? in it is refused for what it is,
# rather than taken for a host and shown.
_HOST = r"(?:[^\s:/?#@,\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"
_USER = r"(?:[^\s/?#]*@)?"
_REST = r"(?:[/?][^\s@]*)?\Z"

MongodbUri = Annotated[
    str,
    Meta(
        pattern=rf"^mongodb(\+srv)?://{_USER}{_HOST}(,{_HOST})*{_REST}",
        description="mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME, percent-encoded",
    ),
]
AmqpUrl = Annotated[
    str,
    Meta(
        pattern=rf"^amqps?://{_USER}{_HOST}{_REST}",
        description="amqp://USER:PASSWORD@HOST:PORT/VHOST, percent-encoded",
    ),
]
HttpUrl = Annotated[
    str, Meta(pattern=rf"^https?://{_USER}{_HOST}{_REST}", description="http://HOST:PORT")
]
LogLevel = Annotated[
    str,
    Meta(
        pattern=r"^(DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\Z",
        description="DEBUG, INFO, WARNING, ERROR or CRITICAL",
    ),
]

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
            faults.append(f"{variable} is malformed: {_expected(field.type) or error}")
    if faults:
        raise BadSettings("\n".join(faults))
    return kind(**values)


def _from_text(kind: type[Any], text: Any) -> Any:
    return kind(text)


def read_or_exit(process: str, kind: type[Settings]) -> Settings:
    """Return a `kind` filled from this process's environment, or end the process."""
    try:
        return read(kind)
    except BadSettings as error:
        sys.exit(f"{process} cannot start:\n{error}")


def _expected(kind: object) -> str | None:
    """Return what a field's annotation (or, beside None, a part of it) says is expected."""
    for part in get_args(kind):
        if isinstance(part, Meta) and part.description:
            return f"expected {part.description}"
        if said := _expected(part):
            return said
    return None
