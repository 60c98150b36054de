"""Pages of a list, newest first. Ids begin with the time, so a page's last id is the cursor."""

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

from pymongo.asynchronous.collection import AsyncCollection

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
) -> Page[Item]:
    """Return up to `limit` documents that match `query` after `cursor`, decoded by `read`."""
    if cursor is not None:
        query = {**query, "_id": {"$lt": _decode(cursor)}}
    found = await collection.find(query).sort("_id", -1).limit(limit + 1).to_list()
    more = len(found) > limit
    found = found[:limit]
    return Page(
        data=[read(document) for document in found],
        next_cursor=_encode(found[-1]["_id"]) if more else None,
    )


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
