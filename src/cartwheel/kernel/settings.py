"""Settings come from the environment, are read once, and are checked before anything starts.

A field `mongodb_uri: MongodbUri` is the variable `MONGODB_URI`; a default makes it optional:

    class Settings(msgspec.Struct, frozen=True, kw_only=True):
        mongodb_uri: MongodbUri
        port: int = 8000

    settings = read(Settings)

A field's type may also be a class made from text; what it raises as a ValueError is told.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from msgspec.inspect import BoolType, IntType, Metadata, NoneType, Type, UnionType, type_info

# None has an @ but before the host: a password with a / or ? in it is refused for what it is,
# rather than taken for a host and shown.
_HOST = r"(?:[^\s:/?#@,\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"
_USER = r"(?:[^\s/?#]*@)?"
_REST = r"(?:[/?][^\s@]*)?\Z"
_AMQP_URL = rf"amqps?://{_USER}{_HOST}(?:[/?][^\s@,]*)?"

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
        pattern=rf"^{_AMQP_URL}(?:,{_AMQP_URL})*\Z",
        description="amqp://USER:PASSWORD@HOST:PORT/VHOST, percent-encoded; "
        "several, one for each node of a cluster, with commas between them",
    ),
]
_NEXT_AMQP_URL = re.compile(r",(?=amqps?://)")
HttpUrl = Annotated[
    str, Meta(pattern=rf"^https?://{_USER}{_HOST}{_REST}", description="http://HOST:PORT")
]
AmqpClient = Annotated[Literal["built-in", "aiormq"], Meta(description="built-in or aiormq")]
"""The setting AMQP_CLIENT: Cartwheel's own client, or the library."""

LogLevel = Annotated[
    str,
    Meta(
        pattern=r"^(DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\Z",
        description="DEBUG, INFO, WARNING, ERROR or CRITICAL",
    ),
]

LONGEST_DATABASE_NAME = 63
"""Bytes that MongoDB takes as a database's name. Source:
https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions"""

_LONGEST_PREFIX = LONGEST_DATABASE_NAME - len("notifications")
DatabasePrefix = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]*\Z",
        max_length=_LONGEST_PREFIX,
        description=f"up to {_LONGEST_PREFIX} letters, digits, - and _",
    ),
]
"""The setting MONGODB_DATABASE_PREFIX: deployments that share a cluster each have their own.

Of the characters that MongoDB takes, those that no shell, URI or log has to quote.
"""


def each_url(rabbitmq_url: AmqpUrl) -> list[str]:
    """Return the URLs that RABBITMQ_URL lists."""
    return _NEXT_AMQP_URL.split(rabbitmq_url)


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs; a service with more of its own subclasses this."""

    mongodb_uri: MongodbUri
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"
    log_level: LogLevel = "INFO"


Settings = TypeVar("Settings", bound=msgspec.Struct)


class BadSettings(Exception):
    """A variable is missing or malformed; the message names each one and what it should be."""


def read(kind: type[Settings], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return a `kind` filled from `environment`.

    An empty variable counts as not given.

    Raises:
        BadSettings: with one line per variable at fault, never with its value (it may be secret).
    """
    values, faults = _converted(kind, environment)
    missing = [
        f"{field.name.upper()} is not set"
        for field in msgspec.structs.fields(kind)
        if field.required and not environment.get(field.name.upper())
    ]
    if missing or faults:
        raise BadSettings("\n".join([*missing, *faults]))
    return kind(**values)


def check(kinds: Iterable[type[msgspec.Struct]], environment: Mapping[str, str]) -> None:
    """Return if what `environment` gives has the form that `kinds` ask for; it may lack the rest.

    Raises:
        BadSettings: with one line per variable at fault, never with its value (it may be secret).
    """
    faults = [fault for kind in kinds for fault in _converted(kind, environment)[1]]
    if faults:
        raise BadSettings("\n".join(dict.fromkeys(faults)))


def _converted(
    kind: type[msgspec.Struct], environment: Mapping[str, str]
) -> tuple[dict[str, object], list[str]]:
    """Return the fields that `environment` gives, and a line for each that is malformed."""
    values: dict[str, object] = {}
    faults: list[str] = []
    for field in msgspec.structs.fields(kind):
        variable = field.name.upper()
        if not (given := environment.get(variable)):
            continue
        try:
            values[field.name] = msgspec.convert(
                given, field.type, strict=False, dec_hook=_from_text
            )
        except msgspec.ValidationError as error:
            faults.append(f"{variable} is malformed: {_expected(type_info(field.type), error)}")
    return values, faults


def _from_text(kind: type[Any], text: Any) -> Any:
    return kind(text)


def read_or_exit(process: str, kind: type[Settings]) -> Settings:
    """Return a `kind` filled from this process's environment, or end the process."""
    try:
        return read(kind)
    except BadSettings as error:
        sys.exit(f"{process} cannot start:\n{error}")


def _expected(kind: Type, error: msgspec.ValidationError) -> str:
    """Return what a field's type asks for, in words."""
    match kind:
        case UnionType(types):
            return next(_expected(each, error) for each in types if not isinstance(each, NoneType))
        case Metadata(extra_json_schema={"description": str(description)}):
            return f"expected {description}"
        case BoolType():
            return "expected true or false"
        case IntType(ge=None):
            return "expected a whole number"
        case IntType(ge=least, le=None):
            return f"expected a whole number, {least} or more"
        case IntType(ge=least, le=most):
            return f"expected a whole number from {least} to {most}"
        case _:  # a class made from text has said it itself
            said = str(error)
            return said[:1].lower() + said[1:]
