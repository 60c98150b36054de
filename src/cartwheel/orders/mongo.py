"""Orders in MongoDB, database `orders`."""

from collections.abc import Callable, Sequence
from typing import TypeVarTuple

import msgspec
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from cartwheel.contracts.orders import (
    FulfillmentStatus,
    ListOrders,
    OrderNotFound,
    OrderStatus,
    OrderView,
)
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Change, Collection, Created, Page
from cartwheel.kernel.errors import OutcomeUnknown
from cartwheel.kernel.mongodb import (
    Aggregates,
    Database,
    Document,
    DueItems,
    Outboxes,
    change_stored,
    drop_index,
    from_document,
    index_outbox,
    made_between,
    page,
    to_document,
)
from cartwheel.orders.domain.addresses import AddressBook
from cartwheel.orders.domain.order import Order

Facts = TypeVarTuple("Facts")

COLLECTIONS = (Collection("orders", outbox=True), Collection("addresses"))


async def _create_indexes(database: Database) -> None:
    orders = database["orders"]
    await orders.create_index([("request_id", ASCENDING)], name="request_id", unique=True)
    await orders.create_index([("number", ASCENDING)], name="number", unique=True)
    await orders.create_index([("user.id", ASCENDING), ("_id", ASCENDING)], name="of_user")
    await orders.create_index([("status", ASCENDING), ("_id", ASCENDING)], name="by_status")
    await index_outbox(orders)


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
    await drop_index(orders, "overdue")


async def _drop_request_ids(database: Database) -> None:
    # The request's reservation gives the order its `_id`, which is unique: no second index needed.
    await drop_index(database["orders"], "request_id")


async def _index_lookups(database: Database) -> None:
    orders = database["orders"]
    await orders.create_index(
        [("user.id", ASCENDING), ("status", ASCENDING), ("_id", ASCENDING)],
        name="of_user_by_status",
    )
    await orders.create_index(
        [("user.email", ASCENDING), ("status", ASCENDING), ("_id", ASCENDING)], name="of_address"
    )


MIGRATIONS = (_create_indexes, _index_deadlines, _index_due, _drop_request_ids, _index_lookups)


class MongoOrders(Aggregates[Order]):
    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        super().__init__(
            database["orders"],
            Order,
            source="orders",
            outboxes=outboxes,
            missing=lambda: OrderNotFound("There is no such order."),
            lists=_entries,
            unread=["timeline"],
        )

    async def add(self, order: Order) -> Created[Order]:
        if await self.insert(order):
            return Created(made=order)
        # Another process or an earlier attempt stored it: that order is the answer.
        stored = await self.find(order.id)
        if stored is None:
            # A new primary does not show the order yet; or its number is taken (1 in 10^15).
            raise OutcomeUnknown(f"order {order.id} is perhaps stored, and not to be seen yet")
        # Each attempt draws a number. The same number means that this attempt stored the order
        # and lost the answer; another number means that an earlier attempt did.
        return Created(made=stored, replayed=stored.number != order.number)

    async def page(self, request: ListOrders) -> Page[OrderView]:
        return await page(
            self.collection,
            _found_by(request),
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: self.read(document).view(),
        )

    def overdue(self) -> DueItems:
        return DueItems(
            self.collection,
            {"status": OrderStatus.AWAITING_PAYMENT},
            when=lambda now: {"expires_at": {"$lte": now}},
        )

    def undated(self) -> DueItems:
        return DueItems(
            self.collection,
            {
                "status": OrderStatus.AWAITING_PAYMENT,
                "expires_at": None,
                "fulfillment.status": FulfillmentStatus.UNFULFILLED,
            },
        )

    async def timeline(self, order_id: str) -> list[TimelineEntry]:
        document = await self.collection.find_one({"_id": order_id}, {"timeline": 1})
        return msgspec.convert(document["timeline"] if document else [], list[TimelineEntry])


class MongoAddresses:
    """A document for each user. One who keeps no address yet has an empty book at version 0."""

    def __init__(self, database: Database) -> None:
        self._books = database["addresses"]

    async def of(self, user_id: str) -> AddressBook:
        document = await self._books.find_one({"_id": user_id})
        return from_document(document, AddressBook) if document else AddressBook(id=user_id)

    async def revise(
        self,
        user_id: str,
        decide: Callable[[AddressBook, *Facts, Change], AddressBook],
        *facts: *Facts,
        by: Change,
    ) -> AddressBook:
        return await change_stored(
            lambda: self.of(user_id), lambda book: decide(book, *facts, by), self._save
        )

    async def _save(self, book: AddressBook, /, *, expected: AddressBook) -> bool:
        document = to_document(book)
        if expected.version > 0:
            wanted = {"_id": book.id, "version": expected.version}
            return (await self._books.replace_one(wanted, document)).matched_count > 0
        try:
            await self._books.insert_one(document)
        except DuplicateKeyError:  # somebody else has begun the book
            return False
        return True


def _found_by(request: ListOrders) -> Document:
    """Return the query of a list. Each combination is answered from an index, in its order."""
    given: Document = {
        "user.id": request.user_id,
        "user.email": request.email,
        "number": request.number,
        "status": request.status,
    }
    query = {name: value for name, value in given.items() if value is not None}
    if request.email is not None and request.status is None:
        # The index of addresses has the status before the id: MongoDB merges one scan for each.
        query["status"] = {"$in": list(OrderStatus)}
    return query | made_between("ord", request.placed_after, request.placed_before)


def _entries(order: Order, outbox: Sequence[Document]) -> dict[str, list[Document]]:
    """Return the timeline entries of an order's new events."""
    by = order.change.by if order.change else "orders"
    return {
        "timeline": [
            {
                "type": event.type,
                "at": order.updated_at,
                "by": by,
                "note": getattr(event, "reason", None),
                "event_id": told["id"],
                "because_of": told["causation_id"],
                "trace_id": told["correlation_id"],
            }
            for event, told in zip(order.events, outbox, strict=True)
        ]
    }
