"""The ledger's tables.

That a payment has at most one verdict (charged, declined or canceled) is a unique index, so no
mistake in the code above it can charge twice; that nothing is forgotten are two triggers.
"""

from cartwheel.simulator import outbox

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    brand TEXT NOT NULL,
    last4 TEXT NOT NULL,
    decline_code TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (
    id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    created_as TEXT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    payment_id TEXT NOT NULL UNIQUE,
    amount INTEGER NOT NULL,
    currency TEXT NOT NULL,
    token TEXT NOT NULL REFERENCES tokens
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    amount INTEGER,
    currency TEXT,
    refund_id TEXT UNIQUE,
    code TEXT,
    message TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS one_verdict ON entries (payment_id) WHERE kind <> 'refund';
CREATE INDEX IF NOT EXISTS refunds ON entries (payment_id) WHERE kind = 'refund';
CREATE TRIGGER IF NOT EXISTS entries_never_change BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
CREATE TRIGGER IF NOT EXISTS entries_never_go BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger only grows'); END;
"""
    + outbox.SCHEMA
)
# NULL in intents that are older: nobody knows any more how their key was first used.
_CONFIRM = "ALTER TABLE intents ADD COLUMN confirm INTEGER;"

# The payment that has used up a payment method; ready-made ones are never used up.
_USED_BY = "ALTER TABLE tokens ADD COLUMN used_by TEXT;"

MIGRATIONS = (_TABLES, _CONFIRM, _USED_BY)
"""Only ever appended to: a ledger file outlives the code that made it."""
