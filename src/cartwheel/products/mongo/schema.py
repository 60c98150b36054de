"""The collections of database `products`, and their indexes."""

from pymongo import ASCENDING

from cartwheel.contracts.products import ProductStatus
from cartwheel.kernel import Collection
from cartwheel.kernel.mongodb import Database, Document, drop_index, index_outbox
from cartwheel.products.domain.stock import ReservationStatus

COLLECTIONS = (
    Collection("products", outbox=True),
    Collection("reservations", outbox=True),
    Collection("adjustments", outbox=True),
)
ACTIVE: Document = {"status": ProductStatus.ACTIVE}
LIVE: Document = {"status": ReservationStatus.HELD, "slot": {"$gte": 0}}
"""Reservations that have a slot of their owner's. An older version's have none."""


async def _create_indexes(database: Database) -> None:
    products = database["products"]
    await products.create_index([("request_id", ASCENDING)], name="request_id", unique=True)
    await products.create_index([("sku", ASCENDING)], name="sku", unique=True)
    await products.create_index(
        [("name", ASCENDING)], name="name", unique=True, partialFilterExpression=ACTIVE
    )
    await products.create_index([("status", ASCENDING), ("_id", ASCENDING)], name="listing")
    await index_outbox(products)
    await database["reservations"].create_index(
        [("request_id", ASCENDING)], name="request_id", unique=True
    )


async def _index_holds(database: Database) -> None:
    reservations = database["reservations"]
    await reservations.create_index(
        [("status", ASCENDING), ("_id", ASCENDING)],
        name="held",
        partialFilterExpression={"status": ReservationStatus.HELD},
    )
    await index_outbox(reservations)


async def _index_due(database: Database) -> None:
    reservations = database["reservations"]
    await reservations.create_index(
        [("status", ASCENDING), ("due_at", ASCENDING), ("held_at", ASCENDING)],
        name="held_longest",
        partialFilterExpression={"status": ReservationStatus.HELD},
    )
    await drop_index(reservations, "held")


async def _index_adjustments(database: Database) -> None:
    adjustments = database["adjustments"]
    await adjustments.create_index([("request_id", ASCENDING)], name="request_id", unique=True)
    await adjustments.create_index(
        [("product_id", ASCENDING), ("_id", ASCENDING)], name="of_product"
    )
    await index_outbox(adjustments)
    # What a product's stock adds up to is asked of its reservations.
    await database["reservations"].create_index(
        [("lines.product_id", ASCENDING)], name="of_product"
    )


async def _index_slots(database: Database) -> None:
    await database["reservations"].create_index(
        [("owner", ASCENDING), ("slot", ASCENDING)],
        name="slots",
        unique=True,
        partialFilterExpression=LIVE,
    )


MIGRATIONS = (_create_indexes, _index_holds, _index_due, _index_adjustments, _index_slots)
