"""Settings come from the environment. They are read once and checked before anything starts.

A field `mongodb_uri: MongodbUri` is the variable `MONGODB_URI`; a default makes it optional:

    class Settings(msgspec.Struct, frozen=True, kw_only=True):
        mongodb_uri: MongodbUri
        port: int = 8000

    settings = read(Settings)

A field's type may also be a class that is constructed from text; its ValueError is reported. A
field of type `DatabaseAddresses` is read from several variables.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from msgspec.inspect import BoolType, IntType, Metadata, NoneType, Type, UnionType, type_info

# An @ is allowed only before the host. Otherwise the rest of a password that holds / or ? would be
# mistaken for a path, and shown.
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
"""For one service only: its path names the database."""

AmqpUrl = Annotated[
    str,
    Meta(
        pattern=rf"^{_AMQP_URL}(?:,{_AMQP_URL})*\Z",
        description="amqp://USER:PASSWORD@HOST:PORT/VHOST, percent-encoded; "
        "several, one for each node of a cluster, separated by commas",
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
        description="http://USER:PASSWORD@HOST:15672, percent-encoded; "
        "several, separated by commas",
    ),
]
"""The setting RABBITMQ_MANAGEMENT_URL: the address of RabbitMQ's management API."""

AmqpClient = Annotated[Literal["built-in", "aiormq"], Meta(description="built-in or aiormq")]
"""The setting AMQP_CLIENT: Cartwheel's own client, or the library."""

LogLevel = Annotated[
    str,
    Meta(
        pattern=r"^(DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\Z",
        description="DEBUG, INFO, WARNING, ERROR or CRITICAL",
    ),
]

OnOrOff = Annotated[Literal["on", "off"], Meta(description="on or off")]

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
"""The setting DRAIN_SECONDS: how long a stopping process reports itself unready and still serves.
Load balancers must notice in that time."""

LONGEST_DATABASE_NAME = 63
"""The most bytes of a database's name in MongoDB. Source:
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
"""The setting MONGODB_DATABASE_PREFIX: different for each deployment that shares a cluster.

Allows the characters that need no quoting in a shell, a URI or a log.
"""


def each_url(rabbitmq_url: AmqpUrl) -> list[str]:
    """Return the URLs in RABBITMQ_URL."""
    return _NEXT_AMQP_URL.split(rabbitmq_url)


class DatabaseAddress(msgspec.Struct, frozen=True):
    """The address of a service's database. `variable` is the setting that holds `uri`."""

    variable: str
    uri: str
    name: str


class DatabaseAddresses(msgspec.Struct, frozen=True):
    """The addresses of some services' databases.

    A service's own `ORDERS_MONGODB_URI` takes precedence over `MONGODB_URI`, and its path names the
    database. Otherwise the name is the prefix and the service's name. `read` gets the services.
    """

    by_service: Mapping[str, DatabaseAddress] = {}

    def distinct(self) -> list[DatabaseAddress]:
        """Return one address for each URI."""
        first: dict[str, DatabaseAddress] = {}
        for each in self.by_service.values():
            first.setdefault(each.uri, each)
        return list(first.values())


def own_mongodb_uri(service: str) -> str:
    """Return the variable for this service's own database."""
    return f"{service.upper()}_MONGODB_URI"


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of every service. A service with more settings subclasses this.

    With a `health_port`, health probes are answered on `health_host`.
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
    """Variables are missing or malformed. The message names each one and what it should be."""


def read(
    kind: type[Settings],
    environment: Mapping[str, str] = os.environ,
    *,
    databases: Iterable[str] = (),
) -> Settings:
    """Return a `kind` with values from `environment`.

    An empty variable counts as unset. A field of type `DatabaseAddresses` gets the addresses of the
    services in `databases`.

    Raises:
        BadSettings: with one line for each bad variable, without its value (it may be secret).
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
    """Check the form of those settings of `kinds` that `environment` has. Others may be missing.

    Raises:
        BadSettings: with one line for each bad variable, without its value (it may be secret).
    """
    names = list(databases)
    faults = [fault for kind in kinds for fault in _found(kind, environment, names).malformed]
    if faults:
        raise BadSettings("\n".join(dict.fromkeys(faults)))


class _Found(msgspec.Struct, frozen=True):
    """The values from the environment, and a line for each bad variable."""

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
    """Return the value. If it is malformed, record that in `found` and return None."""
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
    """Return a `kind` with values from this process's environment, or exit."""
    try:
        return read(kind, databases=[process])
    except BadSettings as error:
        sys.exit(f"{process} cannot start:\n{error}")


def _expected(kind: Type, error: msgspec.ValidationError) -> str:
    """Return what a field's type expects, in words."""
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
        case _:  # a class constructed from text: its own message
            said = str(error)
            return said[:1].lower() + said[1:]
