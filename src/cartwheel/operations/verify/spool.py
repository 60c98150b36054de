"""The run's notes. They are on disk, because there may be many.

SQLite keeps a database without a name in a temporary file, which it deletes with the connection
(https://www.sqlite.org/inmemorydb.html#temp_db).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any

import msgspec

from cartwheel.operations.verify.records import LedgerLine

_SCHEMA = """
CREATE TABLE ledger (id INTEGER PRIMARY KEY, payment_id TEXT NOT NULL, line BLOB NOT NULL);
CREATE INDEX of_payment ON ledger (payment_id);
CREATE TABLE suspects (kind TEXT, id TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE dead_letters (subject TEXT, service TEXT, PRIMARY KEY (subject, service))
    WITHOUT ROWID;
"""


class Suspect(StrEnum):
    """Kinds of documents in which the first look found a mismatch."""

    ORDER = "order"
    PRODUCT = "product"
    OUTBOX = "outbox"
    CHARGE = "charge"
    OWNER = "owner"


class Spool:
    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def add_lines(self, lines: Iterable[LedgerLine]) -> None:
        rows = [(line.id, line.payment_id, msgspec.msgpack.encode(line)) for line in lines]
        self._db.executemany("INSERT OR IGNORE INTO ledger VALUES (?, ?, ?)", rows)

    def last_line(self) -> int:
        return self._db.execute("SELECT coalesce(max(id), 0) FROM ledger").fetchone()[0]

    def lines_of(self, payment_ids: Sequence[str]) -> list[LedgerLine]:
        marks = ", ".join("?" * len(payment_ids))
        query = f"SELECT line FROM ledger WHERE payment_id IN ({marks}) ORDER BY id"  # noqa: S608 (marks only)
        return [_line(row) for row in self._db.execute(query, payment_ids)]

    def lines(self, size: int) -> Iterator[list[LedgerLine]]:
        last = 0
        query = "SELECT line FROM ledger WHERE id > ? ORDER BY id LIMIT ?"
        while batch := [_line(row) for row in self._db.execute(query, (last, size))]:
            last = batch[-1].id
            yield batch

    def suspect(self, kind: Suspect, ids: Iterable[str]) -> None:
        rows = [(kind, id) for id in ids]
        self._db.executemany("INSERT OR IGNORE INTO suspects VALUES (?, ?)", rows)

    def suspects(self, kind: Suspect, size: int) -> Iterator[list[str]]:
        last = ""
        query = "SELECT id FROM suspects WHERE kind = ? AND id > ? ORDER BY id LIMIT ?"
        while batch := [row[0] for row in self._db.execute(query, (kind, last, size))]:
            last = batch[-1]
            yield batch

    def any_suspects(self) -> bool:
        return self._db.execute("SELECT 1 FROM suspects").fetchone() is not None

    def add_dead_letters(self, about: Iterable[tuple[str, str]]) -> None:
        """Add dead letters: the subject of each event, and the service it was meant for."""
        self._db.executemany("INSERT OR IGNORE INTO dead_letters VALUES (?, ?)", about)

    def dead_lettered_for(self, subjects: Iterable[str]) -> frozenset[str]:
        """Return the services with a dead-lettered event about one of `subjects`."""
        query = "SELECT service FROM dead_letters WHERE subject = ?"
        found = [self._db.execute(query, (subject,)) for subject in subjects]
        return frozenset(row[0] for rows in found for row in rows)


def _line(row: tuple[Any, ...]) -> LedgerLine:
    return msgspec.msgpack.decode(row[0], type=LedgerLine)
