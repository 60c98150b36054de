"""Reading the ledger's lines: in their order, of a span of time, or of one payment."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

from cartwheel.simulator.cards import Failure
from cartwheel.simulator.objects import Entry, Kind

_LINE = (
    "SELECT id, at, kind, payment_id, amount, currency, refund_id, code, message, about"
    " FROM entries"
)


def entries(
    db: sqlite3.Connection,
    after: int,
    limit: int,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Entry]:
    """Return the lines after the one with the id `after`, from `since` on, until before `until`."""
    if since is not None:
        # Lines are written in the order of their times, but for those of the same moment.
        first = db.execute("SELECT min(id) FROM entries WHERE at >= ?", (_text(since),))
        after = max(after, (first.fetchone()[0] or 2**62) - 1)
    end = _text(until) if until is not None else "~"  # behind all times
    rows = db.execute(f"{_LINE} WHERE id > ? AND at < ? ORDER BY id LIMIT ?", (after, end, limit))
    return [_entry(row) for row in rows]


def entries_of(db: sqlite3.Connection, payment_id: str) -> list[Entry]:
    """Return the lines of a payment."""
    rows = db.execute(f"{_LINE} WHERE payment_id = ? ORDER BY id", (payment_id,))
    return [_entry(row) for row in rows]


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(
        id=row[0],
        at=datetime.fromisoformat(row[1]),
        kind=Kind(row[2]),
        payment_id=row[3],
        amount=row[4],
        currency=row[5],
        refund_id=row[9] if row[2] == Kind.REFUND_FAILED else row[6],
        dispute_id=row[9] if row[2].startswith("dispute_") else None,
        failure=Failure(row[7], row[8]) if row[8] else None,
    )
