"""Adjustments in MongoDB: their history, the account of a product's stock, and its repair."""

from collections.abc import Callable

from pymongo.asynchronous.client_session import AsyncClientSession

from cartwheel.contracts.products import (
    AdjustmentNotFound,
    AdjustmentSum,
    ListAdjustments,
    ProductNotFound,
    Stock,
    StockAccount,
    StockAdjustmentView,
)
from cartwheel.kernel import Page
from cartwheel.kernel.errors import Contention
from cartwheel.kernel.mongodb import (
    Client,
    Database,
    Document,
    Outboxes,
    from_document,
    happened,
    page,
    state,
)
from cartwheel.products.domain.adjustments import Adjustment, Repair
from cartwheel.products.domain.stock import ReservationStatus
from cartwheel.products.mongo.transactions import in_transaction

_ACCOUNT = dict.fromkeys(("sku", "name", "initial_stock", "stock", "repairs"), 1)

REPAIR_RUNS = 5
"""How many times a repair is tried while others repair the same product."""


def new_adjustment(adjustment: Adjustment) -> Document:
    """Return the document of a new adjustment, with its events."""
    return {
        "_id": adjustment.id,
        **state(adjustment),
        **happened(adjustment, source="products", change=adjustment.change),
    }


class MongoAdjustments:
    def __init__(self, client: Client, database: Database, outboxes: Outboxes) -> None:
        self._client = client
        self._outboxes = outboxes
        self._products = database["products"]
        self._reservations = database["reservations"]
        self._adjustments = database["adjustments"]

    async def get(self, product_id: str, adjustment_id: str) -> StockAdjustmentView:
        found = await self._adjustments.find_one({"_id": adjustment_id, "product_id": product_id})
        if found is None:
            raise AdjustmentNotFound("There is no such stock adjustment.")
        return from_document(found, StockAdjustmentView)

    async def page(self, request: ListAdjustments) -> Page[StockAdjustmentView]:
        if await self._products.find_one({"_id": request.product_id}, {"_id": 1}) is None:
            raise _not_found()
        return await page(
            self._adjustments,
            {"product_id": request.product_id},
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: from_document(document, StockAdjustmentView),
        )

    async def product_with(self, sku: str) -> str:
        found = await self._products.find_one({"sku": sku}, {"_id": 1})
        if found is None:
            raise _not_found()
        return found["_id"]

    async def account(self, product_id: str) -> StockAccount:
        account, _ = await self._account(product_id)
        return account

    async def repair(
        self, product_id: str, decide: Callable[[StockAccount], Repair | None]
    ) -> tuple[StockAccount, Adjustment | None]:
        for _ in range(REPAIR_RUNS):
            account, repairs = await self._account(product_id)
            repair = decide(account)
            if repair is None:
                return account, None
            if await self._stored(product_id, repair, repairs):
                self._outboxes.filled("adjustments", [repair.correction.id])
                return account, repair.correction
        raise Contention("other repairs of the same product kept conflicting")

    async def _stored(self, product_id: str, repair: Repair, repairs: int | None) -> bool:
        """Store `repair`. Return False if the product was repaired after `repair` was decided.

        Orders may have moved pieces since then. Each moves the stock and its reservation alike, so
        the differences between them are still the same.
        """

        async def store(session: AsyncClientSession) -> bool:
            moves = {f"stock.{where}": pieces for where, pieces in repair.moves.items()}
            written = await self._products.update_one(
                {"_id": product_id, "repairs": repairs},
                {"$inc": {**moves, "repairs": 1}},
                session=session,
            )
            if written.matched_count == 0:
                return False
            await self._adjustments.insert_one(new_adjustment(repair.correction), session=session)
            return True

        return await in_transaction(self._client, store)

    async def _account(self, product_id: str) -> tuple[StockAccount, int | None]:
        """Return the account as of one moment, and the number of repairs; None means none."""

        async def read(session: AsyncClientSession) -> tuple[StockAccount, int | None]:
            product = await self._products.find_one({"_id": product_id}, _ACCOUNT, session=session)
            if product is None:
                raise _not_found()
            stock = from_document(product["stock"], Stock)
            summing = await self._reservations.aggregate(_pieces(product_id), session=session)
            [held, sold, unshipped] = (0, 0, 0)
            async for each in summing:
                held, sold, unshipped = each["held"], each["sold"], each["unshipped"]
            adding = await self._adjustments.aggregate(_adjusted(product_id), session=session)
            account = StockAccount(
                product_id=product_id,
                sku=product["sku"],
                name=product["name"],
                initial=product["initial_stock"],
                adjustments=[
                    AdjustmentSum(kind=each["_id"], count=each["count"], pieces=each["pieces"])
                    async for each in adding
                ],
                stock=stock,
                by_reservations=Stock(
                    available=stock.available, reserved=held, sold=sold, unshipped=unshipped
                ),
            )
            return account, product.get("repairs")

        return await in_transaction(self._client, read)


def _pieces(product_id: str) -> list[Document]:
    """Return the aggregation of the product's pieces over its reservations."""

    def sum_where(pieces: object, *conditions: Document) -> Document:
        return {"$sum": {"$cond": [{"$and": [*conditions]}, pieces, 0]}}

    def less(*gone: str) -> Document:
        numbers = ({"$ifNull": [f"$lines.{name}", 0]} for name in gone)
        return {"$subtract": ["$lines.quantity", {"$add": [*numbers]}]}

    def status(name: ReservationStatus) -> Document:
        return {"$eq": ["$status", name.value]}

    sold = status(ReservationStatus.COMMITTED)
    return [
        {"$match": {"lines.product_id": product_id}},
        {"$unwind": "$lines"},
        {"$match": {"lines.product_id": product_id}},
        {
            "$group": {
                "_id": None,
                "held": sum_where(less("called_off"), status(ReservationStatus.HELD)),
                "sold": sum_where(less("called_off", "restocked"), sold),
                "unshipped": sum_where(
                    less("called_off", "shipped"), sold, {"$eq": ["$unshipped", True]}
                ),
            }
        },
    ]


def _adjusted(product_id: str) -> list[Document]:
    """Return the aggregation of the product's adjustments by kind."""
    return [
        {"$match": {"product_id": product_id}},
        {"$group": {"_id": "$kind", "count": {"$sum": 1}, "pieces": {"$sum": "$delta"}}},
        {"$sort": {"_id": 1}},
    ]


def _not_found() -> ProductNotFound:
    return ProductNotFound("There is no such product.")
