"""The ledger: one immutable line for everything that happens to money.

The state of a payment or a refund is not stored; it is derived from its lines. Each function runs
inside `GroupCommit.do`. The constraints in `schema` guarantee that a payment has one verdict and
that no line is ever lost.
"""

import secrets
import sqlite3
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from cartwheel.kernel import new_id
from cartwheel.simulator import challenges, outbox, payment_methods
from cartwheel.simulator.cards import Failure, KnownCard, failure
from cartwheel.simulator.errors import Contradiction, Missing
from cartwheel.simulator.objects import (
    Card,
    Intent,
    Kind,
    NewIntent,
    NewRefund,
    PaymentMethod,
    Refund,
    Status,
    Why,
)
from cartwheel.simulator.payment_methods import WALLET

_STATUS = {
    Kind.CHARGE: Status.SUCCEEDED,
    Kind.DECLINE: Status.FAILED,
    Kind.CANCELLATION: Status.CANCELED,
    Kind.CAPTURE: Status.SUCCEEDED,
    Kind.VOID: Status.CANCELED,
    Kind.LAPSE: Status.CANCELED,
}
_WITHOUT_VERDICT = (
    Status.REQUIRES_CONFIRMATION,
    Status.REQUIRES_ACTION,
    Status.REQUIRES_CAPTURE,
)
_INTENT = (
    "SELECT intents.id, payment_id, amount, currency, token, brand, last4, decline_code,"
    " capture_method, challenged, return_url"
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


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """What an intent charges: how that ends, and whether its customer is asked first.

    If it is `manual`, the amount is only authorized.
    """

    token: str
    decline_code: str | None
    manual: bool
    challenged: bool
    return_url: str | None


def save_card(db: sqlite3.Connection, card: KnownCard, at: datetime) -> PaymentMethod:
    # Random, unlike other ids, which contain the time: whoever knows this id may charge the card.
    return payment_methods.save(db, f"pm_{secrets.token_hex(16)}", card, at)


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
        " coalesce(confirm, ?), coalesce(capture_method, 'automatic'), return_url"
        " FROM intents JOIN tokens ON tokens.id = token WHERE idempotency_key = ?",
        (new.confirm, key),
    ).fetchone()
    if row:
        if row[4:] != _announced(new):
            raise Contradiction(
                "idempotency_error", "This Idempotency-Key was used with another body."
            )
        card = None if new.token is None else Card(*row[2:4])
        return _as_created(row[0], new, Status(row[1]), card), True
    if db.execute("SELECT 1 FROM intents WHERE payment_id = ?", (new.payment_id,)).fetchone():
        raise Contradiction(
            "payment_intent_exists",
            "This payment already has an intent under another Idempotency-Key.",
            "payment_id",
        )
    card = payment_methods.find(db, new.token, at)
    tombstone = db.execute(_VERDICT, (new.payment_id,)).fetchone()
    status = Status.CANCELED if tombstone else Status.REQUIRES_CONFIRMATION
    intent = _as_created(new_id("pi"), new, status, card)
    db.execute(
        "INSERT INTO intents (id, created_at, created_as, idempotency_key, payment_id, amount,"
        " currency, token, confirm, capture_method, return_url)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    pages: str,
    more: int = 0,
) -> tuple[Intent, bool]:
    """Create an intent and confirm it, as `confirm` does. Raises what `create_intent` raises."""
    intent, replayed = create_intent(db, key, new, at)
    outcome = confirm(db, str(intent.id), at, webhook, authorized_for, pages=pages, more=more)
    return outcome, replayed


def find_intent(db: sqlite3.Connection, intent_id: str) -> Intent:
    """Raises Missing."""
    return read(db, "id", intent_id)[0]


def find_payment(db: sqlite3.Connection, payment_id: str) -> Intent:
    """Return a payment's state. The payment may have been canceled before it had an intent.

    Raises:
        Missing: the payment id is unknown.
    """
    try:
        return read(db, "payment_id", payment_id)[0]
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
    pages: str,
    more: int = 0,
) -> Intent:
    """Charge an intent, authorize it, decline it, or ask its customer first, on one of the `pages`.

    Each of these uses up the payment method. A repeat returns the first outcome. `more` is charged
    on top of the amount.

    Raises:
        Missing: there is no such intent.
        BadRequest: another intent has used up the payment method since this one was created.
    """
    intent, method = read(db, "id", intent_id)
    if intent.status is not Status.REQUIRES_CONFIRMATION:
        return intent
    payment_methods.use_up(db, method.token, intent.payment_id)
    if not method.challenged:
        return decide(db, intent, method, at, webhook, authorized_for, more=more)
    action = challenges.begin(db, intent, method.return_url, pages)
    intent = msgspec.structs.replace(intent, status=Status.REQUIRES_ACTION, next_action=action)
    write(db, Kind.CHALLENGE, intent, at)
    outbox.announce_verdict(db, intent, webhook, at.timestamp())
    return intent


def decide(
    db: sqlite3.Connection,
    intent: Intent,
    method: Method,
    at: datetime,
    webhook: outbox.Delivery,
    authorized_for: timedelta = WEEK,
    *,
    more: int = 0,
) -> Intent:
    """Return `intent`, which has no verdict yet, charged, authorized or declined."""
    if method.decline_code:
        kind = Kind.DECLINE
        change = {"status": Status.FAILED, "failure": failure(method.decline_code)}
    elif method.manual:
        kind = Kind.AUTHORIZATION
        change = {
            "status": Status.REQUIRES_CAPTURE,
            "capture_before": _whole_seconds(at + authorized_for),
        }
    else:
        kind = Kind.CHARGE
        change = {"status": Status.SUCCEEDED, "amount": (intent.amount or 0) + more}
    intent = msgspec.structs.replace(intent, next_action=None, **change)
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
    if intent.status in _WITHOUT_VERDICT:
        authorized = intent.status is Status.REQUIRES_CAPTURE
        intent = msgspec.structs.replace(
            intent, status=Status.CANCELED, capture_before=None, next_action=None
        )
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
    taken, currency = captured(db, new.payment_id)
    (returned,) = db.execute(
        "SELECT coalesce(sum(amount), 0) FROM entries AS made WHERE payment_id = ?"
        " AND kind = 'refund' AND NOT EXISTS (SELECT 1 FROM entries WHERE about = made.refund_id)",
        (new.payment_id,),
    ).fetchone()
    if returned + new.amount > taken:
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


def _as_created(intent_id: str, new: NewIntent, status: Status, card: Card | None) -> Intent:
    return Intent(
        id=intent_id,
        payment_id=new.payment_id,
        status=status,
        amount=new.amount,
        currency=new.currency,
        payment_method_types=_types(new.token or WALLET),
        card=card,
    )


def _announced(new: NewIntent) -> tuple[str, int, str, str, bool, str, str | None]:
    return (
        new.payment_id,
        new.amount,
        new.currency,
        new.token or WALLET,
        new.confirm,
        new.capture_method,
        new.return_url,
    )


def _types(token: str) -> tuple[str, ...]:
    return ("wallet",) if token == WALLET else ("card",)


def captured(db: sqlite3.Connection, payment_id: str) -> tuple[int, str]:
    """Return what was captured, and its currency.

    Raises:
        Contradiction: nothing was.
    """
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


def read(
    db: sqlite3.Connection, column: Literal["id", "payment_id"], value: str
) -> tuple[Intent, Method]:
    """Return the intent's current state, and what it charges.

    Raises:
        Missing: there is no such intent.
    """
    row = db.execute(_INTENT_BY[column], (value,)).fetchone()
    if not row:
        raise Missing("payment intent")
    method = Method(
        token=row[4],
        decline_code=row[7],
        manual=row[8] == "manual",
        challenged=bool(row[9]),
        return_url=row[10],
    )
    verdict = db.execute(_VERDICT, (row[1],)).fetchone()
    intent = Intent(
        id=row[0],
        payment_id=row[1],
        status=_STATUS[Kind(verdict[0])] if verdict else Status.REQUIRES_CONFIRMATION,
        amount=verdict[3] if verdict and verdict[0] == Kind.CHARGE else row[2],
        currency=row[3],
        payment_method_types=_types(method.token),
        card=None if method.token == WALLET else Card(*row[5:7]),
        failure=Failure(*verdict[1:3]) if verdict and verdict[1] else None,
        amount_received=verdict[3] if verdict and verdict[0] == Kind.CAPTURE else None,
    )
    return intent if verdict else _awaited(db, intent, method), method


def _awaited(db: sqlite3.Connection, intent: Intent, method: Method) -> Intent:
    """Return an intent without a verdict as what it waits for: a capture, or its customer."""
    authorized = method.manual and db.execute(_AUTHORIZED, (intent.payment_id,)).fetchone()
    if authorized:
        before = datetime.fromisoformat(authorized[0])
        return msgspec.structs.replace(
            intent, status=Status.REQUIRES_CAPTURE, capture_before=before
        )
    action = challenges.of(db, intent.payment_id, method.return_url)
    if action:
        return msgspec.structs.replace(intent, status=Status.REQUIRES_ACTION, next_action=action)
    return intent


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
