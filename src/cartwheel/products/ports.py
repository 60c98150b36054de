"""The ports: what the handlers need from outside."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeVarTuple

from cartwheel.contracts.products import (
    AdjustStock,
    ListAdjustments,
    ProductStatus,
    ProductView,
    ReserveStock,
    StockAccount,
    StockAdjustmentView,
)
from cartwheel.kernel import Change, Clock, Items, Page
from cartwheel.kernel.errors import Refusal
from cartwheel.products.domain.adjustments import Adjustment, Repair
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.domain.stock import Ended, Moved, StoredReservation

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
            ProductNotFound, NameTaken, SkuTaken. Also whatever `decide` raises.
        """
        ...

    async def listing(
        self, status: ProductStatus, *, limit: int, cursor: str | None
    ) -> Page[ProductView]: ...


class Reservations(Protocol):
    async def decide(
        self, requests: Sequence[ReserveStock], adjusting: Sequence[AdjustStock], *, now: Clock
    ) -> tuple[list[StoredReservation | Refusal], list[Adjustment | Refusal]]:
        """Decide all in one transaction, with `stock.allocate` and `adjustments.adjust`."""
        ...

    async def settle(self, changes: Sequence[tuple[str, Ended, int]], *, now: Clock) -> None:
        """Apply all `changes` (order id, how it ended, order sequence) with `stock.settle`.

        All are applied in one transaction.

        Raises:
            LookupError: an order has no reservation.
        """
        ...

    async def fulfil(self, changes: Sequence[tuple[str, Moved, int]], *, now: Clock) -> None:
        """Apply all `changes` (order id, what has moved, order sequence) with `stock.fulfil`.

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


class Adjustments(Protocol):
    async def get(self, product_id: str, adjustment_id: str) -> StockAdjustmentView:
        """Return the adjustment.

        Raises:
            AdjustmentNotFound: the product has no such adjustment.
        """
        ...

    async def page(self, request: ListAdjustments) -> Page[StockAdjustmentView]:
        """Return the product's adjustments, newest first.

        Raises:
            ProductNotFound: there is no such product.
        """
        ...

    async def product_with(self, sku: str) -> str:
        """Return the id of the product with this SKU.

        Raises:
            ProductNotFound: there is no such product.
        """
        ...

    async def account(self, product_id: str) -> StockAccount:
        """Return the account of the product's stock, as of one moment.

        Raises:
            ProductNotFound: there is no such product.
        """
        ...

    async def repair(
        self, product_id: str, decide: Callable[[StockAccount], Repair | None]
    ) -> tuple[StockAccount, Adjustment | None]:
        """Store the repair that `decide` returns. Return the account that it was decided on, and
        the correction.

        Raises:
            ProductNotFound: there is no such product.
        """
        ...
