"""The services: the one list of them. Setup, start, checks and measurements go through it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names of services are wanted where nothing else of them is
    from cartwheel.kernel import Event, Service

SERVICES = ("products", "orders", "payments", "notifications")
"""Each one's package is named as it is, and declares it in its `app` module as `service`."""

OPERATIONS = "operations"
DATABASES = (*SERVICES, OPERATIONS)
"""One for each service, and one for what the operators did. Their names in MongoDB begin with the
deployment's prefix."""


def services() -> "tuple[Service[Any], ...]":
    """Return the services as they are declared. Loads the code of all of them."""
    return tuple(import_module(f"cartwheel.{name}.app").service for name in SERVICES)


def events() -> "tuple[type[Event], ...]":
    """Return the types of all events that any service publishes."""
    return tuple(event for service in services() for event in service.events)


def outboxes() -> tuple[tuple[str, str], ...]:
    """Return database and collection of all outboxes."""
    return tuple((each.name, name) for each in services() for name in each.outboxes)
