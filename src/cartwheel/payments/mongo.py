"""Payments in MongoDB, database `payments`."""

from collections.abc import AsyncIterator
from datetime import datetime

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from cartwheel.contracts.payments import ListPayments, PaymentStatus, PaymentView, RefundStatus
from cartwheel.kernel.messages import Page
from cartwheel.kernel.store import codec, outbox
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.client import Database, Document
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


MIGRATIONS = (_create_indexes, _number_attempts, _index_refunds)


class MongoPayments:
    def __init__(self, database: Database) -> None:
        self._payments = database["payments"]

    async def add(self, payment: Payment) -> bool:
        try:
            await self._payments.insert_one(
                {"_id": payment.id, **_state(payment), **_happened(payment)}
            )
        except DuplicateKeyError:
            return False
        return True

    async def get(self, payment_id: str) -> Payment | None:
        return await self._find_one({"_id": payment_id})

    async def made_by(self, request_id: str) -> Payment | None:
        return await self._find_one({"request_id": request_id})

    async def _find_one(self, query: Document) -> Payment | None:
        document = await self._payments.find_one(query, {"outbox": 0})
        return None if document is None else codec.from_document(document, Payment)

    async def declines(self, order_id: str) -> int:
        return await self._payments.count_documents(
            {"order_id": order_id, "attempt": {"$gt": 0}, "live": False}
        )

    async def save(self, payment: Payment, *, expected: Payment) -> bool:
        happened = _happened(payment)
        result = await self._payments.update_one(
            {"_id": payment.id, "version": expected.version},
            {
                "$set": {**_state(payment), "sequence": happened["sequence"]},
                "$push": {"outbox": {"$each": happened["outbox"]}},
            },
        )
        return result.matched_count == 1

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

    async def to_refund(self) -> AsyncIterator[Payment]:
        query = {"refunds.status": RefundStatus.PENDING}
        async for document in self._payments.find(query, {"outbox": 0}):
            yield codec.from_document(document, Payment)

    async def undecided(self, provider: str, *, since: datetime) -> AsyncIterator[Payment]:
        query = {
            "status": PaymentStatus.AWAITING_PAYMENT,
            "provider": provider,
            "updated_at": {"$lt": since},
        }
        async for document in self._payments.find(query, {"outbox": 0}):
            yield codec.from_document(document, Payment)


def _state(payment: Payment) -> Document:
    document = codec.to_document(payment)
    for name in ("_id", "events", "cause", "sequence"):
        del document[name]
    return document


def _happened(payment: Payment) -> Document:
    return {
        "sequence": payment.sequence + len(payment.events),
        "outbox": outbox.to_publish(
            payment.events,
            source="payments",
            subject=payment.id,
            after=payment.sequence,
            at=payment.updated_at,
            cause=payment.cause,
        ),
    }
