"""What a payment is charged to: a card, which one payment uses up, or the wallet."""

import sqlite3
from datetime import datetime

from cartwheel.simulator.cards import KnownCard, ready_made
from cartwheel.simulator.errors import BadRequest
from cartwheel.simulator.objects import Card, PaymentMethod

WALLET = "(wallet)"
"""Stands for the wallet among the payment methods. It is no valid id, so nobody can send it."""


def save(db: sqlite3.Connection, token: str, card: KnownCard, at: datetime) -> PaymentMethod:
    db.execute(
        "INSERT INTO tokens (id, created_at, brand, last4, decline_code, challenged)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (token, at.isoformat(), card.brand, card.last4, card.decline_code, card.challenged),
    )
    return PaymentMethod(id=token, card=Card(card.brand, card.last4))


def find(db: sqlite3.Connection, token: str | None, at: datetime) -> Card | None:
    """Return the card of an unused payment method; None for the wallet, which has no token.

    Raises:
        BadRequest: the payment method is unknown or used up.
    """
    if token is None:
        return _wallet(db, at)
    row = db.execute("SELECT brand, last4, used_by FROM tokens WHERE id = ?", (token,)).fetchone()
    if row:
        if row[2]:
            raise _used_up()
        return Card(*row[:2])
    card = ready_made(token)
    if card is None:
        raise BadRequest("resource_missing", "No such payment method.", "token")
    return save(db, token, card, at).card


def _wallet(db: sqlite3.Connection, at: datetime) -> None:
    """Store the wallet, of which no card is known, once."""
    if not db.execute("SELECT 1 FROM tokens WHERE id = ?", (WALLET,)).fetchone():
        wallet = KnownCard(brand="wallet", last4="", decline_code=None, challenged=True)
        save(db, WALLET, wallet, at)


def use_up(db: sqlite3.Connection, token: str, payment_id: str) -> None:
    """Note that a payment has used a payment method. Ready-made ones, and the wallet, stay unused.

    Raises:
        BadRequest: another payment has used it.
    """
    if token == WALLET or ready_made(token):
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
