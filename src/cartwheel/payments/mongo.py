"""Payments in MongoDB, database `payments`."""

from datetime import timedelta

from pymongo import ASCENDING

from cartwheel.contracts.payments import ListPayments, PaymentStatus, PaymentView, RefundStatus
from cartwheel.kernel.messages import Page
from cartwheel.kernel.store import codec, group, migrations, outbox
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.aggregates import Aggregates
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.due import DueItems
from cartwheel.kernel.store.outbox import Outboxes
from cartwheel.payments.domain import Payment

OUTBOXES = ("payments",)


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
    await outbox.prepare(payments)


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
    await migrations.drop_index(payments, "to_refund")


MIGRATIONS = (_create_indexes, _number_attempts, _index_refunds, _index_due)


class MongoPayments:
    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        self._payments = database["payments"]
        self._aggregates = Aggregates(self._payments, source="payments", outboxes=outboxes)
        self._finds = group.finds(self._payments, "_id", outbox=0)
        self._finds_by_request = group.finds(self._payments, "request_id", outbox=0)

    async def add(self, payment: Payment) -> bool:
        return await self._aggregates.insert(payment)

    async def get(self, payment_id: str) -> Payment | None:
        return _payment(await self._finds.submit(payment_id))

    async def made_by(self, request_id: str) -> Payment | None:
        return _payment(await self._finds_by_request.submit(request_id))

    async def declined(self, order_id: str) -> list[Payment]:
        query = {"order_id": order_id, "attempt": {"$gt": 0}, "live": False}
        return [
            codec.from_document(document, Payment)
            async for document in self._payments.find(query, {"outbox": 0}).sort("attempt")
        ]

    async def save(self, payment: Payment, *, expected: Payment) -> bool:
        return await self._aggregates.save(payment, expected=expected)

    async def disbelieved(self, payment_id: str) -> None:
        # Beside the aggregate's own fields: the payment itself has not changed.
        await self._payments.update_one({"_id": payment_id}, {"$inc": {"webhooks_disbelieved": 1}})

    async def page(self, request: ListPayments) -> Page[PaymentView]:
        query: Document = {
            name: value
            for name in ("user_id", "order_id", "status")
            if (value := getattr(request, name)) is not None
        }
        return await cursors.page(
            self._payments,
            query,
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: codec.from_document(document, PaymentView),
        )

    async def awaited(self, order_id: str) -> list[Payment]:
        query = {"order_id": order_id, "status": PaymentStatus.AWAITING_PAYMENT}
        return [
            codec.from_document(document, Payment)
            async for document in self._payments.find(query, {"outbox": 0})
        ]

    def to_refund(self) -> DueItems:
        return DueItems(self._payments, {"refunds.status": RefundStatus.PENDING})

    def undecided(self, provider: str, *, after: timedelta) -> DueItems:
        return DueItems(
            self._payments,
            {"status": PaymentStatus.AWAITING_PAYMENT, "provider": provider},
            when=lambda now: {"updated_at": {"$lt": now - after}},
        )


def _payment(document: Document) -> Payment | None:
    return codec.from_document(document, Payment) if document else None
