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
from cartwheel.payments.domain import UNDECIDED, Payment

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


async def _index_amounts(database: Database) -> None:
    payments = database["payments"]
    by_provider = [
        ("provider", ASCENDING),
        ("method", ASCENDING),
        ("status", ASCENDING),
        ("_id", ASCENDING),
    ]
    by_amount = [("amount.amount", ASCENDING), ("amount.currency", ASCENDING), *by_provider]
    await payments.create_index(by_provider, name="by_provider")
    await payments.create_index(by_amount, name="by_amount")
    await payments.create_index([("user_id", ASCENDING), *by_amount], name="of_user_by_amount")


async def _index_actions(database: Database) -> None:
    await database["payments"].create_index(
        [("provider", ASCENDING), ("due_at", ASCENDING)],
        name="acting",
        partialFilterExpression={"status": PaymentStatus.REQUIRES_ACTION},
    )


MIGRATIONS = (
    _create_indexes,
    _number_attempts,
    _index_refunds,
    _index_due,
    _index_lookups,
    _index_disputes,
    _index_authorizations,
    _index_amounts,
    _index_actions,
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
        waiting = [*UNDECIDED, PaymentStatus.AUTHORIZED]
        query = {"order_id": order_id, "status": {"$in": waiting}}
        return await self.matching(query)

    async def disbelieved(self, payment_id: str) -> None:
        # The counter is not a field of the aggregate: the payment itself has not changed.
        await self.collection.update_one({"_id": payment_id}, {"$inc": {"webhooks_disbelieved": 1}})

    async def page(self, request: ListPayments) -> Page[PaymentView]:
        query = _found_by(request)
        if query.get("provider") == _ANY:
            # Read from an index: one key for each provider that the shop has had.
            query["provider"] = {"$in": await self.collection.distinct("provider")}
        return await page(
            self.collection,
            query,
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: from_document(document, PaymentView),
            index=_index(query),
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

    def acting(self, provider: str) -> DueItems:
        query: Document = {"status": PaymentStatus.REQUIRES_ACTION, "provider": provider}
        return DueItems(self.collection, query)


_ANY: Document = {}
"""Stands for all providers, which only the database knows."""


def _found_by(request: ListPayments) -> Document:
    """Return the query of a list. Each combination is answered from an index, in its order."""
    query: Document = {
        name: value
        for name in ("user_id", "order_id", "provider", "method", "status")
        if (value := getattr(request, name)) is not None
    }
    if request.amount is not None:
        query["amount.amount"] = request.amount.amount
        query["amount.currency"] = request.amount.currency
    return (
        query
        | (_named(query) if _needs_names(query) else {})
        | made_between("pay", request.created_after, request.created_before)
    )


def _index(query: Document) -> str | None:
    """Return the index of which `query` names all fields; None leaves the choice to MongoDB."""
    if "order_id" in query:
        return None
    if "amount.amount" in query:
        return "of_user_by_amount" if "user_id" in query else "by_amount"
    if "provider" in query:
        return "of_user_by_method" if "user_id" in query else "by_provider"
    return None


def _needs_names(query: Document) -> bool:
    """Return whether fields stand before the id in the index that answers `query`."""
    given = query.keys()
    if "order_id" in given:  # an order has few payments
        return False
    alone = {"method", "provider", "amount.amount"}
    return bool(given & alone) or {"user_id", "status"} <= given


def _named(query: Document) -> Document:
    """Return all values of fields that `query` leaves open: MongoDB merges a scan for each."""
    named: Document = {"status": query.get("status", {"$in": list(PaymentStatus)})}
    if query.keys() & {"user_id", "provider", "amount.amount"}:
        named["method"] = {"$in": _methods(query)}
    if "amount.amount" in query:
        named["provider"] = query.get("provider", _ANY)
    return named


def _methods(query: Document) -> list[Method]:
    """Return the methods that are possible: only cash is paid to the provider `cash`."""
    methods = [query["method"]] if "method" in query else list(Method)
    if "provider" not in query:
        return methods
    in_cash = query["provider"] == "cash"
    return [each for each in methods if (each is Method.CASH_ON_DELIVERY) == in_cash]


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
