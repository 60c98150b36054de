"""The list of services. Setup, startup, checks and benchmarks all use it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # many callers need only the services' names, not their code
    from cartwheel.kernel import Event, Service

SERVICES = ("products", "orders", "payments", "notifications")
"""Each service's package has the same name, and declares `service` in its module `app`."""

GATEWAY = "gateway"
OPERATIONS = "operations"
DATABASES = (*SERVICES, GATEWAY, OPERATIONS)
"""One database per service, one for the rate limits of the gateway, and one that records what
operators did.

Their names in MongoDB start with the deployment's prefix.
"""


def services() -> "tuple[Service[Any], ...]":
    """Return all services. This imports the code of each."""
    return tuple(import_module(f"cartwheel.{name}.app").service for name in SERVICES)


def events() -> "tuple[type[Event], ...]":
    """Return the types of all events that services publish."""
    return tuple(event for service in services() for event in service.events)


def outboxes() -> tuple[tuple[str, str], ...]:
    """Return the database and collection of each outbox."""
    return tuple((each.name, name) for each in services() for name in each.outboxes)
