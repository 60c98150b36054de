"""The catalogue in MongoDB: collection `products`, each with its stock."""

from collections.abc import Sequence
from typing import Any

from pymongo.errors import DuplicateKeyError

from cartwheel.contracts.products import NameTaken, ProductView, SkuTaken
from cartwheel.kernel.errors import FieldError, Refusal
from cartwheel.kernel.messages import Page
from cartwheel.kernel.store import codec, outbox
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.client import Database, Document
from cartwheel.products.domain.catalogue import Product
from cartwheel.products.mongo.schema import ACTIVE


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
            ACTIVE,
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


def _taken(error: DuplicateKeyError) -> Refusal:
    key: dict[str, Any] = (error.details or {}).get("keyPattern", {})
    if "sku" in key:
        return SkuTaken("another product has this sku", errors=[FieldError("sku", "taken")])
    if "name" in key:
        return NameTaken("another product has this name", errors=[FieldError("name", "taken")])
    raise error
