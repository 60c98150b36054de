"""Checkout sessions: a customer's visit to the hosted page, which makes a payment method.

Modeled on Stripe's in setup mode (https://docs.stripe.com/api/checkout/sessions). Each function
runs inside `GroupCommit.do`.

The way back to the shop is an address, and addresses are logged and kept in histories. So it names
the session only. What the session has made is told to whoever has the client secret, which only the
shop got when it began the session.
"""

import hashlib
import hmac
import secrets
import sqlite3
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec

from cartwheel.simulator import ledger
from cartwheel.simulator.cards import KnownCard
from cartwheel.simulator.errors import ApiError, BadRequest, Missing
from cartwheel.simulator.origins import Origins

OPEN_FOR = timedelta(minutes=30)
KEPT_FOR = timedelta(days=1)
_DELETED_AT_ONCE = 100

PLACEHOLDER = "{CHECKOUT_SESSION_ID}"
"""What stands for the session's id in a `success_url`."""

_Address = Annotated[str, msgspec.Meta(max_length=2000)]


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    mode: Annotated[str, msgspec.Meta(pattern="^setup$", max_length=5)]
    success_url: _Address
    cancel_url: _Address


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session. `client_secret` and `url` are told once, to whoever begins it."""

    id: str
    status: Literal["open", "complete", "expired"]
    expires_at: int
    payment_method: str | None = None
    client_secret: str | None = None
    url: str | None = None


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What the page needs to know of its session."""

    id: str
    origin: str
    success_url: str
    cancel_url: str
    complete: bool


class Over(ApiError):
    """The session has expired."""

    status = 410

    def __init__(self) -> None:
        super().__init__("session_expired", "This page has expired. Nothing was charged.")


def begin(
    db: sqlite3.Connection, new: NewSession, at: datetime, *, shop: Origins, page: str
) -> Session:
    """Begin a session, whose page is below the address `page`.

    Raises:
        BadRequest: an address is not one of the shop's. Otherwise anybody with the publishable key
            could make this server send customers anywhere.
    """
    for name in ("success_url", "cancel_url"):
        address: str = getattr(new, name)
        if shop.of(address.replace(PLACEHOLDER, "")) is None:
            raise BadRequest(
                "url_invalid", f"`{name}` is not an address of this provider's shop.", name
            )
    _delete_old(db, at)
    session_id = f"cs_{secrets.token_hex(16)}"
    client_secret = f"{session_id}_secret_{secrets.token_hex(16)}"
    expires_at = int((at + OPEN_FOR).timestamp())
    db.execute(
        "INSERT INTO sessions (id, secret_hash, created_at, expires_at, success_url, cancel_url)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            session_id,
            _hash(client_secret),
            int(at.timestamp()),
            expires_at,
            new.success_url.replace(PLACEHOLDER, session_id),
            new.cancel_url.replace(PLACEHOLDER, session_id),
        ),
    )
    return Session(
        id=session_id,
        status="open",
        expires_at=expires_at,
        client_secret=client_secret,
        url=f"{page}/{session_id}",
    )


def find(db: sqlite3.Connection, session_id: str, client_secret: str, at: datetime) -> Session:
    """Return a session, with the payment method that it has made.

    Raises:
        Missing: there is no such session, or the secret is not its own.
    """
    row = db.execute(
        "SELECT secret_hash, expires_at, payment_method FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    if not row or not hmac.compare_digest(row[0], _hash(client_secret)):
        raise Missing("checkout session", "client_secret")
    status = "complete" if row[2] else "open" if at.timestamp() < row[1] else "expired"
    return Session(id=session_id, status=status, expires_at=row[1], payment_method=row[2])


def visit(db: sqlite3.Connection, session_id: str, at: datetime, *, shop: Origins) -> Visit:
    """Return what the page shows.

    Raises:
        Missing: there is no such session.
        Over: it has expired.
    """
    row = db.execute(
        "SELECT success_url, cancel_url, expires_at, payment_method FROM sessions WHERE id = ?",
        (session_id,),
    ).fetchone()
    # An address that is no longer the shop's leads nowhere.
    origin = shop.of(row[0]) if row else None
    if not row or origin is None or shop.of(row[1]) is None:
        raise Missing("page")
    if not row[3] and at.timestamp() >= row[2]:
        raise Over
    return Visit(
        id=session_id,
        origin=origin,
        success_url=row[0],
        cancel_url=row[1],
        complete=row[3] is not None,
    )


def complete(
    db: sqlite3.Connection, session_id: str, card: KnownCard, at: datetime, *, shop: Origins
) -> Visit:
    """Make the session's payment method of `card`. Of a form that is sent twice, the first counts.

    Raises what `visit` raises.
    """
    seen = visit(db, session_id, at, shop=shop)
    if not seen.complete:
        made = ledger.save_card(db, card, at)
        db.execute("UPDATE sessions SET payment_method = ? WHERE id = ?", (made.id, session_id))
    return seen


def _delete_old(db: sqlite3.Connection, at: datetime) -> None:
    db.execute(
        "DELETE FROM sessions WHERE id IN"
        " (SELECT id FROM sessions WHERE created_at < ? ORDER BY created_at LIMIT ?)",
        (int((at - KEPT_FOR).timestamp()), _DELETED_AT_ONCE),
    )


def _hash(client_secret: str) -> str:
    return hashlib.sha256(client_secret.encode()).hexdigest()
