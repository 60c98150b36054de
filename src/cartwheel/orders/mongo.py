"""Orders in MongoDB, database `orders`."""

from collections.abc import Sequence

import msgspec
from pymongo import ASCENDING

from cartwheel.contracts.orders import ListOrders, OrderStatus, OrderView, TimelineEntry
from cartwheel.kernel.errors import OutcomeUnknown
from cartwheel.kernel.messages import Page
from cartwheel.kernel.store import codec, group, migrations, outbox
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.aggregates import Aggregates
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.due import DueItems
from cartwheel.kernel.store.outbox import Outboxes
from cartwheel.orders.domain import Order

OUTBOXES = ("orders",)
_NOT_NEEDED = {"timeline": 0, "outbox": 0}


async def _create_indexes(database: Database) -> None:
    orders = database["orders"]
    await orders.create_index([("request_id", ASCENDING)], name="request_id", unique=True)
    await orders.create_index([("number", ASCENDING)], name="number", unique=True)
    await orders.create_index([("user.id", ASCENDING), ("_id", ASCENDING)], name="of_user")
    await orders.create_index([("status", ASCENDING), ("_id", ASCENDING)], name="by_status")
    await outbox.prepare(orders)


async def _index_deadlines(database: Database) -> None:
    await database["orders"].create_index(
        [("expires_at", ASCENDING)],
        name="overdue",
        partialFilterExpression={"status": OrderStatus.AWAITING_PAYMENT},
    )


async def _index_due(database: Database) -> None:
    orders = database["orders"]
    await orders.create_index(
        [("due_at", ASCENDING), ("expires_at", ASCENDING)],
        name="deadline",
        partialFilterExpression={"status": OrderStatus.AWAITING_PAYMENT},
    )
    await migrations.drop_index(orders, "overdue")


async def _drop_request_ids(database: Database) -> None:
    # An order bears the id that its request's reservation has given it: that keeps a second out.
    await migrations.drop_index(database["orders"], "request_id")


MIGRATIONS = (_create_indexes, _index_deadlines, _index_due, _drop_request_ids)


class MongoOrders:
    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        self._orders = database["orders"]
        self._aggregates = Aggregates(self._orders, source="orders", outboxes=outboxes)
        self._finds = group.finds(self._orders, "_id", **_NOT_NEEDED)

    async def add(self, order: Order) -> Order:
        if await self._aggregates.insert(order, _entries(order)):
            return order
        # It was stored before, by another process or another attempt: that is the answer.
        stored = await self.find(order.id)
        if stored is None:
            # A new primary does not show it yet; or another order has the number, one in 10^15.
            raise OutcomeUnknown(f"order {order.id} is perhaps stored, and not to be seen yet")
        return stored

    async def find(self, order_id: str) -> Order | None:
        document = await self._finds.submit(order_id)
        return codec.from_document(document, Order) if document else None

    async def get(self, order_ids: Sequence[str]) -> dict[str, Order]:
        found = self._orders.find({"_id": {"$in": list(set(order_ids))}}, _NOT_NEEDED)
        return {document["_id"]: codec.from_document(document, Order) async for document in found}

    async def save(self, order: Order, *, expected: Order) -> bool:
        return await self._aggregates.save(order, expected=expected, lists=_entries(order))

    async def page(self, request: ListOrders) -> Page[OrderView]:
        query: Document = {}
        if request.user_id is not None:
            query["user.id"] = request.user_id
        if request.status is not None:
            query["status"] = request.status.value
        return await cursors.page(
            self._orders,
            query,
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: codec.from_document(document, Order).view(),
        )

    def overdue(self) -> DueItems:
        return DueItems(
            self._orders,
            {"status": OrderStatus.AWAITING_PAYMENT},
            when=lambda now: {"expires_at": {"$lte": now}},
        )

    async def timeline(self, order_id: str) -> list[TimelineEntry]:
        document = await self._orders.find_one({"_id": order_id}, {"timeline": 1})
        return msgspec.convert(document["timeline"] if document else [], list[TimelineEntry])


def _entries(order: Order) -> dict[str, list[Document]]:
    """Return what an order's new events add to its timeline."""
    by = order.cause.by if order.cause else "orders"
    return {
        "timeline": [
            {
                "type": event.type,
                "at": order.updated_at,
                "by": by,
                "note": getattr(event, "reason", None),
            }
            for event in order.events
        ]
    }
