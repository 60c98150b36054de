"""Reservations in MongoDB: collection `reservations`, written together with `products`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from cartwheel.contracts.products import ReserveStock
from cartwheel.kernel import Change, Clock
from cartwheel.kernel.errors import Contention, Refusal
from cartwheel.kernel.mongodb import (
    AFRESH,
    Client,
    Database,
    Document,
    DueItems,
    Outboxes,
    from_document,
    happened,
    is_contention,
    to_document,
)
from cartwheel.products.domain import stock
from cartwheel.products.domain.stock import Ended, Goods, ReservationStatus, StoredReservation

_GOODS = dict.fromkeys(Goods.__struct_fields__, 1)

BATCH_RUNS = 5
"""How many times a batch is tried while other processes store requests that are in it."""


class MongoReservations:
    """Stock changes only here, and always in one transaction with the reservation it is for."""

    def __init__(self, client: Client, database: Database, outboxes: Outboxes) -> None:
        self._client = client
        self._outboxes = outboxes
        self._products = database["products"]
        self._reservations = database["reservations"]

    async def reserve(
        self, requests: Sequence[ReserveStock], *, now: Clock
    ) -> list[StoredReservation | Refusal]:
        async def decide(session: AsyncClientSession) -> list[StoredReservation | Refusal]:
            request_ids = [request.request_id for request in requests]
            decided: dict[str, StoredReservation | Refusal] = {
                document["request_id"]: from_document(document, StoredReservation)
                async for document in self._reservations.find(
                    {"request_id": {"$in": request_ids}}, session=session
                )
            }
            new: dict[str, ReserveStock] = {}
            for request in requests:
                if request.request_id not in decided:
                    new.setdefault(request.request_id, request)
            wanted = {item.product_id for request in new.values() for item in request.items}
            found = self._products.find({"_id": {"$in": list(wanted)}}, _GOODS, session=session)
            goods = {document["_id"]: from_document(document, Goods) async for document in found}
            outcomes = stock.allocate(goods, list(new.values()), at=now())
            held = [outcome for outcome in outcomes if isinstance(outcome, StoredReservation)]
            if held:
                await self._reservations.insert_many(
                    [_new(reservation) for reservation in held], session=session
                )
                await self._move(
                    session, ((each, {"available": -1, "reserved": +1}) for each in held)
                )
            decided.update(zip(new, outcomes, strict=True))
            return [decided[request_id] for request_id in request_ids]

        for _ in range(BATCH_RUNS - 1):
            try:
                return await self._in_transaction(decide)
            except DuplicateKeyError:
                # Another process has just stored one of these requests, which aborted the whole
                # batch. The next run finds it.
                continue
        return await self._in_transaction(decide)

    async def settle(self, changes: Sequence[tuple[str, Ended, int]], *, now: Clock) -> None:
        async def apply(session: AsyncClientSession) -> list[StoredReservation]:
            before = await self._reserved([order_id for order_id, _, _ in changes], session)
            after = dict(before)
            free = await self._free(before.values(), session)
            for order_id, ended, sequence in changes:
                old = after[order_id]
                new = stock.settle(old, ended, order_sequence=sequence, free=free)
                after[order_id] = new
                per_piece = stock.stock_moves(old.status, new.status).get("available", 0)
                for line in new.lines:
                    if line.product_id in free:
                        free[line.product_id] += per_piece * line.quantity
            return await self._store(before, after, session, now)

        self._tell_of(await self._in_transaction(apply))

    async def release_abandoned(self, order_ids: Sequence[str], *, now: Clock) -> None:
        async def apply(session: AsyncClientSession) -> list[StoredReservation]:
            before = await self._reserved(order_ids, session)
            after = {order_id: stock.release_abandoned(old) for order_id, old in before.items()}
            return await self._store(before, after, session, now)

        self._tell_of(await self._in_transaction(apply))

    def held(self, *, longer_than: timedelta) -> DueItems:
        return DueItems(
            self._reservations,
            {"status": ReservationStatus.HELD},
            when=lambda now: {"held_at": {"$lt": now - longer_than}},
        )

    async def _reserved(
        self, order_ids: Sequence[str], session: AsyncClientSession
    ) -> dict[str, StoredReservation]:
        found = self._reservations.find({"_id": {"$in": list(order_ids)}}, session=session)
        return {
            document["_id"]: from_document(document, StoredReservation) async for document in found
        }

    async def _free(
        self, reservations: Iterable[StoredReservation], session: AsyncClientSession
    ) -> dict[str, int]:
        """Return the available pieces of the products in abandoned reservations."""
        wanted = {
            line.product_id
            for reservation in reservations
            if stock.was_abandoned(reservation)
            for line in reservation.lines
        }
        if not wanted:
            return {}
        found = self._products.find(
            {"_id": {"$in": list(wanted)}}, {"stock.available": 1}, session=session
        )
        return {document["_id"]: document["stock"]["available"] async for document in found}

    async def _store(
        self,
        before: Mapping[str, StoredReservation],
        after: Mapping[str, StoredReservation],
        session: AsyncClientSession,
        now: Clock,
    ) -> list[StoredReservation]:
        """Store the changed reservations and their stock; return those reservations."""
        changed = [new for order_id, new in after.items() if new is not before[order_id]]
        if not changed:
            return changed
        await self._reservations.bulk_write(
            [_update(reservation, now()) for reservation in changed], session=session
        )
        await self._move(
            session,
            ((new, stock.stock_moves(before[new.id].status, new.status)) for new in changed),
        )
        return changed

    def _tell_of(self, changed: Sequence[StoredReservation]) -> None:
        self._outboxes.filled("reservations", [each.id for each in changed if each.events])

    async def _move(
        self,
        session: AsyncClientSession,
        moves: Iterable[tuple[StoredReservation, dict[str, int]]],
    ) -> None:
        """Change the stock of each reservation's products by `per_piece` for each piece."""
        totals: dict[str, Counter[str]] = {}
        for reservation, per_piece in moves:
            for line in reservation.lines:
                total = totals.setdefault(line.product_id, Counter())
                for where, sign in per_piece.items():
                    total[f"stock.{where}"] += sign * line.quantity
        operations = [
            UpdateOne({"_id": product_id}, {"$inc": dict(total)})
            for product_id, total in totals.items()
            if total
        ]
        if operations:
            await self._products.bulk_write(operations, ordered=False, session=session)

    async def _in_transaction(self, work: Any) -> Any:
        """Return what `work` returns, committed.

        Raises:
            Contention: other transactions kept conflicting until the deadline.
        """
        conflict: PyMongoError | None = None

        async def note_conflicts(session: AsyncClientSession) -> Any:
            nonlocal conflict
            try:
                done = await work(session)
            except PyMongoError as error:
                # A timeout may be the deadline, reached during conflicts. A missing primary,
                # however, is an outage.
                if not error.timeout or isinstance(error, ServerSelectionTimeoutError):
                    conflict = error if is_contention(error) else None
                raise
            conflict = None  # an error from here on leaves open whether the commit happened
            return done

        async with self._client.start_session() as session:
            # On a conflict the driver runs `work` again: at once, then after growing random
            # pauses, until the deadline. If the result of a commit is unknown, it repeats only
            # the commit.
            try:
                return await session.with_transaction(
                    note_conflicts,
                    read_concern=ReadConcern("snapshot"),
                    write_concern=WriteConcern("majority", j=True),
                )
            except PyMongoError as error:
                if error.timeout and conflict is not None:
                    raise Contention(f"conflicts until the deadline: {conflict}") from error
                raise


def _new(reservation: StoredReservation) -> Document:
    document = to_document(reservation)
    del document["events"]
    return document


def _update(reservation: StoredReservation, at: datetime) -> UpdateOne:
    new = happened(reservation, source="products", change=Change(by="orders", at=at))
    return UpdateOne(
        {"_id": reservation.id},
        {
            "$set": {
                "status": reservation.status.value,
                "order_sequence": reservation.order_sequence,
                "sequence": new["sequence"],
            },
            "$unset": AFRESH,
            "$push": {"outbox": {"$each": new["outbox"]}},
        },
    )
