"""The ports: what the handlers need from outside."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVarTuple

from cartwheel.contracts.orders import ListOrders, OrderView
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Change, Created, Items, Page
from cartwheel.orders.domain.addresses import AddressBook
from cartwheel.orders.domain.order import Order

Facts = TypeVarTuple("Facts")


class Orders(Protocol):
    async def add(self, order: Order) -> Created[Order]:
        """Store a new order and return it. If its request has made one before, return that one."""
        ...

    async def get(self, order_id: str, /) -> Order:
        """Raises OrderNotFound."""
        ...

    async def get_many(self, order_ids: Sequence[str], /) -> dict[str, Order]: ...

    async def change(
        self,
        order_id: str,
        decide: Callable[[Order, *Facts, Change], Order],
        /,
        *facts: *Facts,
        by: Change,
    ) -> Order:
        """Read, decide and store; start again if somebody else stored a change in between.

        Raises:
            OrderNotFound: there is no such order. Also whatever `decide` raises.
        """
        ...

    async def page(self, request: ListOrders) -> Page[OrderView]: ...

    async def timeline(self, order_id: str) -> list[TimelineEntry]: ...

    def overdue(self) -> Items:
        """Return the orders whose payment deadline has passed."""
        ...

    def undated(self) -> Items:
        """Return the unpaid orders that have no deadline, and of which nothing is shipped."""
        ...


class Addresses(Protocol):
    async def of(self, user_id: str, /) -> AddressBook:
        """Return the user's book, an empty one if they keep no address."""
        ...

    async def revise(
        self,
        user_id: str,
        decide: Callable[[AddressBook, *Facts, Change], AddressBook],
        /,
        *facts: *Facts,
        by: Change,
    ) -> AddressBook:
        """Read, decide and store; start again if somebody else stored a change in between.

        Raises:
            Whatever `decide` raises.
        """
        ...
