"""The ports: what the handlers need from outside."""

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
        """Store a new product. If its request has made one before, return that one instead.

        Raises:
            NameTaken, SkuTaken: another product has the name or the SKU.
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
        """Read, decide and store; start again if somebody else stored a change in between.

        Raises:
            ProductNotFound, NameTaken. Also whatever `decide` raises.
        """
        ...

    async def list_active(self, *, limit: int, cursor: str | None) -> Page[ProductView]: ...


class Reservations(Protocol):
    async def reserve(
        self, requests: Sequence[ReserveStock], *, now: Clock
    ) -> list[StoredReservation | Refusal]:
        """Decide all requests in one transaction, with `stock.allocate`."""
        ...

    async def settle(self, changes: Sequence[tuple[str, Ended, int]], *, now: Clock) -> None:
        """Apply all `changes` (order id, how it ended, order sequence) with `stock.settle`.

        All are applied in one transaction.

        Raises:
            LookupError: an order has no reservation.
        """
        ...

    async def release_abandoned(self, order_ids: Sequence[str], *, now: Clock) -> None:
        """Release the stock reserved for these orders in one transaction."""
        ...

    def held(self, *, longer_than: timedelta) -> Items:
        """Return the orders whose reservation has been HELD for `longer_than`."""
        ...
