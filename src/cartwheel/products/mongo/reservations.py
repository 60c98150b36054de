"""Reservations in MongoDB: collection `reservations`, written together with `products`.

Adjustments are decided in the same transactions.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import BulkWriteError, DuplicateKeyError

from cartwheel.contracts.products import AdjustStock, ReserveStock
from cartwheel.kernel import Change, Clock, new_id
from cartwheel.kernel.errors import Refusal
from cartwheel.kernel.mongodb import (
    AFRESH,
    Client,
    Database,
    Document,
    DueItems,
    Outboxes,
    from_document,
    happened,
    state,
)
from cartwheel.products.domain import adjustments, stock
from cartwheel.products.domain.adjustments import Adjustment
from cartwheel.products.domain.stock import (
    Ended,
    Goods,
    Moved,
    Moves,
    ReservationStatus,
    StoredReservation,
)
from cartwheel.products.mongo.adjustments import new_adjustment
from cartwheel.products.mongo.schema import LIVE
from cartwheel.products.mongo.transactions import Work, in_transaction

Asked = TypeVar("Asked", ReserveStock, AdjustStock)
Done = TypeVar("Done")
Step = Callable[[StoredReservation, Mapping[str, Goods]], StoredReservation]
"""Returns a reservation after something has happened to it. It may take from available pieces."""

_DUPLICATE = 11000
_GOODS = dict.fromkeys(Goods.__struct_fields__, 1)
_RESERVATION = dict.fromkeys(
    (name for name in StoredReservation.__struct_fields__ if name not in ("id", "events")), 1
)

BATCH_RUNS = 5
"""How many times a batch is tried while other processes store requests that are in it, or take
slots that it has chosen."""


class MongoReservations:
    """Stock changes here, and always in one transaction with the reservation or the adjustment it
    is for. The one other place is a repair (`MongoAdjustments`)."""

    def __init__(self, client: Client, database: Database, outboxes: Outboxes) -> None:
        self._client = client
        self._outboxes = outboxes
        self._products = database["products"]
        self._reservations = database["reservations"]
        self._adjustments = database["adjustments"]

    async def reserve(
        self, requests: Sequence[ReserveStock], *, now: Clock
    ) -> list[StoredReservation | Refusal]:
        held, _ = await self.decide(requests, (), now=now)
        return held

    async def decide(
        self, requests: Sequence[ReserveStock], adjusting: Sequence[AdjustStock], *, now: Clock
    ) -> tuple[list[StoredReservation | Refusal], list[Adjustment | Refusal]]:
        told: list[tuple[str, str]] = []

        async def decide(
            session: AsyncClientSession,
        ) -> tuple[list[StoredReservation | Refusal], list[Adjustment | Refusal]]:
            told.clear()
            earlier, taken = await self._earlier(requests, session)
            decided: dict[str, StoredReservation | Refusal] = {**earlier}
            new = _unlike(decided, requests)
            adjusted = await self._adjusted_before(adjusting, session)
            new_adjusting = _unlike(adjusted, adjusting)
            goods = await self._goods(
                {item.product_id for request in new.values() for item in request.items}
                | {request.product_id for request in new_adjusting.values()},
                session,
            )
            at = now()
            # Adjustments first: they say how many pieces there are to reserve.
            made, goods = adjustments.adjust(
                goods, list(new_adjusting.values()), at=at, new_id=lambda: new_id("adj")
            )
            outcomes = stock.allocate(goods, list(new.values()), at=at, taken=taken)
            held = [outcome for outcome in outcomes if isinstance(outcome, StoredReservation)]
            changed = [outcome for outcome in made if isinstance(outcome, Adjustment)]
            moves = stock.added_up(stock.stock_moves(None, each) for each in held)
            if changed:
                await self._adjustments.insert_many(
                    [new_adjustment(each) for each in changed], session=session
                )
                for each in changed:
                    moves.setdefault(each.product_id, Counter())["available"] += each.delta
            if held:
                await self._reservations.insert_many(
                    [_new(each, new[each.request_id].traceparent) for each in held],
                    session=session,
                )
            await self._move(session, moves)
            told.extend(("reservations", each.id) for each in held if each.events)
            told.extend(("adjustments", each.id) for each in changed)
            decided.update(zip(new, outcomes, strict=True))
            adjusted.update(zip(new_adjusting, made, strict=True))
            return (
                [decided[request.request_id] for request in requests],
                [adjusted[request.request_id] for request in adjusting],
            )

        outcomes = await self._unless_done_elsewhere(decide)
        for collection, document_id in told:
            self._outboxes.filled(collection, [document_id])
        return outcomes

    async def _earlier(
        self, requests: Sequence[ReserveStock], session: AsyncClientSession
    ) -> tuple[dict[str, StoredReservation], dict[str, set[int]]]:
        """Return what `requests` have made before, and which slots their owners have taken.

        One command finds both: it is on the way of every order.
        """
        if not requests:
            return {}, {}
        request_ids = [request.request_id for request in requests]
        owners = {each.owner for each in requests if each.owner is not None and each.max_live}
        query: Document = {"request_id": {"$in": request_ids}}
        if owners:
            query = {"$or": [query, {"owner": {"$in": list(owners)}, **LIVE}]}
        # Of the owners' other reservations the lines are not read: there may be thousands.
        repeated: Document = {"$in": ["$request_id", request_ids]}
        fields: Document = {**_RESERVATION, "lines": {"$cond": [repeated, "$lines", []]}}
        earlier: dict[str, StoredReservation] = {}
        taken: dict[str, set[int]] = {}
        asked = set(request_ids)
        async for document in self._reservations.find(query, fields, session=session):
            reservation = from_document(document, StoredReservation)
            if reservation.request_id in asked:
                earlier[reservation.request_id] = reservation
            live = reservation.status is ReservationStatus.HELD
            if live and reservation.owner in owners and reservation.slot is not None:
                taken.setdefault(reservation.owner or "", set()).add(reservation.slot)
        return earlier, taken

    async def _adjusted_before(
        self, requests: Sequence[AdjustStock], session: AsyncClientSession
    ) -> dict[str, Adjustment | Refusal]:
        """Return the outcomes of those `requests` that were decided before, by request id."""
        if not requests:
            return {}
        ids = [request.request_id for request in requests]
        found = self._adjustments.find({"request_id": {"$in": ids}}, session=session)
        return {
            document["request_id"]: from_document(document, Adjustment) async for document in found
        }

    async def _goods(self, ids: set[str], session: AsyncClientSession) -> dict[str, Goods]:
        if not ids:
            return {}
        found = self._products.find({"_id": {"$in": list(ids)}}, _GOODS, session=session)
        return {document["_id"]: from_document(document, Goods) async for document in found}

    async def _unless_done_elsewhere(self, decide: Work[Done]) -> Done:
        """Run `decide` in a transaction; again if another process stores the same requests or
        takes the same slots."""
        for _ in range(BATCH_RUNS - 1):
            try:
                return await in_transaction(self._client, decide)
            except (DuplicateKeyError, BulkWriteError) as error:
                # Another process has just stored one of these requests, or taken a slot, which
                # aborted the whole batch. The next run finds that.
                if not _is_duplicate(error):
                    raise
        return await in_transaction(self._client, decide)

    async def settle(self, changes: Sequence[tuple[str, Ended, int]], *, now: Clock) -> None:
        def step(ended: Ended, sequence: int) -> Step:
            return lambda reservation, products: stock.settle(
                reservation, ended, order_sequence=sequence, products=products
            )

        steps = [(order_id, step(ended, sequence)) for order_id, ended, sequence in changes]
        await self._change(steps, now)

    async def fulfil(self, changes: Sequence[tuple[str, Moved, int]], *, now: Clock) -> None:
        def step(moved: Moved, sequence: int) -> Step:
            return lambda reservation, products: stock.fulfil(
                reservation, moved, order_sequence=sequence, products=products
            )

        steps = [(order_id, step(moved, sequence)) for order_id, moved, sequence in changes]
        await self._change(steps, now)

    async def _change(self, steps: Sequence[tuple[str, Step]], now: Clock) -> None:
        """Apply all `steps` in turn, in one transaction."""

        async def apply(session: AsyncClientSession) -> list[StoredReservation]:
            before = await self._reserved([order_id for order_id, _ in steps], session)
            after = dict(before)
            # Only abandoned reservations take from what is available.
            goods = await self._goods(
                {
                    line.product_id
                    for reservation in before.values()
                    if stock.was_abandoned(reservation)
                    for line in reservation.lines
                },
                session,
            )
            for order_id, step in steps:
                old = after[order_id]
                new = step(old, goods)
                after[order_id] = new
                goods = stock.moved(goods, stock.stock_moves(old, new))
            return await self._store(before, after, session, now)

        self._tell_of(await in_transaction(self._client, apply))

    async def release_abandoned(self, order_ids: Sequence[str], *, now: Clock) -> None:
        async def apply(session: AsyncClientSession) -> list[StoredReservation]:
            before = await self._reserved(order_ids, session)
            after = {order_id: stock.release_abandoned(old) for order_id, old in before.items()}
            return await self._store(before, after, session, now)

        self._tell_of(await in_transaction(self._client, apply))

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
            [_update(before[new.id], new, now()) for new in changed], session=session
        )
        await self._move(
            session, stock.added_up(stock.stock_moves(before[new.id], new) for new in changed)
        )
        return changed

    def _tell_of(self, changed: Sequence[StoredReservation]) -> None:
        self._outboxes.filled("reservations", [each.id for each in changed if each.events])

    async def _move(self, session: AsyncClientSession, moves: Moves) -> None:
        operations = [
            UpdateOne(
                {"_id": product_id},
                {"$inc": {f"stock.{where}": number for where, number in numbers.items()}},
            )
            for product_id, numbers in moves.items()
            if numbers
        ]
        if operations:
            await self._products.bulk_write(operations, ordered=False, session=session)


def _unlike(decided: Mapping[str, object], requests: Sequence[Asked]) -> dict[str, Asked]:
    """Return the `requests` that are not in `decided`, each once, by request id."""
    new: dict[str, Asked] = {}
    for request in requests:
        if request.request_id not in decided:
            new.setdefault(request.request_id, request)
    return new


def _is_duplicate(error: DuplicateKeyError | BulkWriteError) -> bool:
    if isinstance(error, DuplicateKeyError):
        return True
    faults: list[Document] = (error.details or {}).get("writeErrors", [])
    return bool(faults) and all(fault["code"] == _DUPLICATE for fault in faults)


def _new(reservation: StoredReservation, traceparent: str | None) -> Document:
    document = {"_id": reservation.id, **state(reservation), "sequence": reservation.sequence}
    if not reservation.events:
        return document
    change = Change(by="orders", at=reservation.held_at, traceparent=traceparent)
    return document | happened(reservation, source="products", change=change)


def _update(before: StoredReservation, after: StoredReservation, at: datetime) -> UpdateOne:
    new = happened(after, source="products", change=Change(by="orders", at=at))
    changed: Document = {
        "status": after.status.value,
        "unshipped": after.unshipped,
        "order_sequence": after.order_sequence,
        "sequence": new["sequence"],
    }
    if after.counted is not before.counted:
        changed |= {"lines": state(after)["lines"], "counted": after.counted}
    return UpdateOne(
        {"_id": after.id},
        {
            "$set": changed,
            "$unset": AFRESH,
            "$push": {"outbox": {"$each": new["outbox"]}},
        },
    )
