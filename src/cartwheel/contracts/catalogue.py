"""The tables of all services, databases and events: what `cartwheel setup` makes."""

from cartwheel.contracts import notifications, orders, payments, products
from cartwheel.kernel.messages import Event

SERVICES = ("products", "orders", "payments", "notifications")

OPERATIONS = "operations"
DATABASES = (*SERVICES, OPERATIONS)
"""One for each service, and one for what the operators did. Their names in MongoDB begin with the
deployment's prefix."""

EVENTS: tuple[type[Event], ...] = (
    *products.EVENTS,
    *orders.EVENTS,
    *payments.EVENTS,
    *notifications.EVENTS,
)
