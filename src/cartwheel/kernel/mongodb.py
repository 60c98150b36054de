"""For adapters that store data: aggregates with their outbox, pages, due items, migrations.

    class MongoOrders(Aggregates[Order]):
        def __init__(self, database: Database, outboxes: Outboxes) -> None:
            super().__init__(
                database["orders"], Order, source="orders", outboxes=outboxes, missing=_missing
            )

A write is acknowledged once a majority has it in the journal. Reads see only such writes.
"""

from cartwheel.kernel._core.outages import is_contention
from cartwheel.kernel._store.aggregates import Aggregates, happened, state
from cartwheel.kernel._store.bulk import write_all
from cartwheel.kernel._store.client import (
    Client,
    Database,
    Document,
    application_name,
    connect,
    database,
    opened,
)
from cartwheel.kernel._store.codec import from_document, to_document
from cartwheel.kernel._store.cursors import BadCursor, made_between, page
from cartwheel.kernel._store.due import AFRESH, DueItems
from cartwheel.kernel._store.group import finds
from cartwheel.kernel._store.migrations import Migration, drop_index
from cartwheel.kernel._store.optimistic import change_stored
from cartwheel.kernel._store.outbox import UNPUBLISHED, Outboxes, index_outbox, to_publish

__all__ = [
    "AFRESH",
    "UNPUBLISHED",
    "Aggregates",
    "BadCursor",
    "Client",
    "Database",
    "Document",
    "DueItems",
    "Migration",
    "Outboxes",
    "application_name",
    "change_stored",
    "connect",
    "database",
    "drop_index",
    "finds",
    "from_document",
    "happened",
    "index_outbox",
    "is_contention",
    "made_between",
    "opened",
    "page",
    "state",
    "to_document",
    "to_publish",
    "write_all",
]
