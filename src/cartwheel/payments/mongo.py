"""Payments in MongoDB, database `payments`."""

from collections.abc import Sequence
from datetime import timedelta

import msgspec
from pymongo import ASCENDING

from cartwheel.contracts.payments import (
    DisputeStatus,
    ListDisputed,
    ListPayments,
    Method,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
    RefundStatus,
)
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Collection, Page
from cartwheel.kernel.mongodb import (
    Aggregates,
    Database,
    Document,
    DueItems,
    Outboxes,
    drop_index,
    finds,
    from_document,
    index_outbox,
    made_between,
    page,
)
from cartwheel.payments.domain import Payment

COLLECTIONS = (Collection("payments", outbox=True),)


async def _create_indexes(database: Database) -> None:
    payments = database["payments"]
    await payments.create_index([("request_id", ASCENDING)], name="request_id", unique=True)
    await payments.create_index(
        [("order_id", ASCENDING)],
        name="one_live_per_order",
        unique=True,
        partialFilterExpression={"live": True},
    )
    await payments.create_index([("order_id", ASCENDING), ("_id", ASCENDING)], name="of_order")
    await payments.create_index([("user_id", ASCENDING), ("_id", ASCENDING)], name="of_user")
    await payments.create_index([("status", ASCENDING), ("_id", ASCENDING)], name="by_status")
    await index_outbox(payments)


async def _number_attempts(database: Database) -> None:
    await database["payments"].create_index(
        [("order_id", ASCENDING), ("attempt", ASCENDING)],
        name="one_per_attempt",
        unique=True,
        partialFilterExpression={"attempt": {"$gt": 0}},
    )


async def _index_refunds(database: Database) -> None:
    await database["payments"].create_index(
        [("refunds.status", ASCENDING)],
        name="to_refund",
        partialFilterExpression={"refunds.status": RefundStatus.PENDING},
    )


async def _index_due(database: Database) -> None:
    payments = database["payments"]
    await payments.create_index(
        [("provider", ASCENDING), ("due_at", ASCENDING), ("updated_at", ASCENDING)],
        name="undecided",
        partialFilterExpression={"status": PaymentStatus.AWAITING_PAYMENT},
    )
    await payments.create_index(
        [("refunds.status", ASCENDING), ("due_at", ASCENDING)],
        name="refunds_due",
        partialFilterExpression={"refunds.status": RefundStatus.PENDING},
    )
    await drop_index(payments, "to_refund")


async def _index_lookups(database: Database) -> None:
    payments = database["payments"]
    by_method = [("method", ASCENDING), ("status", ASCENDING), ("_id", ASCENDING)]
    await payments.create_index(by_method, name="by_method")
    await payments.create_index([("user_id", ASCENDING), *by_method], name="of_user_by_method")


async def _index_disputes(database: Database) -> None:
    await database["payments"].create_index(
        [("disputes.status", ASCENDING), ("_id", ASCENDING)],
        name="disputed",
        partialFilterExpression={"disputes.status": {"$exists": True}},
    )


async def _index_authorizations(database: Database) -> None:
    await database["payments"].create_index(
        [("due_at", ASCENDING), ("act_at", ASCENDING)],
        name="authorized",
        partialFilterExpression={"status": PaymentStatus.AUTHORIZED},
    )


MIGRATIONS = (
    _create_indexes,
    _number_attempts,
    _index_refunds,
    _index_due,
    _index_lookups,
    _index_disputes,
    _index_authorizations,
)


class MongoPayments(Aggregates[Payment]):
    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        super().__init__(
            database["payments"],
            Payment,
            source="payments",
            outboxes=outboxes,
            missing=lambda: PaymentNotFound("There is no such payment."),
            lists=_entries,
            unread=["history"],
        )
        self._by_request = finds(self.collection, "request_id", outbox=0, history=0)

    async def add(self, payment: Payment) -> bool:
        return await self.insert(payment)

    async def made_by(self, request_id: str) -> Payment | None:
        document = await self._by_request.submit(request_id)
        return self.read(document) if document else None

    async def declined(self, order_id: str) -> list[Payment]:
        query = {"order_id": order_id, "attempt": {"$gt": 0}, "live": False}
        return await self.matching(query, by="attempt")

    async def awaited(self, order_id: str) -> list[Payment]:
        waiting = [PaymentStatus.AWAITING_PAYMENT, PaymentStatus.AUTHORIZED]
        query = {"order_id": order_id, "status": {"$in": waiting}}
        return await self.matching(query)

    async def disbelieved(self, payment_id: str) -> None:
        # The counter is not a field of the aggregate: the payment itself has not changed.
        await self.collection.update_one({"_id": payment_id}, {"$inc": {"webhooks_disbelieved": 1}})

    async def page(self, request: ListPayments) -> Page[PaymentView]:
        return await page(
            self.collection,
            _found_by(request),
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: from_document(document, PaymentView),
        )

    async def disputed(self, request: ListDisputed) -> Page[PaymentView]:
        chosen = list(DisputeStatus) if request.status is None else [request.status]
        return await page(
            self.collection,
            # `$exists` makes the partial index fit.
            {"disputes.status": {"$in": chosen, "$exists": True}},
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: from_document(document, PaymentView),
        )

    async def timeline(self, payment_id: str) -> list[TimelineEntry]:
        document = await self.collection.find_one({"_id": payment_id}, {"history": 1})
        return msgspec.convert((document or {}).get("history", []), list[TimelineEntry])

    def to_refund(self) -> DueItems:
        return DueItems(self.collection, {"refunds.status": RefundStatus.PENDING})

    def to_act_on(self) -> DueItems:
        return DueItems(
            self.collection,
            {"status": PaymentStatus.AUTHORIZED},
            when=lambda now: {"act_at": {"$lte": now}},
        )

    def undecided(self, provider: str, *, after: timedelta) -> DueItems:
        return DueItems(
            self.collection,
            {"status": PaymentStatus.AWAITING_PAYMENT, "provider": provider},
            when=lambda now: {"updated_at": {"$lt": now - after}},
        )


def _found_by(request: ListPayments) -> Document:
    """Return the query of a list. Each combination is answered from an index, in its order."""
    query: Document = {
        name: value
        for name in ("user_id", "order_id", "method", "status")
        if (value := getattr(request, name)) is not None
    }
    indexed_by_method = "method" in query or {"user_id", "status"} <= query.keys()
    if indexed_by_method and "order_id" not in query:  # an order has few payments
        # The id comes last in these indexes: MongoDB merges one scan for each value before it.
        if "user_id" in query:
            query.setdefault("method", {"$in": list(Method)})
        query.setdefault("status", {"$in": list(PaymentStatus)})
    return query | made_between("pay", request.created_after, request.created_before)


def _entries(payment: Payment, outbox: Sequence[Document]) -> dict[str, list[Document]]:
    """Return the timeline entries of a payment's new events."""
    by = payment.change.by if payment.change else "payments"
    return {
        "history": [
            {
                "type": told["type"],
                "at": payment.updated_at,
                "by": by,
                "event_id": told["id"],
                "because_of": told["causation_id"],
                "trace_id": told["correlation_id"],
            }
            for told in outbox
        ]
    }
