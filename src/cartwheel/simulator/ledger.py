"""The ledger: one immutable line for everything that happens to money.

The state of a payment, a refund or a dispute is not stored; it is derived from its lines. Each
function runs inside `GroupCommit.do`. The constraints in `schema` guarantee that a payment has one
verdict and that no line is ever lost.
"""

import secrets
import sqlite3
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from cartwheel.kernel import new_id
from cartwheel.simulator import outbox
from cartwheel.simulator.cards import Failure, KnownCard, failure, ready_made
from cartwheel.simulator.errors import BadRequest, Contradiction, Missing
from cartwheel.simulator.objects import (
    Card,
    Decision,
    Dispute,
    Intent,
    Kind,
    NewDispute,
    NewIntent,
    NewRefund,
    PaymentMethod,
    Refund,
    Status,
    Why,
)

_STATUS = {
    Kind.CHARGE: Status.SUCCEEDED,
    Kind.DECLINE: Status.FAILED,
    Kind.CANCELLATION: Status.CANCELED,
    Kind.CAPTURE: Status.SUCCEEDED,
    Kind.VOID: Status.CANCELED,
    Kind.LAPSE: Status.CANCELED,
}
_INTENT = (
    "SELECT intents.id, payment_id, amount, currency, token, brand, last4, decline_code,"
    " capture_method"
    " FROM intents JOIN tokens ON tokens.id = token"
)
_INTENT_BY = {
    "id": _INTENT + " WHERE intents.id = ?",
    "payment_id": _INTENT + " WHERE payment_id = ?",
}
_IS_VERDICT = "kind IN ('charge', 'decline', 'cancellation', 'capture', 'void', 'lapse')"
_VERDICT = f"SELECT kind, code, message, amount FROM entries WHERE payment_id = ? AND {_IS_VERDICT}"  # noqa: S608 (constants)


_AUTHORIZED = "SELECT capture_before FROM entries WHERE payment_id = ? AND kind = 'authorization'"

WEEK = timedelta(days=7)
"""How long an authorization lives, unless the simulator is set otherwise."""


def save_card(db: sqlite3.Connection, card: KnownCard, at: datetime) -> PaymentMethod:
    # Random, unlike other ids, which contain the time: whoever knows this id may charge the card.
    return _save_card(db, f"pm_{secrets.token_hex(16)}", card, at)


def create_intent(
    db: sqlite3.Connection, key: str, new: NewIntent, at: datetime
) -> tuple[Intent, bool]:
    """Create an intent. The flag tells whether this is a replay of the first answer for `key`.

    If the payment id was canceled beforehand, the new intent is canceled from the start.

    Raises:
        Contradiction: `key` was sent with another body, or `payment_id` with another key.
        BadRequest: the payment method is unknown or used up.
    """
    row = db.execute(
        "SELECT intents.id, created_as, brand, last4, payment_id, amount, currency, token,"
        " coalesce(confirm, ?), coalesce(capture_method, 'automatic')"
        " FROM intents JOIN tokens ON tokens.id = token WHERE idempotency_key = ?",
        (new.confirm, key),
    ).fetchone()
    if row:
        if row[4:] != _announced(new):
            raise Contradiction(
                "idempotency_error", "This Idempotency-Key was used with another body."
            )
        return _as_created(row[0], new, Status(row[1]), Card(*row[2:4])), True
    if db.execute("SELECT 1 FROM intents WHERE payment_id = ?", (new.payment_id,)).fetchone():
        raise Contradiction(
            "payment_intent_exists",
            "This payment already has an intent under another Idempotency-Key.",
            "payment_id",
        )
    card = _find_unused(db, new.token, at)
    tombstone = db.execute(_VERDICT, (new.payment_id,)).fetchone()
    status = Status.CANCELED if tombstone else Status.REQUIRES_CONFIRMATION
    intent = _as_created(new_id("pi"), new, status, card)
    db.execute(
        "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (intent.id, at.isoformat(), status, key, *_announced(new)),
    )
    return intent, False


def charge(
    db: sqlite3.Connection,
    key: str,
    new: NewIntent,
    at: datetime,
    webhook: outbox.Delivery,
    authorized_for: timedelta = WEEK,
    *,
    more: int = 0,
) -> tuple[Intent, bool]:
    """Create an intent and confirm it, as `confirm` does. Raises what `create_intent` raises."""
    intent, replayed = create_intent(db, key, new, at)
    return confirm(db, str(intent.id), at, webhook, authorized_for, more=more), replayed


def find_intent(db: sqlite3.Connection, intent_id: str) -> Intent:
    """Raises Missing."""
    return _read(db, "id", intent_id)[0]


def find_payment(db: sqlite3.Connection, payment_id: str) -> Intent:
    """Return a payment's state. The payment may have been canceled before it had an intent.

    Raises:
        Missing: the payment id is unknown.
    """
    try:
        return _read(db, "payment_id", payment_id)[0]
    except Missing:
        if not db.execute(_VERDICT, (payment_id,)).fetchone():
            raise
        return Intent(payment_id=payment_id, status=Status.CANCELED)


def confirm(
    db: sqlite3.Connection,
    intent_id: str,
    at: datetime,
    webhook: outbox.Delivery,
    authorized_for: timedelta = WEEK,
    *,
    more: int = 0,
) -> Intent:
    """Charge an intent, authorize it, or decline it. A repeat returns the first outcome.

    All outcomes use up the payment method. `more` is charged on top of the amount.

    Raises:
        Missing: there is no such intent.
        BadRequest: another intent has used up the payment method since this one was created.
    """
    intent, token, decline_code, manual = _read(db, "id", intent_id)
    if intent.status is not Status.REQUIRES_CONFIRMATION:
        return intent
    _use_up(db, token, intent.payment_id)
    if decline_code:
        kind, change = Kind.DECLINE, {"status": Status.FAILED, "failure": failure(decline_code)}
    elif manual:
        kind = Kind.AUTHORIZATION
        change = {
            "status": Status.REQUIRES_CAPTURE,
            "capture_before": _whole_seconds(at + authorized_for),
        }
    else:
        kind = Kind.CHARGE
        change = {"status": Status.SUCCEEDED, "amount": (intent.amount or 0) + more}
    intent = msgspec.structs.replace(intent, **change)
    write(db, kind, intent, at)
    outbox.announce_verdict(db, intent, webhook, at.timestamp())
    return intent


def _whole_seconds(at: datetime) -> datetime:
    """Return the time as Stripe tells it."""
    return at.replace(microsecond=0)


def cancel(
    db: sqlite3.Connection, payment_id: str, at: datetime, webhook: outbox.Delivery
) -> Intent:
    """Make sure that nothing more happens for `payment_id`; return the outcome. May be repeated.

    An unknown id gets a tombstone: an intent that is created for it later is canceled from the
    start. No webhook is sent for that, because there is no intent.
    """
    try:
        intent = find_payment(db, payment_id)
    except Missing:
        tombstone = Intent(payment_id=payment_id, status=Status.CANCELED)
        write(db, Kind.CANCELLATION, tombstone, at)
        return tombstone
    if intent.status in (Status.REQUIRES_CONFIRMATION, Status.REQUIRES_CAPTURE):
        authorized = intent.status is Status.REQUIRES_CAPTURE
        intent = msgspec.structs.replace(intent, status=Status.CANCELED, capture_before=None)
        write(db, Kind.VOID if authorized else Kind.CANCELLATION, intent, at)
        outbox.announce_verdict(db, intent, webhook, at.timestamp())
    return intent


def refund(db: sqlite3.Connection, new: NewRefund, at: datetime, fails: Why | None) -> Refund:
    """Refund money, or refuse to if it `fails`. `refund_id` is the idempotency key.

    Raises:
        Contradiction: `refund_id` was sent with another body, nothing was captured, or the amount
            is more than what is left of the capture.
    """
    known = _find_refund(db, new.refund_id)
    if known:
        if (known.payment_id, known.amount) != (new.payment_id, new.amount):
            raise Contradiction("idempotency_error", "This refund id was used with another body.")
        return known
    captured, currency = _captured(db, new.payment_id)
    (returned,) = db.execute(
        "SELECT coalesce(sum(amount), 0) FROM entries AS made WHERE payment_id = ?"
        " AND kind = 'refund' AND NOT EXISTS (SELECT 1 FROM entries WHERE about = made.refund_id)",
        (new.payment_id,),
    ).fetchone()
    if returned + new.amount > captured:
        raise Contradiction(
            "amount_too_large", "The refund is more than what is left of the capture.", "amount"
        )
    made = Refund(
        id=new.refund_id,
        payment_id=new.payment_id,
        amount=new.amount,
        currency=currency,
        status="succeeded",
    )
    if fails:
        return _fail(db, made, fails, at)
    db.execute(
        "INSERT INTO entries (at, kind, payment_id, amount, currency, refund_id)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (at.isoformat(), Kind.REFUND, new.payment_id, new.amount, currency, new.refund_id),
    )
    return made


def fail_refund(
    db: sqlite3.Connection, refund_id: str, why: Why, at: datetime, webhook: outbox.Delivery
) -> Refund:
    """Let a refund that was made fail: the money comes back. May be repeated.

    Raises:
        Missing: there is no such refund.
    """
    made = _find_refund(db, refund_id)
    if made is None:
        raise Missing("refund")
    if made.status == "failed":
        return made
    failed = _fail(db, made, why, at)
    body = msgspec.to_builtins(failed) | {"refund_id": refund_id}
    outbox.announce(db, "refund.failed", body, webhook, at.timestamp())
    return failed


def open_dispute(
    db: sqlite3.Connection, new: NewDispute, at: datetime, webhook: outbox.Delivery
) -> Dispute:
    """Open a dispute. It may be about more than is left: refunds are not looked at.

    Raises:
        Contradiction: nothing was captured, or less than the amount.
    """
    captured, currency = _captured(db, new.payment_id)
    amount = new.amount or captured
    if amount > captured:
        raise Contradiction("amount_too_large", "Less than that was captured.", "amount")
    dispute = Dispute(
        id=new_id("dp"),
        payment_id=new.payment_id,
        amount=amount,
        currency=currency,
        reason=new.reason,
    )
    _note_dispute(db, Kind.DISPUTE_OPENED, "charge.dispute.created", dispute, at, webhook)
    return dispute


def close_dispute(
    db: sqlite3.Connection,
    dispute_id: str,
    decision: Decision,
    at: datetime,
    webhook: outbox.Delivery,
) -> Dispute:
    """Decide a dispute. A repeat returns the first decision.

    Raises:
        Missing: there is no such dispute.
    """
    dispute = find_dispute(db, dispute_id)
    if dispute.status != "needs_response":
        return dispute
    decided = msgspec.structs.replace(dispute, status=decision.status)
    kind = Kind.DISPUTE_WON if decided.status == "won" else Kind.DISPUTE_LOST
    _note_dispute(db, kind, "charge.dispute.closed", decided, at, webhook)
    return decided


def find_dispute(db: sqlite3.Connection, dispute_id: str) -> Dispute:
    """Raises Missing."""
    rows = db.execute(
        "SELECT kind, payment_id, amount, currency, code FROM entries WHERE about = ? ORDER BY id",
        (dispute_id,),
    ).fetchall()
    if not rows or rows[0][0] != Kind.DISPUTE_OPENED:
        raise Missing("dispute")
    _, payment_id, amount, currency, reason = rows[0]
    opened = Dispute(
        id=dispute_id, payment_id=payment_id, amount=amount, currency=currency, reason=reason
    )
    if len(rows) == 1:
        return opened
    won = rows[1][0] == Kind.DISPUTE_WON
    return msgspec.structs.replace(opened, status="won" if won else "lost")


def _save_card(db: sqlite3.Connection, token: str, card: KnownCard, at: datetime) -> PaymentMethod:
    db.execute(
        "INSERT INTO tokens (id, created_at, brand, last4, decline_code) VALUES (?, ?, ?, ?, ?)",
        (token, at.isoformat(), card.brand, card.last4, card.decline_code),
    )
    return PaymentMethod(id=token, card=Card(card.brand, card.last4))


def _find_unused(db: sqlite3.Connection, token: str, at: datetime) -> Card:
    """Return the card of an unused payment method.

    Raises:
        BadRequest: the payment method is unknown or used up.
    """
    row = db.execute("SELECT brand, last4, used_by FROM tokens WHERE id = ?", (token,)).fetchone()
    if row:
        if row[2]:
            raise _used_up()
        return Card(*row[:2])
    card = ready_made(token)
    if card is None:
        raise BadRequest("resource_missing", "No such payment method.", "token")
    return _save_card(db, token, card, at).card


def _use_up(db: sqlite3.Connection, token: str, payment_id: str) -> None:
    if ready_made(token):
        return
    used = "UPDATE tokens SET used_by = ? WHERE id = ? AND used_by IS NULL"
    if not db.execute(used, (payment_id, token)).rowcount:
        raise _used_up()


def _used_up() -> BadRequest:
    return BadRequest(
        "payment_method_unexpected_state",
        "The payment method was used before. Make a new one.",
        "token",
    )


def _as_created(intent_id: str, new: NewIntent, status: Status, card: Card) -> Intent:
    return Intent(
        id=intent_id,
        payment_id=new.payment_id,
        status=status,
        amount=new.amount,
        currency=new.currency,
        card=card,
    )


def _announced(new: NewIntent) -> tuple[str, int, str, str, bool, str]:
    return (
        new.payment_id,
        new.amount,
        new.currency,
        new.token,
        new.confirm,
        new.capture_method,
    )


def _captured(db: sqlite3.Connection, payment_id: str) -> tuple[int, str]:
    row = db.execute(
        f"SELECT amount, currency FROM entries WHERE payment_id = ? AND {_IS_VERDICT}"  # noqa: S608 (constants)
        " AND kind IN ('charge', 'capture')",
        (payment_id,),
    ).fetchone()
    if not row:
        raise Contradiction("payment_not_captured", "Nothing was captured.", "payment_id")
    return row[0], row[1]


def _find_refund(db: sqlite3.Connection, refund_id: str) -> Refund | None:
    rows = db.execute(
        "SELECT kind, payment_id, amount, currency, code, message FROM entries"
        " WHERE refund_id = ? UNION ALL"
        " SELECT kind, payment_id, amount, currency, code, message FROM entries"
        " WHERE about = ? AND kind = 'refund_failed'",
        (refund_id, refund_id),
    ).fetchall()
    if not rows:
        return None
    kind, payment_id, amount, currency, code, message = rows[-1]
    failed = kind == Kind.REFUND_FAILED
    return Refund(
        id=refund_id,
        payment_id=payment_id,
        amount=amount,
        currency=currency,
        status="failed" if failed else "succeeded",
        failure=Failure(code, message) if failed else None,
    )


def _fail(db: sqlite3.Connection, made: Refund, why: Why, at: datetime) -> Refund:
    db.execute(
        "INSERT INTO entries (at, kind, payment_id, amount, currency, code, message, about)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            at.isoformat(),
            Kind.REFUND_FAILED,
            made.payment_id,
            made.amount,
            made.currency,
            why.code,
            why.message,
            made.id,
        ),
    )
    failure = Failure(why.code, why.message)
    return msgspec.structs.replace(made, status="failed", failure=failure)


def _note_dispute(
    db: sqlite3.Connection,
    kind: Kind,
    event: str,
    dispute: Dispute,
    at: datetime,
    webhook: outbox.Delivery,
) -> None:
    db.execute(
        "INSERT INTO entries (at, kind, payment_id, amount, currency, code, about)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            at.isoformat(),
            kind,
            dispute.payment_id,
            dispute.amount,
            dispute.currency,
            dispute.reason,
            dispute.id,
        ),
    )
    body = msgspec.to_builtins(dispute) | {"dispute_id": dispute.id}
    outbox.announce(db, event, body, webhook, at.timestamp())


def _read(
    db: sqlite3.Connection, column: Literal["id", "payment_id"], value: str
) -> tuple[Intent, str, str | None, bool]:
    """Return the intent's current state, its payment method, how its card's charges end, and
    whether it is only to be authorized."""
    row = db.execute(_INTENT_BY[column], (value,)).fetchone()
    if not row:
        raise Missing("payment intent")
    manual = row[8] == "manual"
    verdict = db.execute(_VERDICT, (row[1],)).fetchone()
    authorized = db.execute(_AUTHORIZED, (row[1],)).fetchone() if manual and not verdict else None
    intent = Intent(
        id=row[0],
        payment_id=row[1],
        status=_STATUS[Kind(verdict[0])] if verdict else Status.REQUIRES_CONFIRMATION,
        amount=verdict[3] if verdict and verdict[0] == Kind.CHARGE else row[2],
        currency=row[3],
        card=Card(*row[5:7]),
        failure=Failure(*verdict[1:3]) if verdict and verdict[1] else None,
        amount_received=verdict[3] if verdict and verdict[0] == Kind.CAPTURE else None,
    )
    if authorized:
        before = datetime.fromisoformat(authorized[0])
        intent = msgspec.structs.replace(
            intent, status=Status.REQUIRES_CAPTURE, capture_before=before
        )
    return intent, row[4], row[7], manual


def write(db: sqlite3.Connection, kind: Kind, intent: Intent, at: datetime) -> None:
    """Add the line that makes `intent` what it is."""
    why = intent.failure
    db.execute(
        "INSERT INTO entries"
        " (at, kind, payment_id, amount, currency, code, message, capture_before)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            at.isoformat(),
            kind,
            intent.payment_id,
            intent.amount_received or intent.amount,
            intent.currency,
            why.code if why else None,
            why.message if why else None,
            intent.capture_before.isoformat() if intent.capture_before else None,
        ),
    )
