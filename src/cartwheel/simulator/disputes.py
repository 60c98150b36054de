"""Disputes: the customer's bank takes money back, until that is decided.

As payments, they are derived from lines of the `ledger`. Each function runs inside
`GroupCommit.do`.
"""

import sqlite3
from datetime import datetime

import msgspec

from cartwheel.kernel import new_id
from cartwheel.simulator import ledger, outbox
from cartwheel.simulator.errors import Contradiction, Missing
from cartwheel.simulator.objects import Decision, Dispute, Kind, NewDispute


def open_(
    db: sqlite3.Connection, new: NewDispute, at: datetime, webhook: outbox.Delivery
) -> Dispute:
    """Open a dispute. It may be about more than is left: refunds are not looked at.

    Raises:
        Contradiction: nothing was captured, or less than the amount.
    """
    taken, currency = ledger.captured(db, new.payment_id)
    amount = new.amount or taken
    if amount > taken:
        raise Contradiction("amount_too_large", "Less than that was captured.", "amount")
    dispute = Dispute(
        id=new_id("dp"),
        payment_id=new.payment_id,
        amount=amount,
        currency=currency,
        reason=new.reason,
    )
    _note(db, Kind.DISPUTE_OPENED, "charge.dispute.created", dispute, at, webhook)
    return dispute


def close(
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
    dispute = find(db, dispute_id)
    if dispute.status != "needs_response":
        return dispute
    decided = msgspec.structs.replace(dispute, status=decision.status)
    kind = Kind.DISPUTE_WON if decided.status == "won" else Kind.DISPUTE_LOST
    _note(db, kind, "charge.dispute.closed", decided, at, webhook)
    return decided


def find(db: sqlite3.Connection, dispute_id: str) -> Dispute:
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


def _note(
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
