"""Authorizations: money that is reserved, and captured, voided or left to lapse.

    requires_capture ──► succeeded (captured, whole or in part; the rest is voided)
            └──► canceled (voided, or lapsed)

As at Stripe: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method. `ledger.confirm`
authorizes and `ledger.cancel` voids. Each function runs inside `GroupCommit.do`.
"""

import sqlite3
from datetime import datetime

import msgspec

from cartwheel.simulator import ledger, outbox
from cartwheel.simulator.cards import failure
from cartwheel.simulator.errors import CardError, Contradiction
from cartwheel.simulator.objects import Intent, Kind, NewCapture, Status


def capture(
    db: sqlite3.Connection,
    payment_id: str,
    new: NewCapture,
    at: datetime,
    webhook: outbox.Delivery,
    *,
    refused: bool = False,
) -> Intent:
    """Capture an authorization. A repeat returns the first outcome and changes nothing.

    One that should have lapsed by now does so first.

    Raises:
        Missing: the payment id is unknown.
        CardError: the capture is to be `refused`. The authorization stands.
        Contradiction: nothing is authorized, or less than the amount.
    """
    intent = current(db, payment_id, at, webhook)
    if intent.status in (Status.SUCCEEDED, Status.CANCELED):
        return intent
    if intent.status is not Status.REQUIRES_CAPTURE or intent.amount is None:
        raise Contradiction("payment_intent_unexpected_state", "Nothing is authorized.")
    amount = new.amount_to_capture or intent.amount
    if amount > intent.amount:
        raise Contradiction("amount_too_large", "Less is authorized.", "amount_to_capture")
    if refused:
        why = failure("card_declined")
        raise CardError(why.code, why.message)
    captured = msgspec.structs.replace(
        intent, status=Status.SUCCEEDED, amount_received=amount, capture_before=None
    )
    ledger.write(db, Kind.CAPTURE, captured, at)
    outbox.announce_verdict(db, captured, webhook, at.timestamp())
    return captured


def lapse(
    db: sqlite3.Connection, payment_id: str, at: datetime, webhook: outbox.Delivery
) -> Intent:
    """Let an authorization lapse now. One that has ended stays as it is.

    Raises:
        Missing: the payment id is unknown.
    """
    intent = ledger.find_payment(db, payment_id)
    if intent.status is not Status.REQUIRES_CAPTURE:
        return intent
    lapsed = msgspec.structs.replace(intent, status=Status.CANCELED, capture_before=None)
    ledger.write(db, Kind.LAPSE, lapsed, at)
    outbox.announce_verdict(db, lapsed, webhook, at.timestamp())
    return lapsed


def current(
    db: sqlite3.Connection, payment_id: str, at: datetime, webhook: outbox.Delivery
) -> Intent:
    """Return a payment's state. An authorization that is past its time has lapsed.

    Raises:
        Missing: the payment id is unknown.
    """
    intent = ledger.find_payment(db, payment_id)
    if intent.capture_before is not None and intent.capture_before <= at:
        return lapse(db, payment_id, at, webhook)
    return intent
