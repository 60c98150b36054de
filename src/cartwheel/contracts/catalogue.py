"""The table of all services and events, from which `cartwheel setup` declares the topology."""

from cartwheel.contracts import notifications, orders, payments, products
from cartwheel.kernel.messages import Event

SERVICES = ("products", "orders", "payments", "notifications")

EVENTS: tuple[type[Event], ...] = (
    *products.EVENTS,
    *orders.EVENTS,
    *payments.EVENTS,
    *notifications.EVENTS,
)
