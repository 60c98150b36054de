"""Documents from the services' databases, a batch at a time, in the order of their ids."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

import msgspec
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.read_concern import ReadConcern

from cartwheel.kernel import mongodb
from cartwheel.kernel.mongodb import Client, Database, Document
from cartwheel.operations.verify import records
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.records import Mail, Order, Payment, Product, Reservation
from cartwheel.operations.verify.spool import Spool
from cartwheel.operations.verify.stock import AddedUp, SharedSlot
from cartwheel.services import SERVICES, outboxes

Kind = TypeVar("Kind", bound=msgspec.Struct)
Collection = AsyncCollection[Document]
BATCH_DOCUMENTS = 500
SEEN: Document = dict.fromkeys(("order_id", "retry", "sends", "resends", "webhooks_disbelieved"), 1)
"""The fields of `records.Seen`, apart from the id."""


class Databases(msgspec.Struct, frozen=True):
    """The databases of the services, by name. They are only read.

    Every service's outboxes are read, even if the checks do not know its other documents.
    """

    every: Mapping[str, Database]
    products: Database
    orders: Database
    payments: Database
    notifications: Database

    @classmethod
    def of(cls, databases: Mapping[str, Database]) -> "Databases":
        names = msgspec.structs.fields(cls)[1:]
        return cls(databases, *(databases[each.name] for each in names))

    @classmethod
    def named(cls, client: Client, prefix: str = "") -> "Databases":
        return cls.of({name: mongodb.database(client, name, prefix) for name in SERVICES})

    def with_outboxes(self) -> dict[str, Collection]:
        return {name: self.every[service][name] for service, name in outboxes()}


async def batches(
    collection: Collection, fields: Document | None = None, query: Document | None = None
) -> AsyncIterator[list[Document]]:
    last: Document = {}
    while batch := (
        await collection.find({**(query or {}), **last}, fields)
        .sort("_id", 1)
        .limit(BATCH_DOCUMENTS)
        .to_list()
    ):
        yield batch
        last = {"_id": {"$gt": batch[-1]["_id"]}}


async def cases(databases: Databases, spool: Spool, order_ids: Sequence[str]) -> list[Case]:
    """Return the orders with all related documents, even where the order does not exist."""
    of_orders: Document = {"order_id": {"$in": list(order_ids)}}
    by_id: Document = {"_id": {"$in": list(order_ids)}}
    orders = await _read(databases.orders["orders"], by_id, Order)
    reservations = await _read(databases.products["reservations"], by_id, Reservation)
    payments = await _read(databases.payments["payments"], of_orders, Payment)
    mails = await _read(databases.notifications["mail"], of_orders, Mail)
    order_of = {payment.id: payment.order_id for payment in payments}
    ledger = defaultdict[str, list[records.LedgerLine]](list)
    for line in spool.lines_of(list(order_of)):
        ledger[order_of[line.payment_id]].append(line)
    order_by_id = {order.id: order for order in orders}
    reservation_by_id = {reservation.id: reservation for reservation in reservations}
    payments_by_order = defaultdict[str, list[Payment]](list)
    for payment in payments:
        payments_by_order[payment.order_id].append(payment)
    mails_by_order = defaultdict[str, list[Mail]](list)
    for mail in mails:
        mails_by_order[mail.order_id].append(mail)
    return [
        Case(
            order_id=order_id,
            order=order_by_id.get(order_id),
            reservation=reservation_by_id.get(order_id),
            payments=tuple(payments_by_order[order_id]),
            ledger=tuple(ledger[order_id]),
            mails=tuple(mails_by_order[order_id]),
        )
        for order_id in order_ids
    ]


async def about_how_many(databases: Databases) -> dict[str, int]:
    """Return an estimate of the number of documents to read, by collection."""
    return {
        name: await collection.estimated_document_count()
        for name, collection in databases.with_outboxes().items()
    }


async def refunds_pending(databases: Databases) -> int:
    return await databases.payments["payments"].count_documents({"refunds.status": "PENDING"})


async def missing(collection: Collection, ids: set[str]) -> set[str]:
    """Return those of `ids` that `collection` does not have."""
    found = collection.find({"_id": {"$in": list(ids)}}, {"_id": 1})
    return ids - {document["_id"] async for document in found}


async def stocks(databases: Databases) -> AsyncIterator[tuple[Product | None, AddedUp]]:
    """Yield each product with the totals of its reservations and adjustments, however long that
    takes.

    Sales during the read may look like mismatches. `stocks_at_once` decides.
    """
    async for each in _added_up(databases, None, None):
        yield each


async def stocks_at_once(
    databases: Databases, product_ids: Sequence[str]
) -> AsyncIterator[tuple[Product | None, AddedUp]]:
    """Yield these products with the totals of their reservations and adjustments, all as of one
    moment.

    Stock changes in one transaction with a reservation or an adjustment, so they agree at any
    moment. They are also read in one transaction, which has to end within
    `transactionLifetimeLimitSeconds` (4 under `make up`, 60 by default). A snapshot outside a
    transaction may be readable for a shorter time
    (`minSnapshotHistoryWindowInSeconds`, 1 under `make up`).
    """
    async with (
        databases.products.client.start_session() as session,
        await session.start_transaction(read_concern=ReadConcern("snapshot")),
    ):
        async for each in _added_up(databases, product_ids, session):
            yield each


async def shared_slots(
    databases: Databases, owners: Sequence[str] | None = None
) -> list[SharedSlot]:
    """Return the slots that several live reservations have.

    An order that is placed in a slot that has just been left looks like that, unless all is read as
    of one moment, as it is for certain `owners`.
    """
    live: Document = {"status": "HELD", "slot": {"$gte": 0}}
    if owners is None:
        return await _shared_slots(databases, live, None)
    async with (
        databases.products.client.start_session() as session,
        await session.start_transaction(read_concern=ReadConcern("snapshot")),
    ):
        return await _shared_slots(databases, {"owner": {"$in": list(owners)}, **live}, session)


async def _shared_slots(
    databases: Databases, query: Document, session: AsyncClientSession | None
) -> list[SharedSlot]:
    found = await databases.products["reservations"].aggregate(
        [
            {"$match": query},
            {
                "$group": {
                    "_id": {"owner": "$owner", "slot": "$slot"},
                    "order_ids": {"$push": "$_id"},
                    "count": {"$sum": 1},
                }
            },
            {"$match": {"count": {"$gt": 1}}},
        ],
        allowDiskUse=True,
        session=session,
    )
    return [
        msgspec.convert({**each["_id"], "order_ids": each["order_ids"]}, SharedSlot)
        async for each in found
    ]


async def _added_up(
    databases: Databases, product_ids: Sequence[str] | None, session: AsyncClientSession | None
) -> AsyncIterator[tuple[Product | None, AddedUp]]:
    # The server sends the totals sorted. They are merged with the products as all stream in.
    chosen: Document = {} if product_ids is None else {"_id": {"$in": list(product_ids)}}
    products = databases.products["products"].find(chosen, session=session).sort("_id", 1)
    # All are read in the order of their ids: with `notablescan`, MongoDB refuses anything else.
    by_id: Document = {"hint": {"_id": 1}} if product_ids is None else {}
    streams = [aiter(products)] + [
        aiter(
            await databases.products[name].aggregate(
                sums(product_ids), allowDiskUse=True, session=session, **by_id
            )
        )
        for name, sums in (("reservations", _reserved), ("adjustments", _adjusted))
    ]
    heads = [await anext(stream, None) for stream in streams]
    while some := [head["_id"] for head in heads if head is not None]:
        product_id = min(some)
        of_product = [
            head if head is not None and head["_id"] == product_id else None for head in heads
        ]
        product, *sums = of_product
        yield (
            None if product is None else records.read(product, Product),
            msgspec.convert(
                {
                    "product_id": product_id,
                    **{k: v for each in sums for k, v in (each or {}).items()},
                },
                AddedUp,
            ),
        )
        for number, head in enumerate(of_product):
            if head is not None:
                heads[number] = await anext(streams[number], None)


def _reserved(product_ids: Sequence[str] | None) -> list[Document]:
    def pieces(number: object, *conditions: Document) -> Document:
        return {"$sum": {"$cond": [{"$and": [*conditions]}, number, 0]}}

    def less(*gone: str) -> Document:
        numbers = ({"$ifNull": [f"$lines.{name}", 0]} for name in gone)
        return {"$subtract": ["$lines.quantity", {"$add": [*numbers]}]}

    sold, on_shelf = less("called_off", "restocked"), less("called_off", "shipped")
    committed = {"$eq": ["$status", "COMMITTED"]}
    marked_unshipped = {"$eq": ["$unshipped", True]}
    chosen: Document = (
        {} if product_ids is None else {"lines.product_id": {"$in": list(product_ids)}}
    )
    counted = {"$or": [{"status": {"$in": ["HELD", "COMMITTED"]}}, {"unshipped": True}]}
    return [
        {"$match": {**counted, **chosen}},
        {"$unwind": "$lines"},
        {"$match": chosen},
        {
            "$group": {
                "_id": "$lines.product_id",
                "held": pieces(less("called_off"), {"$eq": ["$status", "HELD"]}),
                "committed": pieces(sold, committed),
                "unshipped": pieces(on_shelf, committed, marked_unshipped),
                "marked_unshipped": pieces(on_shelf, marked_unshipped),
            }
        },
        {"$sort": {"_id": 1}},
    ]


def _adjusted(product_ids: Sequence[str] | None) -> list[Document]:
    def those(condition: Document) -> Document:
        return {"$push": {"$cond": [condition, "$_id", "$$REMOVE"]}}

    chosen: Document = {} if product_ids is None else {"product_id": {"$in": list(product_ids)}}
    return [
        {"$match": chosen},
        {
            "$group": {
                "_id": "$product_id",
                "adjusted": {"$sum": "$delta"},
                "inconsistent": those({"$ne": ["$after", {"$add": ["$before", "$delta"]}]}),
                "untold": those({"$lt": [{"$ifNull": ["$sequence", 0]}, 1]}),
            }
        },
        {"$sort": {"_id": 1}},
    ]


async def _read(collection: Collection, query: Document, kind: type[Kind]) -> list[Kind]:
    return [records.read(document, kind) async for document in collection.find(query)]
