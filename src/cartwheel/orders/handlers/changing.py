"""How a stored order is changed: read, decide, store."""

from collections.abc import Callable

from cartwheel.contracts.orders import OrderNotFound
from cartwheel.kernel import optimistic
from cartwheel.orders.domain import Order
from cartwheel.orders.handlers.ports import Orders


async def change(order_id: str, decide: Callable[[Order], Order], orders: Orders) -> Order:
    return await optimistic.change(lambda: find(order_id, orders), decide, orders.save)


async def find(order_id: str, orders: Orders) -> Order:
    order = await orders.find(order_id)
    if order is None:
        raise OrderNotFound("there is no such order")
    return order
