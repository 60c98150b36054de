"""What the handlers need of the outside."""

from collections.abc import Sequence
from typing import Protocol

from cartwheel.contracts.orders import ListOrders, OrderView, TimelineEntry
from cartwheel.kernel.jobs import Items
from cartwheel.kernel.messages import Page
from cartwheel.orders.domain import Order


class Orders(Protocol):
    async def add(self, order: Order) -> Order:
        """Store a new order; return it, or in its place what its request made before."""
        ...

    async def find(self, order_id: str) -> Order | None: ...

    async def get(self, order_ids: Sequence[str]) -> dict[str, Order]: ...

    async def save(self, order: Order, *, expected: Order) -> bool:
        """Store a changed order; return False if it is no longer as `expected`."""
        ...

    async def page(self, request: ListOrders) -> Page[OrderView]: ...

    async def timeline(self, order_id: str) -> list[TimelineEntry]: ...

    def overdue(self) -> Items:
        """Return the orders whose payment deadline has passed."""
        ...
