"""Webhooks not yet delivered, stored in the same commit as the verdict they tell of.

Times are Unix seconds. A row leaves when it is delivered; one given up stays, with no due time.
"""

import sqlite3

import msgspec

from cartwheel.kernel import new_id
from cartwheel.simulator.objects import Intent, Status

SCHEMA = """
CREATE TABLE IF NOT EXISTS webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL,
    created_at REAL NOT NULL,
    due_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS webhooks_due ON webhooks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS webhooks_held ON webhooks (id) WHERE held = 1;
"""

TYPES = {
    Status.SUCCEEDED: "payment_intent.succeeded",
    Status.FAILED: "payment_intent.payment_failed",
    Status.CANCELED: "payment_intent.canceled",
}


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a webhook is sent: how often, after how many seconds, whether behind a younger one.

    A held one goes out when a younger one has been delivered, or after `delay` if none is.
    """

    copies: int = 1
    delay: float = 0.0
    held: bool = False


PROPERLY = Manner()
NEVER = Manner(copies=0)


class Pending(msgspec.Struct, frozen=True):
    id: int
    body: bytes
    created_at: float
    due_at: float
    attempts: int


def announce(db: sqlite3.Connection, intent: Intent, manner: Manner, now: float) -> None:
    """Store the webhook for `intent`'s verdict; copies of it carry the same event id."""
    if not manner.copies:
        return
    event = msgspec.to_builtins(intent) | {
        "id": new_id("evt"),
        "type": TYPES[intent.status],
        "payment_intent": intent.id,
    }
    row = (msgspec.json.encode(event), now, now + manner.delay, manner.held)
    db.executemany(
        "INSERT INTO webhooks (body, created_at, due_at, held) VALUES (?, ?, ?, ?)",
        [row] * manner.copies,
    )


def earliest(db: sqlite3.Connection, limit: int) -> list[Pending]:
    """Return the rows that are due first, due already or not."""
    rows = db.execute(
        "SELECT id, body, created_at, due_at, attempts FROM webhooks"
        " WHERE due_at IS NOT NULL ORDER BY due_at LIMIT ?",
        (limit,),
    )
    return [Pending(*row) for row in rows]


def delivered(db: sqlite3.Connection, webhook_id: int, now: float) -> None:
    db.execute("DELETE FROM webhooks WHERE id = ?", (webhook_id,))
    db.execute(
        "UPDATE webhooks SET due_at = ?, held = 0 WHERE held = 1 AND id < ?", (now, webhook_id)
    )


def failed(db: sqlite3.Connection, webhook_id: int, due_at: float | None) -> None:
    """Count the attempt; try again at `due_at`, or never again."""
    db.execute(
        "UPDATE webhooks SET attempts = attempts + 1, due_at = ? WHERE id = ?", (due_at, webhook_id)
    )
