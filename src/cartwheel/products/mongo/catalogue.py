"""The catalogue in MongoDB: collection `products`, each with its stock."""

from collections.abc import Sequence
from typing import Any

from pymongo import InsertOne, UpdateOne
from pymongo.errors import WriteError

from cartwheel.contracts.products import NameTaken, ProductView, SkuTaken
from cartwheel.kernel.errors import FieldError, OutcomeUnknown
from cartwheel.kernel.messages import Page
from cartwheel.kernel.store import bulk, codec
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.aggregates import happened, state
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.outbox import Outboxes
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.mongo.schema import ACTIVE


class MongoCatalogue:
    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        self._products = database["products"]
        self._outboxes = outboxes

    async def add(self, product: Product) -> Product | None:
        document: Document = {"_id": product.id, **state(product), **_happened(product)}
        written = await bulk.write(self._products, [InsertOne(document)])
        if fault := written.faults.get(0):
            earlier = await self._products.find_one({"request_id": product.request_id})
            if earlier is not None:
                return codec.from_document(earlier, Product)
            raise _taken(fault)
        self._outboxes.stored("products", product.id, document["outbox"])
        return None

    async def get(self, product_ids: Sequence[str]) -> dict[str, Product]:
        found = self._products.find({"_id": {"$in": list(set(product_ids))}})
        return {document["_id"]: codec.from_document(document, Product) async for document in found}

    async def save(self, product: Product, *, expected: Product) -> bool:
        changes = state(product)
        # Sales change the stock meanwhile, and are none of the catalogue's versions.
        del changes["stock"]
        new = _happened(product)
        update = UpdateOne(
            {"_id": product.id, "version": expected.version},
            {
                "$set": {**changes, "sequence": new["sequence"]},
                "$push": {"outbox": {"$each": new["outbox"]}},
            },
        )
        written = await bulk.write(self._products, [update])
        if fault := written.faults.get(0):
            raise _taken(fault)
        if written.matched == 0:
            return False
        self._outboxes.stored("products", product.id, new["outbox"])
        return True

    async def list_active(self, *, limit: int, cursor: str | None) -> Page[ProductView]:
        return await cursors.page(
            self._products,
            ACTIVE,
            limit=limit,
            cursor=cursor,
            read=lambda document: codec.from_document(document, ProductView),
        )


def _happened(product: Product) -> Document:
    return happened(product, source="products", at=product.updated_at)


def _taken(fault: WriteError) -> Exception:
    """Return what `fault` means to whoever named the product."""
    key: dict[str, Any] = (fault.details or {}).get("keyPattern", {})
    if "sku" in key:
        return SkuTaken("another product has this sku", errors=[FieldError("sku", "taken")])
    if "name" in key:
        return NameTaken("another product has this name", errors=[FieldError("name", "taken")])
    if "request_id" in key:
        return OutcomeUnknown("this request's product is stored, and not to be seen yet")
    return fault
