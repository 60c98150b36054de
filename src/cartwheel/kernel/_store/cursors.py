"""Pages of a list, newest first. Ids begin with the time, so a page's last id is the cursor."""

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel._core.ids import earliest_id
from cartwheel.kernel._core.messages import Page
from cartwheel.kernel._store.client import Document
from cartwheel.kernel.errors import BadCursor, FieldError

Item = TypeVar("Item")


async def page(
    collection: AsyncCollection[Document],
    query: Document,
    *,
    limit: int,
    cursor: str | None,
    read: Callable[[Document], Item],
    index: str | None = None,
) -> Page[Item]:
    """Return up to `limit` documents that match `query` after `cursor`, decoded by `read`.

    `index` names the index to read, where MongoDB might find another one cheaper for some values.
    The only conditions on `_id` that `query` may have are those of `made_between`.
    """
    if cursor is not None:
        ids: Document = query.get("_id", {})
        last = _decode(cursor)
        query = {**query, "_id": {**ids, "$lt": min(last, ids.get("$lt", last))}}
    found = await collection.find(query, hint=index).sort("_id", -1).limit(limit + 1).to_list()
    more = len(found) > limit
    found = found[:limit]
    return Page(
        data=[read(document) for document in found],
        next_cursor=_encode(found[-1]["_id"]) if more else None,
    )


def made_between(prefix: str, after: datetime | None, before: datetime | None) -> Document:
    """Return what finds the documents whose ids were made from `after` on, until before `before`.

    `prefix` is that of the ids. None is no limit.
    """
    limits = {"$gte": after, "$lt": before}
    ids = {
        operator: earliest_id(prefix, moment.timestamp())
        for operator, moment in limits.items()
        if moment is not None
    }
    return {"_id": ids} if ids else {}


def _encode(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        detail = "`cursor` must be the `next_cursor` of an earlier page."
        raise BadCursor(detail, errors=[FieldError("cursor", detail)]) from None
