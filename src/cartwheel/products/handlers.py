"""What products does on each message."""

from collections.abc import Sequence
from typing import Protocol

from cartwheel.contracts.orders import OrderPaid, OrderRejected
from cartwheel.contracts.products import (
    ArchiveProduct,
    CreateProduct,
    GetProduct,
    ListProducts,
    ProductNotFound,
    ProductView,
    Reservation,
    ReserveStock,
    UpdateProduct,
)
from cartwheel.kernel.errors import IdempotencyKeyReused, Refusal
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import Clock, CloudEvent, Created, Page
from cartwheel.products import domain
from cartwheel.products.domain import Product, ReservationStatus, StoredReservation


class Catalogue(Protocol):
    async def add(self, product: Product) -> Product | None:
        """Store a new product; return the one that its request made before, if it did.

        Raises NameTaken or SkuTaken.
        """
        ...

    async def get(self, product_ids: Sequence[str]) -> dict[str, Product]: ...

    async def save(self, product: Product, *, expected: Product) -> bool:
        """Store a changed product; return False if it is no longer as `expected`.

        Raises NameTaken.
        """
        ...

    async def list_active(self, *, limit: int, cursor: str | None) -> Page[ProductView]: ...


class Reservations(Protocol):
    async def hold(
        self, requests: Sequence[ReserveStock], *, now: Clock
    ) -> list[StoredReservation | Refusal]:
        """Decide all requests in one transaction, by `domain.allocate`."""
        ...

    async def settle(self, changes: Sequence[tuple[str, ReservationStatus, int]]) -> None:
        """Apply (order id, status, order sequence) in one transaction, by `domain.settle`."""
        ...


async def create_product(
    request: CreateProduct, *, catalogue: Catalogue, now: Clock
) -> Created[ProductView]:
    product = domain.create(request, product_id=new_id("prd"), at=now())
    earlier = await catalogue.add(product)
    if earlier is None:
        return Created(made=product.view())
    if earlier.body_hash != request.body_hash:
        raise IdempotencyKeyReused("this Idempotency-Key made another product")
    return Created(made=earlier.view(), replayed=True)


async def update_product(
    request: UpdateProduct, *, catalogue: Catalogue, now: Clock
) -> ProductView:
    while True:
        product = await _find(request.product_id, catalogue)
        changed = domain.update(product, request, at=now())
        if changed is product or await catalogue.save(changed, expected=product):
            return changed.view()


async def archive_product(
    request: ArchiveProduct, *, catalogue: Catalogue, now: Clock
) -> ProductView:
    while True:
        product = await _find(request.product_id, catalogue)
        archived = domain.archive(product, at=now())
        if archived is product or await catalogue.save(archived, expected=product):
            return archived.view()


async def _find(product_id: str, catalogue: Catalogue) -> Product:
    product = (await catalogue.get([product_id])).get(product_id)
    if product is None:
        raise ProductNotFound("there is no such product")
    return product


async def get_products(
    requests: list[GetProduct], *, catalogue: Catalogue
) -> list[ProductView | Refusal]:
    found = await catalogue.get([request.product_id for request in requests])
    return [
        found[request.product_id].view()
        if request.product_id in found
        else ProductNotFound("there is no such product")
        for request in requests
    ]


async def list_products(request: ListProducts, *, catalogue: Catalogue) -> Page[ProductView]:
    return await catalogue.list_active(limit=request.limit, cursor=request.cursor)


async def reserve_stock(
    requests: list[ReserveStock], *, reservations: Reservations, now: Clock
) -> list[Reservation | Refusal]:
    return [
        outcome
        if isinstance(outcome, Refusal)
        else Reservation(order_id=outcome.id, body_hash=outcome.body_hash, lines=outcome.lines)
        for outcome in await reservations.hold(requests, now=now)
    ]


async def commit_stock(
    events: list[CloudEvent[OrderPaid]], *, reservations: Reservations
) -> list[None]:
    """A paid order's pieces are sold."""
    await reservations.settle(
        [(event.subject, ReservationStatus.COMMITTED, event.sequence) for event in events]
    )
    return [None] * len(events)


async def release_stock(
    events: list[CloudEvent[OrderRejected]], *, reservations: Reservations
) -> list[None]:
    """A rejected order's pieces are free again."""
    await reservations.settle(
        [(event.subject, ReservationStatus.RELEASED, event.sequence) for event in events]
    )
    return [None] * len(events)
