"""Products on the real MongoDB: its adapters and handlers, without the bus."""

from typing import NamedTuple

import pytest

from cartwheel.contracts.products import (
    AdjustStock,
    ListAdjustments,
    ListProducts,
    ProductView,
    Reservation,
    ReserveStock,
    Stock,
    StockAccount,
    StockAdjustmentView,
    UpdateProduct,
)
from cartwheel.kernel import Created, Page
from cartwheel.kernel.errors import Refusal
from cartwheel.kernel.mongodb import Client, Database, Document, Outboxes
from cartwheel.products.handlers import adjustments as adjustment_handlers
from cartwheel.products.handlers import catalogue as catalogue_handlers
from cartwheel.products.handlers import stock as stock_handlers
from cartwheel.products.mongo.adjustments import MongoAdjustments
from cartwheel.products.mongo.catalogue import MongoCatalogue
from cartwheel.products.mongo.reservations import MongoReservations
from cartwheel.products.mongo.schema import MIGRATIONS

from ..databases import Prepared
from .examples import ADMIN, create, now


class Products(NamedTuple):
    """The adapters and handlers of one process of the service."""

    database: Database
    catalogue: MongoCatalogue
    reservations: MongoReservations
    adjustments: MongoAdjustments
    outboxes: Outboxes

    async def make(self, **given: object) -> Created[ProductView]:
        request = create(**given)  # pyright: ignore[reportArgumentType] because `create` has the types
        return await catalogue_handlers.create_product(request, catalogue=self.catalogue, now=now)

    async def stocked(self, stock: int) -> str:
        """Return the id of a new product."""
        return (await self.make(stock=stock)).made.id

    async def update(self, request: UpdateProduct) -> ProductView:
        return await catalogue_handlers.update_product(request, catalogue=self.catalogue, now=now)

    async def page(self, limit: int, cursor: str | None = None) -> Page[ProductView]:
        return await catalogue_handlers.list_products(
            ListProducts(limit=limit, cursor=cursor), catalogue=self.catalogue
        )

    async def reserve(self, *requests: ReserveStock) -> list[Reservation | Refusal]:
        answers = await stock_handlers.change_stock(
            requests, reservations=self.reservations, now=now
        )
        return [answer for answer in answers if not isinstance(answer, Created)]

    async def adjust(self, *requests: AdjustStock) -> list[Created[StockAdjustmentView] | Refusal]:
        answers = await stock_handlers.change_stock(
            requests, reservations=self.reservations, now=now
        )
        return [answer for answer in answers if not isinstance(answer, Reservation)]

    async def history(
        self, product_id: str, limit: int = 100, cursor: str | None = None
    ) -> Page[StockAdjustmentView]:
        asked = ListAdjustments(product_id=product_id, limit=limit, cursor=cursor, actor=ADMIN)
        return await adjustment_handlers.list_adjustments(asked, adjustments=self.adjustments)

    async def account(self, product_id: str) -> StockAccount:
        return await self.adjustments.account(product_id)

    async def view(self, product_id: str) -> ProductView:
        return (await self.catalogue.get_many([product_id]))[product_id].view()

    async def stock(self, product_id: str) -> Stock:
        return (await self.catalogue.get_many([product_id]))[product_id].stock

    async def document(self, product_id: str) -> Document:
        found = await self.database["products"].find_one({"_id": product_id})
        assert found
        return found


@pytest.fixture
async def products(client: Client, prepared: Prepared) -> Products:
    database = await prepared(MIGRATIONS)
    outboxes = Outboxes()
    return Products(
        database,
        MongoCatalogue(database, outboxes),
        MongoReservations(client, database, outboxes),
        MongoAdjustments(client, database, outboxes),
        outboxes,
    )
