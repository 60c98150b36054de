"""What the handlers need of the outside."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVarTuple

from cartwheel.contracts.products import ProductView, ReserveStock
from cartwheel.kernel import Change, Clock, Items, Page
from cartwheel.kernel.errors import Refusal
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.domain.stock import Ended, StoredReservation

Facts = TypeVarTuple("Facts")


class Catalogue(Protocol):
    async def add(self, product: Product) -> Product | None:
        """Store a new product; return the one that its request made before, if it did.

        Raises NameTaken or SkuTaken.
        """
        ...

    async def get_many(self, product_ids: Sequence[str], /) -> dict[str, Product]: ...

    async def change(
        self,
        product_id: str,
        decide: Callable[[Product, *Facts, Change], Product],
        /,
        *facts: *Facts,
        by: Change,
    ) -> Product:
        """Read, decide and store, again until nobody else has changed it in between.

        Raises:
            ProductNotFound, NameTaken; and what `decide` raises.
        """
        ...

    async def list_active(self, *, limit: int, cursor: str | None) -> Page[ProductView]: ...


class Reservations(Protocol):
    async def hold(
        self, requests: Sequence[ReserveStock], *, now: Clock
    ) -> list[StoredReservation | Refusal]:
        """Decide all requests in one transaction, by `stock.allocate`."""
        ...

    async def settle(self, changes: Sequence[tuple[str, Ended, int]], *, now: Clock) -> None:
        """Apply (order id, what became of it, order sequence) by `stock.settle`, together.

        Raises LookupError if an order has no reservation.
        """
        ...

    async def give_up(self, order_ids: Sequence[str], *, now: Clock) -> None:
        """Release what is held for these orders, by `stock.give_up`, together."""
        ...

    def held(self, *, longer_than: timedelta) -> Items:
        """Return the orders whose stock has been held for so long."""
        ...
