"""Values to documents and back: `id` is `_id`, times stay times, everything else as in JSON."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from cartwheel.kernel._store.client import Document

Value = TypeVar("Value")


def to_document(value: object) -> Document:
    """Return `value` as a document: its `id` as `_id`, times as they are, the rest as in JSON."""
    document: Document = msgspec.to_builtins(value, builtin_types=(datetime,))
    if "id" in document:
        document = {"_id": document.pop("id"), **document}
    return document


def from_document(document: Document, kind: type[Value]) -> Value:
    """Return `document` as a `kind`; fields that `kind` does not know are ignored."""
    fields: dict[str, Any] = {**document, "id": document.get("_id")}
    return msgspec.convert(fields, kind)
