"""Converts values to documents and back: `id` becomes `_id`, times stay times."""

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from cartwheel.kernel._store.client import Document

Value = TypeVar("Value")


def to_document(value: object) -> Document:
    """Return `value` as a document."""
    document: Document = msgspec.to_builtins(value, builtin_types=(datetime,))
    if "id" in document:
        document = {"_id": document.pop("id"), **document}
    return document


def from_document(document: Document, kind: type[Value]) -> Value:
    """Return `document` as a `kind`. Unknown fields are ignored."""
    fields: dict[str, Any] = {**document, "id": document.get("_id")}
    return msgspec.convert(fields, kind)
