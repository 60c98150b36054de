"""How a stored order is changed: read, decide, store."""

from collections.abc import Callable

from cartwheel.contracts.orders import OrderNotFound
from cartwheel.orders.domain import Order
from cartwheel.orders.handlers.ports import Orders


async def change(order_id: str, change: Callable[[Order], Order], orders: Orders) -> Order:
    """Read, decide and store, again until nobody else has changed the order in between."""
    while True:
        order = await find(order_id, orders)
        changed = change(order)
        if changed is order or await orders.save(changed, expected=order):
            return changed


async def find(order_id: str, orders: Orders) -> Order:
    order = await orders.find(order_id)
    if order is None:
        raise OrderNotFound("there is no such order")
    return order
