"""Webhooks to be delivered, stored in the same commit as what they report.

Times are Unix seconds. A row is deleted when its webhook is delivered. After the last attempt, the
row stays, without a due time.
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
    Status.REQUIRES_ACTION: "payment_intent.requires_action",
    Status.SUCCEEDED: "payment_intent.succeeded",
    Status.FAILED: "payment_intent.payment_failed",
    Status.CANCELED: "payment_intent.canceled",
    Status.REQUIRES_CAPTURE: "payment_intent.amount_capturable_updated",
}


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How to send a webhook: how often, after how many seconds, and whether after a newer one.

    A `held` webhook is sent when a newer one has been delivered, or after `delay` if there is none.
    `misstated` minor units are added to the amount that it tells.
    """

    copies: int = 1
    delay: float = 0.0
    held: bool = False
    misstated: int = 0


ONCE = Delivery()
NOT_AT_ALL = Delivery(copies=0)


class Pending(msgspec.Struct, frozen=True):
    id: int
    body: bytes
    created_at: float
    due_at: float
    attempts: int


def announce_verdict(
    db: sqlite3.Connection, intent: Intent, delivery: Delivery, now: float
) -> None:
    """Store the webhook for `intent`'s verdict, or for the question to its customer."""
    body = msgspec.to_builtins(intent) | {"payment_intent": intent.id}
    if intent.amount is not None:
        body["amount"] = intent.amount + delivery.misstated
    announce(db, TYPES[intent.status], body, delivery, now)


def announce(
    db: sqlite3.Connection, event: str, body: dict[str, object], delivery: Delivery, now: float
) -> None:
    """Store a webhook of the type `event`. All copies of it have the same event id."""
    if not delivery.copies:
        return
    told = body | {"id": new_id("evt"), "type": event}
    row = (msgspec.json.encode(told), now, now + delivery.delay, delivery.held)
    db.executemany(
        "INSERT INTO webhooks (body, created_at, due_at, held) VALUES (?, ?, ?, ?)",
        [row] * delivery.copies,
    )


def earliest(db: sqlite3.Connection, limit: int) -> list[Pending]:
    """Return the rows with the earliest due times, whether due yet or not."""
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
    """Count the attempt. Try again at `due_at`; if that is None, never."""
    db.execute(
        "UPDATE webhooks SET attempts = attempts + 1, due_at = ? WHERE id = ?", (due_at, webhook_id)
    )
