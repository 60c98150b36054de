"""The ledger's tables.

A unique index allows each payment one verdict (charged, declined, canceled, or an authorization
that was captured, voided or lapsed), so no bug in the code can charge or capture twice. Another
allows it one authorization. Two triggers prevent changing and deleting lines.
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
# NULL in older intents, for which it is not known how their key was first used.
_CONFIRM = "ALTER TABLE intents ADD COLUMN confirm INTEGER;"

# The payment that has used up the payment method. Ready-made methods are never used up.
_USED_BY = "ALTER TABLE tokens ADD COLUMN used_by TEXT;"

# The refund that failed, or the dispute. A refund fails once, and a dispute is opened and decided
# once. Only charges, declines and cancellations are verdicts.
_ABOUT = """
ALTER TABLE entries ADD COLUMN about TEXT;
DROP INDEX one_verdict;
CREATE UNIQUE INDEX one_verdict ON entries (payment_id)
    WHERE kind IN ('charge', 'decline', 'cancellation');
CREATE UNIQUE INDEX once ON entries (about, CASE kind WHEN 'dispute_opened' THEN 0 ELSE 1 END)
    WHERE about IS NOT NULL;
CREATE INDEX of_payment ON entries (payment_id) WHERE about IS NOT NULL;
"""

# An authorization is no verdict. What ends it is, so it is captured, voided or lapsed once.
_AUTHORIZATIONS = """
ALTER TABLE intents ADD COLUMN capture_method TEXT;
ALTER TABLE entries ADD COLUMN capture_before TEXT;
DROP INDEX one_verdict;
CREATE UNIQUE INDEX one_verdict ON entries (payment_id)
    WHERE kind IN ('charge', 'decline', 'cancellation', 'capture', 'void', 'lapse');
CREATE UNIQUE INDEX one_authorization ON entries (payment_id) WHERE kind = 'authorization';
"""

# All lines of a payment. It does what two partial indexes did.
_BY_PAYMENT = """
CREATE INDEX by_payment ON entries (payment_id);
DROP INDEX refunds;
DROP INDEX of_payment;
"""

# Times are Unix seconds.
_SESSIONS = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    success_url TEXT NOT NULL,
    cancel_url TEXT NOT NULL,
    payment_method TEXT
) WITHOUT ROWID;
CREATE INDEX sessions_created ON sessions (created_at);
"""

# Intents whose customer has to act. Whoever knows the secret may answer.
_CHALLENGES = """
ALTER TABLE tokens ADD COLUMN challenged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE intents ADD COLUMN return_url TEXT;
CREATE TABLE challenges (
    payment_id TEXT PRIMARY KEY,
    secret TEXT NOT NULL UNIQUE,
    url TEXT NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS = (
    _TABLES,
    _CONFIRM,
    _USED_BY,
    _ABOUT,
    _AUTHORIZATIONS,
    _BY_PAYMENT,
    _SESSIONS,
    _CHALLENGES,
)
"""Only append to this list: a ledger file outlives the code that created it."""
