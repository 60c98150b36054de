"""The catalogue in MongoDB: collection `products`. Each product's document has its stock."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVarTuple

from pymongo import InsertOne, UpdateOne
from pymongo.errors import WriteError

from cartwheel.contracts.products import (
    NameTaken,
    ProductNotFound,
    ProductStatus,
    ProductView,
    SkuTaken,
)
from cartwheel.kernel import Change, Page
from cartwheel.kernel.errors import FieldError, OutcomeUnknown
from cartwheel.kernel.mongodb import (
    Database,
    Document,
    Outboxes,
    change_stored,
    from_document,
    happened,
    page,
    state,
    write_all,
)
from cartwheel.products.domain.catalogue import Product

Facts = TypeVarTuple("Facts")


class MongoCatalogue:
    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        self._products = database["products"]
        self._outboxes = outboxes

    async def add(self, product: Product) -> Product | None:
        document: Document = {"_id": product.id, **state(product), **_happened(product)}
        written = await write_all(self._products, [InsertOne(document)])
        if fault := written.faults.get(0):
            earlier = await self._products.find_one({"request_id": product.request_id})
            if earlier is not None:
                return from_document(earlier, Product)
            raise _taken(fault)
        self._outboxes.stored("products", product.id, document["outbox"])
        return None

    async def get_many(self, product_ids: Sequence[str]) -> dict[str, Product]:
        found = self._products.find({"_id": {"$in": list(set(product_ids))}})
        return {document["_id"]: from_document(document, Product) async for document in found}

    async def change(
        self,
        product_id: str,
        decide: Callable[[Product, *Facts, Change], Product],
        *facts: *Facts,
        by: Change,
    ) -> Product:
        return await change_stored(
            lambda: self._get(product_id), lambda product: decide(product, *facts, by), self.save
        )

    async def _get(self, product_id: str) -> Product:
        found = await self.get_many([product_id])
        if product_id not in found:
            raise ProductNotFound("There is no such product.")
        return found[product_id]

    async def save(self, product: Product, /, *, expected: Product) -> bool:
        changes = state(product)
        # Sales change the stock at any time, without a new version of the product.
        del changes["stock"]
        new = _happened(product)
        update = UpdateOne(
            {"_id": product.id, "version": expected.version},
            {
                "$set": {**changes, "sequence": new["sequence"]},
                "$push": {"outbox": {"$each": new["outbox"]}},
            },
        )
        written = await write_all(self._products, [update])
        if fault := written.faults.get(0):
            raise _taken(fault)
        if written.matched == 0:
            return False
        self._outboxes.stored("products", product.id, new["outbox"])
        return True

    async def listing(
        self, status: ProductStatus, *, limit: int, cursor: str | None
    ) -> Page[ProductView]:
        return await page(
            self._products,
            {"status": status},
            limit=limit,
            cursor=cursor,
            read=lambda document: from_document(document, ProductView),
        )


def _happened(product: Product) -> Document:
    return happened(product, source="products", change=product.change)


_SKU_TAKEN = "Another product already has this `sku`. Choose a different one."
_NAME_TAKEN = "Another product already has this `name`. Choose a different one."


def _taken(fault: WriteError) -> Exception:
    """Return the refusal that `fault` means to the client."""
    key: dict[str, Any] = (fault.details or {}).get("keyPattern", {})
    if "sku" in key:
        return SkuTaken(_SKU_TAKEN, errors=[FieldError("sku", _SKU_TAKEN)])
    if "name" in key:
        return NameTaken(_NAME_TAKEN, errors=[FieldError("name", _NAME_TAKEN)])
    if "request_id" in key:
        return OutcomeUnknown("this request's product is stored, and not to be seen yet")
    return fault
