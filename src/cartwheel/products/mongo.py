"""The catalogue and the reservations in MongoDB, database `products`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pymongo import ASCENDING, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from cartwheel.contracts.products import (
    NameTaken,
    ProductStatus,
    ProductView,
    ReserveStock,
    SkuTaken,
)
from cartwheel.kernel.errors import FieldError, Refusal
from cartwheel.kernel.messages import Clock, Page
from cartwheel.kernel.store import codec, outbox
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.client import Client, Database, Document
from cartwheel.products import domain
from cartwheel.products.domain import Ended, Product, ReservationStatus, StoredReservation

OUTBOXES = ("products", "reservations")
_BATCH_RUNS = 5
_ACTIVE: Document = {"status": ProductStatus.ACTIVE}

Result = TypeVar("Result")


async def _create_indexes(database: Database) -> None:
    products = database["products"]
    await products.create_index([("request_id", ASCENDING)], name="request_id", unique=True)
    await products.create_index([("sku", ASCENDING)], name="sku", unique=True)
    await products.create_index(
        [("name", ASCENDING)], name="name", unique=True, partialFilterExpression=_ACTIVE
    )
    await products.create_index([("status", ASCENDING), ("_id", ASCENDING)], name="listing")
    await outbox.prepare(products)
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
    await outbox.prepare(reservations)


MIGRATIONS = (_create_indexes, _index_holds)


class MongoCatalogue:
    def __init__(self, database: Database) -> None:
        self._products = database["products"]

    async def add(self, product: Product) -> Product | None:
        try:
            await self._products.insert_one(
                {**_state(product), "_id": product.id, **_events(product)}
            )
        except DuplicateKeyError as error:
            earlier = await self._products.find_one({"request_id": product.request_id})
            if earlier is not None:
                return codec.from_document(earlier, Product)
            raise _taken(error) from None
        return None

    async def get(self, product_ids: Sequence[str]) -> dict[str, Product]:
        found = self._products.find({"_id": {"$in": list(set(product_ids))}})
        return {document["_id"]: codec.from_document(document, Product) async for document in found}

    async def save(self, product: Product, *, expected: Product) -> bool:
        state = _state(product)
        # Sales change the stock meanwhile, and are none of the catalogue's versions.
        del state["stock"]
        new = _events(product)
        try:
            result = await self._products.update_one(
                {"_id": product.id, "version": expected.version},
                {
                    "$set": {**state, "sequence": new["sequence"]},
                    "$push": {"outbox": {"$each": new["outbox"]}},
                },
            )
        except DuplicateKeyError as error:
            raise _taken(error) from None
        return result.matched_count == 1

    async def list_active(self, *, limit: int, cursor: str | None) -> Page[ProductView]:
        return await cursors.page(
            self._products,
            _ACTIVE,
            limit=limit,
            cursor=cursor,
            read=lambda document: codec.from_document(document, ProductView),
        )


def _state(product: Product) -> Document:
    document = codec.to_document(product)
    for name in ("_id", "events"):
        del document[name]
    return document


def _events(product: Product) -> Document:
    return {
        "sequence": product.sequence + len(product.events),
        "outbox": outbox.to_publish(
            product.events,
            source="products",
            subject=product.id,
            after=product.sequence,
            at=product.updated_at,
        ),
    }


def _new(reservation: StoredReservation) -> Document:
    document = codec.to_document(reservation)
    del document["events"]
    return document


def _update(reservation: StoredReservation, at: datetime) -> UpdateOne:
    published = outbox.to_publish(
        reservation.events,
        source="products",
        subject=reservation.id,
        after=reservation.sequence,
        at=at,
    )
    return UpdateOne(
        {"_id": reservation.id},
        {
            "$set": {
                "status": reservation.status.value,
                "order_sequence": reservation.order_sequence,
                "sequence": reservation.sequence + len(published),
            },
            "$push": {"outbox": {"$each": published}},
        },
    )


def _taken(error: DuplicateKeyError) -> Refusal:
    key: dict[str, Any] = (error.details or {}).get("keyPattern", {})
    if "sku" in key:
        return SkuTaken("another product has this sku", errors=[FieldError("sku", "taken")])
    if "name" in key:
        return NameTaken("another product has this name", errors=[FieldError("name", "taken")])
    raise error


class MongoReservations:
    """Stock changes only here, always in one transaction with the reservation that it is for."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._products = database["products"]
        self._reservations = database["reservations"]

    async def hold(
        self, requests: Sequence[ReserveStock], *, now: Clock
    ) -> list[StoredReservation | Refusal]:
        async def decide(session: AsyncClientSession) -> list[StoredReservation | Refusal]:
            request_ids = [request.request_id for request in requests]
            decided: dict[str, StoredReservation | Refusal] = {
                document["request_id"]: codec.from_document(document, StoredReservation)
                async for document in self._reservations.find(
                    {"request_id": {"$in": request_ids}}, session=session
                )
            }
            new: dict[str, ReserveStock] = {}
            for request in requests:
                if request.request_id not in decided:
                    new.setdefault(request.request_id, request)
            wanted = {item.product_id for request in new.values() for item in request.items}
            found = self._products.find({"_id": {"$in": list(wanted)}}, session=session)
            products = {
                document["_id"]: codec.from_document(document, Product) async for document in found
            }
            outcomes = domain.allocate(products, list(new.values()), at=now())
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

        for _ in range(_BATCH_RUNS - 1):
            try:
                return await self._in_transaction(decide)
            except DuplicateKeyError:
                # Another process has just stored one of these requests, which aborted all of
                # them. The next run finds it.
                continue
        return await self._in_transaction(decide)

    async def settle(self, changes: Sequence[tuple[str, Ended, int]], *, now: Clock) -> None:
        async def apply(session: AsyncClientSession) -> None:
            before = await self._reserved([order_id for order_id, _, _ in changes], session)
            after = dict(before)
            free = await self._free(before.values(), session)
            for order_id, ended, sequence in changes:
                old = after[order_id]
                new = domain.settle(old, ended, order_sequence=sequence, free=free)
                after[order_id] = new
                per_piece = domain.stock_moves(old.status, new.status).get("available", 0)
                for line in new.lines:
                    free[line.product_id] = free.get(line.product_id, 0) + per_piece * line.quantity
            await self._store(before, after, session, now)

        await self._in_transaction(apply)

    async def give_up(self, order_ids: Sequence[str], *, now: Clock) -> None:
        async def apply(session: AsyncClientSession) -> None:
            before = await self._reserved(order_ids, session)
            after = {order_id: domain.give_up(old) for order_id, old in before.items()}
            await self._store(before, after, session, now)

        await self._in_transaction(apply)

    async def held_before(self, then: datetime, *, after: str, limit: int) -> list[str]:
        query = {
            "status": ReservationStatus.HELD,
            "held_at": {"$lt": then},
            "_id": {"$gt": after},
        }
        found = self._reservations.find(query, {"_id": 1}).sort("_id").limit(limit)
        return [document["_id"] async for document in found]

    async def _reserved(
        self, order_ids: Sequence[str], session: AsyncClientSession
    ) -> dict[str, StoredReservation]:
        found = self._reservations.find({"_id": {"$in": list(order_ids)}}, session=session)
        return {
            document["_id"]: codec.from_document(document, StoredReservation)
            async for document in found
        }

    async def _free(
        self, reservations: Iterable[StoredReservation], session: AsyncClientSession
    ) -> dict[str, int]:
        """Return how many pieces are available of the products whose hold was given up."""
        wanted = {
            line.product_id
            for reservation in reservations
            if reservation.status is ReservationStatus.RELEASED
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
    ) -> None:
        """Write what has changed, and the stock that goes with it."""
        changed = [new for order_id, new in after.items() if new is not before[order_id]]
        if not changed:
            return
        await self._reservations.bulk_write(
            [_update(reservation, now()) for reservation in changed], session=session
        )
        await self._move(
            session,
            ((new, domain.stock_moves(before[new.id].status, new.status)) for new in changed),
        )

    async def _move(
        self,
        session: AsyncClientSession,
        moves: Iterable[tuple[StoredReservation, dict[str, int]]],
    ) -> None:
        """Change the stock of each reservation's products by so much per reserved piece."""
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
        async with self._client.start_session() as session:
            # The driver runs it again on a conflict, and repeats only the commit when its
            # result is unknown.
            return await session.with_transaction(
                work,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority", j=True),
            )
