"""What products does on each message."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

from cartwheel.contracts.orders import (
    GetOrderStatuses,
    OrderCanceled,
    OrderPaid,
    OrderRejected,
    OrderStatus,
)
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
from cartwheel.kernel import jobs, optimistic
from cartwheel.kernel.errors import IdempotencyKeyReused, Refusal
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.jobs import Items
from cartwheel.kernel.messages import Asks, Clock, CloudEvent, Created, Page
from cartwheel.products.domain import catalogue as rules
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.domain.stock import Ended, StoredReservation

HOLDS_AT_ONCE = 100
_WANTED = (OrderStatus.AWAITING_PAYMENT, OrderStatus.PAID)


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


async def create_product(
    request: CreateProduct, *, catalogue: Catalogue, now: Clock
) -> Created[ProductView]:
    product = rules.create(request, product_id=new_id("prd"), at=now())
    earlier = await catalogue.add(product)
    if earlier is None:
        return Created(made=product.view())
    if earlier.body_hash != request.body_hash:
        raise IdempotencyKeyReused("this Idempotency-Key made another product")
    return Created(made=earlier.view(), replayed=True)


async def update_product(
    request: UpdateProduct, *, catalogue: Catalogue, now: Clock
) -> ProductView:
    return await _change(
        request.product_id, lambda product: rules.update(product, request, at=now()), catalogue
    )


async def archive_product(
    request: ArchiveProduct, *, catalogue: Catalogue, now: Clock
) -> ProductView:
    return await _change(
        request.product_id, lambda product: rules.archive(product, at=now()), catalogue
    )


async def _change(
    product_id: str, decide: Callable[[Product], Product], catalogue: Catalogue
) -> ProductView:
    changed = await optimistic.change(lambda: _find(product_id, catalogue), decide, catalogue.save)
    return changed.view()


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
    events: list[CloudEvent[OrderPaid]], *, reservations: Reservations, now: Clock
) -> list[None]:
    """A paid order's pieces are sold."""
    await reservations.settle(
        [(event.subject, Ended.PAID, event.sequence) for event in events], now=now
    )
    return [None] * len(events)


async def release_stock(
    events: Sequence[CloudEvent[OrderRejected] | CloudEvent[OrderCanceled]],
    *,
    reservations: Reservations,
    now: Clock,
) -> list[None]:
    """The pieces of a rejected or canceled order are free again."""
    await reservations.settle(
        [(event.subject, Ended.CLOSED, event.sequence) for event in events], now=now
    )
    return [None] * len(events)


async def give_up_holds(
    *, reservations: Reservations, bus: Asks, now: Clock, older_than: timedelta
) -> None:
    """Release what is held for orders that were never stored, or are closed.

    A hold does not end by the clock: orders is asked about old ones, and one that is still to be
    paid keeps its goods, and is asked about again when as much time has passed.
    """
    held = reservations.held(longer_than=older_than)

    async def ask(order_ids: list[str]) -> None:
        states = await bus.request(GetOrderStatuses(order_ids=order_ids))
        wanted = {state.order_id for state in states if state.status in _WANTED}
        if idle := [order_id for order_id in order_ids if order_id not in wanted]:
            await reservations.give_up(idle, now=now)
        if wanted:
            await held.look_again(list(wanted), at=now() + older_than)

    await jobs.in_batches("release abandoned reservations", held, ask, now=now, size=HOLDS_AT_ONCE)
