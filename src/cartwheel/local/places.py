"""The places outside its folder where an instance has data: servers named by the environment.

They are stored in the folder, because `reset` may run with another environment:

.cartwheel/servers.json   for the owner only, because the addresses contain passwords
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec

from cartwheel.kernel.servers import shown
from cartwheel.kernel.settings import (
    AmqpUrl,
    DatabaseAddresses,
    DatabasePrefix,
    HttpUrl,
    MongodbUri,
    own_mongodb_uri,
    read,
)
from cartwheel.local import instance
from cartwheel.services import DATABASES


class MongoDB(msgspec.Struct, frozen=True, tag=True):
    """The databases of all services except those in `without`."""

    uri: str
    prefix: str = ""
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        prefix = f", prefix {self.prefix}" if self.prefix else ""
        without = f", without {' and '.join(self.without)}" if self.without else ""
        return f"MongoDB at {hosts(self.uri)}{prefix}{without}"


class OneDatabase(msgspec.Struct, frozen=True, tag=True):
    """The database of a service that has a MONGODB_URI of its own."""

    uri: str
    service: str
    name: str
    prefix: str = ""
    """The names of the service's connections contain it."""

    def __str__(self) -> str:
        return f"MongoDB at {hosts(self.uri)}, database {self.name} of {self.service}"


def hosts(uri: str) -> str:
    """Return the servers in a URI, with their ports."""
    rest = uri.partition("://")[2].rpartition("@")[2]
    return rest.partition("/")[0].partition("?")[0]


class RabbitMQ(msgspec.Struct, frozen=True, tag=True):
    url: str

    def __str__(self) -> str:
        scheme, _, rest = self.url.partition("://")
        host, _, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
        if not re.search(r":\d+$", host):
            host += ":5671" if scheme == "amqps" else ":5672"
        return f"RabbitMQ at {host.lower()}, virtual host {unquote(path) or '/'}"


class Ledger(msgspec.Struct, frozen=True, tag=True):
    """The payment simulator's ledger, in a file outside the folder."""

    path: str

    def __str__(self) -> str:
        return f"the ledger {self.path}"


class Elsewhere(msgspec.Struct, frozen=True, tag=True):
    """Data that `reset` must not delete, such as `the users in the Cognito pool …`."""

    what: str

    def __str__(self) -> str:
        return self.what


Place = MongoDB | OneDatabase | RabbitMQ | Ledger | Elsewhere
"""A place. Its text contains no user or password. Equal texts mean the same place."""


class NotOurs(Exception):
    """The environment names a place where the instance has never stored anything."""


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_uri: MongodbUri = ""
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl = ""
    simulator_ledger: str = ""
    simulator_url: HttpUrl = ""
    cognito_user_pool_id: str = ""


def given(environment: Mapping[str, str]) -> list[Place]:
    """Return the places in `environment`.

    Raises:
        BadSettings: a setting is malformed.
    """
    own = [name for name in DATABASES if environment.get(own_mongodb_uri(name))]
    settings = read(_Given, environment, databases=own)
    prefix = settings.mongodb_database_prefix
    places: list[Place] = []
    if settings.mongodb_uri and len(own) < len(DATABASES):
        places.append(MongoDB(settings.mongodb_uri, prefix, tuple(own)))
    places.extend(
        OneDatabase(address.uri, service, address.name, prefix)
        for service, address in settings.databases.by_service.items()
    )
    if settings.rabbitmq_url:
        places.append(RabbitMQ(settings.rabbitmq_url))
    if settings.simulator_ledger:
        places.append(Ledger(str(Path(settings.simulator_ledger).resolve())))
    if settings.simulator_url:
        places.append(Elsewhere(f"the charges in the simulator at {shown(settings.simulator_url)}"))
    if settings.cognito_user_pool_id:
        pool = settings.cognito_user_pool_id
        places.append(Elsewhere(f"the users in the Cognito pool {pool}"))
    return places


def remember(home: Path, places: Sequence[Place]) -> None:
    """Add `places` to the stored places where the instance has data. Repeatable."""
    known = {str(place): place for place in (*remembered(home), *places)}
    if known:
        text = msgspec.json.encode(list(known.values())).decode()
        instance.write_private(home / "servers.json", text + "\n")


def remembered(home: Path) -> list[Place]:
    file = home / "servers.json"
    return msgspec.json.decode(file.read_bytes(), type=list[Place]) if file.exists() else []


def of_instance(home: Path, environment: Mapping[str, str]) -> list[Place]:
    """Return the places where the instance has data.

    If `environment` names one of them, its current password is used.

    Raises:
        BadSettings: a setting in `environment` is malformed.
        NotOurs: `environment` names another place or another prefix.
    """
    ours = remembered(home)
    today = {str(place): place for place in given(environment)}
    for name, place in today.items():
        if name not in map(str, ours) and not isinstance(place, Elsewhere):
            raise NotOurs(_not_ours(f"{name} is named by the environment", home, ours))
    prefix = environment.get("MONGODB_DATABASE_PREFIX")
    prefixes = {place.prefix for place in ours if isinstance(place, MongoDB | OneDatabase)}
    if prefix and prefixes and prefix not in prefixes:
        raise NotOurs(_not_ours(f"MONGODB_DATABASE_PREFIX is {prefix}", home, ours))
    return [today.get(str(place), place) for place in ours]


def _not_ours(named: str, home: Path, ours: Sequence[Place]) -> str:
    used = "; ".join(str(place) for place in ours if not isinstance(place, Elsewhere))
    return (
        f"{named}, but the instance in {home} has put its data elsewhere "
        f"({used or 'nothing outside that folder'}): unset that, or name what it has used"
    )
