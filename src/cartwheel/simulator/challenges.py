"""Payments that their customer has to approve: which page asks for it.

The page's address holds a secret, which stands for the customer: the shop has handed it to them.
"""

import secrets
import sqlite3

from cartwheel.simulator.objects import Intent, NextAction, RedirectToUrl

PATH = "/pages/approve"


def begin(db: sqlite3.Connection, intent: Intent, return_url: str | None, pages: str) -> NextAction:
    """Store that the customer of `intent` is asked, on a page below the address `pages`."""
    secret = secrets.token_urlsafe(24)
    url = f"{pages}{PATH}/{secret}"
    db.execute("INSERT INTO challenges VALUES (?, ?, ?)", (intent.payment_id, secret, url))
    return NextAction(RedirectToUrl(url, return_url))


def of(db: sqlite3.Connection, payment_id: str, return_url: str | None) -> NextAction | None:
    """Return what the customer of a payment was asked to do, if anything."""
    row = db.execute("SELECT url FROM challenges WHERE payment_id = ?", (payment_id,)).fetchone()
    return NextAction(RedirectToUrl(row[0], return_url)) if row else None


def asked(db: sqlite3.Connection, secret: str) -> str | None:
    """Return the id of the payment whose customer knows `secret`."""
    row = db.execute("SELECT payment_id FROM challenges WHERE secret = ?", (secret,)).fetchone()
    return row[0] if row else None
