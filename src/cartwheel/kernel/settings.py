"""Settings come from the environment, are read once, and are checked before anything starts.

A field `mongodb_uri: MongodbUri` is the variable `MONGODB_URI`; a default makes it optional:

    class Settings(msgspec.Struct, frozen=True, kw_only=True):
        mongodb_uri: MongodbUri
        port: int = 8000

    settings = read(Settings)

A field's type may also be a class made from text; what it raises as a ValueError is told. A field
of the type `DatabaseAddresses` is read from several variables.
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
OwnMongodbUri = Annotated[
    str,
    Meta(
        pattern=rf"^mongodb(\+srv)?://{_USER}{_HOST}(,{_HOST})*"
        r"(/(?!(admin|config|local)(\?|\Z))[A-Za-z0-9_-]{0,63})?(\?[^\s@]*)?\Z",
        description="mongodb://USER:PASSWORD@HOST:PORT/DATABASE?authSource=admin, percent-encoded; "
        "DATABASE is the service's, and not admin, config or local",
    ),
]
"""One service's alone: its path names the database."""

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
_MANAGEMENT_URL = rf"https?://{_USER}{_HOST}(?:/[^\s@,?]*)?"
ManagementUrls = Annotated[
    str,
    Meta(
        pattern=rf"^{_MANAGEMENT_URL}(,{_MANAGEMENT_URL})*\Z",
        description="http://USER:PASSWORD@HOST:15672, percent-encoded; several stand with commas "
        "between them",
    ),
]
"""The setting RABBITMQ_MANAGEMENT_URL: where RabbitMQ's management API answers."""

AmqpClient = Annotated[Literal["built-in", "aiormq"], Meta(description="built-in or aiormq")]
"""The setting AMQP_CLIENT: Cartwheel's own client, or the library."""

LogLevel = Annotated[
    str,
    Meta(
        pattern=r"^(DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\Z",
        description="DEBUG, INFO, WARNING, ERROR or CRITICAL",
    ),
]

Port = Annotated[int, Meta(ge=1, le=65_535)]
"""A TCP port to listen on."""

LONGEST_DRAIN_SECONDS = 300
DrainSeconds = Annotated[
    float,
    Meta(
        ge=0,
        le=LONGEST_DRAIN_SECONDS,
        description=f"seconds from 0 to {LONGEST_DRAIN_SECONDS}, such as 5 or 2.5",
    ),
]
"""The setting DRAIN_SECONDS: how long a process that is told to stop is unready, and goes on
serving. Whoever sends it requests has to notice meanwhile."""

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


class DatabaseAddress(msgspec.Struct, frozen=True):
    """Where a service's database is. `variable` is the setting that `uri` comes from."""

    variable: str
    uri: str
    name: str


class DatabaseAddresses(msgspec.Struct, frozen=True):
    """Where the databases of some services are.

    A service's own `ORDERS_MONGODB_URI` wins over `MONGODB_URI`, and its path names the database.
    Otherwise the prefix and the service's name do. `read` is told for which services.
    """

    by_service: Mapping[str, DatabaseAddress] = {}

    def distinct(self) -> list[DatabaseAddress]:
        """Return one for each URI."""
        first: dict[str, DatabaseAddress] = {}
        for each in self.by_service.values():
            first.setdefault(each.uri, each)
        return list(first.values())


def own_mongodb_uri(service: str) -> str:
    """Return the variable that names the server of this service's database alone."""
    return f"{service.upper()}_MONGODB_URI"


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service needs; a service with more of its own subclasses this.

    With a `health_port`, probes are answered at `health_host`.
    """

    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"
    health_port: Port | None = None
    health_host: str = "127.0.0.1"
    drain_seconds: DrainSeconds = 0
    log_level: LogLevel = "INFO"


Settings = TypeVar("Settings", bound=msgspec.Struct)


class BadSettings(Exception):
    """A variable is missing or malformed; the message names each one and what it should be."""


def read(
    kind: type[Settings],
    environment: Mapping[str, str] = os.environ,
    *,
    databases: Iterable[str] = (),
) -> Settings:
    """Return a `kind` filled from `environment`.

    An empty variable counts as not given. A field of the type `DatabaseAddresses` gets those of the
    services that `databases` names.

    Raises:
        BadSettings: with one line per variable at fault, never with its value (it may be secret).
    """
    found = _found(kind, environment, databases)
    if found.missing or found.malformed:
        raise BadSettings("\n".join([*found.missing, *found.malformed]))
    return kind(**found.values)


def check(
    kinds: Iterable[type[msgspec.Struct]],
    environment: Mapping[str, str],
    *,
    databases: Iterable[str] = (),
) -> None:
    """Return if what `environment` gives has the form that `kinds` ask for; it may lack the rest.

    Raises:
        BadSettings: with one line per variable at fault, never with its value (it may be secret).
    """
    names = list(databases)
    faults = [fault for kind in kinds for fault in _found(kind, environment, names).malformed]
    if faults:
        raise BadSettings("\n".join(dict.fromkeys(faults)))


class _Found(msgspec.Struct, frozen=True):
    """The values that the environment gives, and a line for each variable at fault."""

    values: dict[str, object] = {}
    missing: list[str] = []
    malformed: list[str] = []


def _found(
    kind: type[msgspec.Struct], environment: Mapping[str, str], databases: Iterable[str]
) -> _Found:
    found = _Found()
    for field in msgspec.structs.fields(kind):
        variable = field.name.upper()
        if field.type is DatabaseAddresses:
            found.values[field.name] = _addresses(environment, databases, found)
        elif given := environment.get(variable):
            value = _converted(variable, field.type, given, found)
            if value is not None:
                found.values[field.name] = value
        elif field.required:
            found.missing.append(f"{variable} is not set")
    return found


def _converted(variable: str, kind: Any, given: str, found: _Found) -> Any:
    """Return the value, or None if it is malformed, which `found` is told."""
    try:
        return msgspec.convert(given, kind, strict=False, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        found.malformed.append(f"{variable} is malformed: {_expected(type_info(kind), error)}")
        return None


def _addresses(
    environment: Mapping[str, str], services: Iterable[str], found: _Found
) -> DatabaseAddresses:
    prefix = environment.get("MONGODB_DATABASE_PREFIX") or ""
    shared = environment.get("MONGODB_URI")
    addresses: dict[str, DatabaseAddress] = {}
    lacking: list[str] = []
    sharing: list[str] = []
    for service in services:
        variable = own_mongodb_uri(service)
        if own := environment.get(variable):
            if _converted(variable, OwnMongodbUri, own, found) is None:
                continue
            name = _path(own) or prefix + service
            if taken := [
                each.variable for each in addresses.values() if (each.uri, each.name) == (own, name)
            ]:
                found.malformed.append(f"{variable} is malformed: {taken[0]} names that database")
            addresses[service] = DatabaseAddress(variable, own, name)
        elif shared:
            sharing.append(service)
            addresses[service] = DatabaseAddress("MONGODB_URI", shared, prefix + service)
        else:
            lacking.append(variable)
    if sharing and shared:
        _converted("MONGODB_URI", MongodbUri, shared, found)
    if lacking:
        found.missing.append(f"MONGODB_URI is not set, nor {', '.join(lacking)}")
    return DatabaseAddresses(addresses)


_PATH = re.compile(r"[^:]+://[^/?]*/([^?]*)")


def _path(uri: str) -> str:
    found = _PATH.match(uri)
    return found[1] if found else ""


def _from_text(kind: type[Any], text: Any) -> Any:
    return kind(text)


def read_or_exit(process: str, kind: type[Settings]) -> Settings:
    """Return a `kind` filled from this process's environment, or end the process."""
    try:
        return read(kind, databases=[process])
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
