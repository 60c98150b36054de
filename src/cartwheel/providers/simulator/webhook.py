"""The payment simulator's webhooks: checking their signature and reading them."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    DisputeStatus,
    Failure,
    Method,
    ReportAuthorization,
    ReportDispute,
    ReportRefund,
    ReportVerdict,
    read_card,
)
from cartwheel.kernel.errors import Unauthenticated

TOLERANCE_SECONDS = 300.0

_SUCCEEDED = "payment_intent.succeeded"
_FAILED = "payment_intent.payment_failed"

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


def _money(amount: object, currency: object) -> Money | None:
    try:
        return msgspec.convert({"amount": amount, "currency": currency}, Money)
    except msgspec.ValidationError:
        return None


class _Webhook(msgspec.Struct, frozen=True):
    type: str


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    payment_id: _Id
    amount: object = None
    currency: object = None

    def money(self) -> Money | None:
        """Return the amount; None, which no payment matches, if it is missing or not valid."""
        return _money(self.amount, self.currency)


class _Verdict(_Told, frozen=True, kw_only=True):
    """How a payment ended, as the simulator reports it. Other fields are ignored."""

    payment_intent: _Id | None = None
    amount_received: object = None
    failure: Failure | None = None
    card: object = None
    payment_method_types: tuple[str, ...] = ("card",)

    def money(self) -> Money | None:
        """Return what was captured of an authorization, or else the amount."""
        told = self.amount if self.amount_received is None else self.amount_received
        return _money(told, self.currency)


class _FailedRefund(_Told, frozen=True, kw_only=True):
    refund_id: _Id
    failure: Failure | None = None


class _Dispute(_Told, frozen=True, kw_only=True):
    dispute_id: _Id
    status: Literal["needs_response", "won", "lost"]
    reason: str = ""


SHAPE = _Verdict
"""The shape of a webhook that reports the outcome of a payment."""

EXAMPLE = _Verdict(
    type=_SUCCEEDED,
    payment_id="pay_01a203e602eb775e9213dbdb908500fe",
    payment_intent="pi_5f0c2d7a",
    amount=3998,
    currency="USD",
    card={"brand": "visa", "last4": "4242"},
)

_webhooks = msgspec.json.Decoder(_Webhook)
_verdicts = msgspec.json.Decoder(_Verdict)
_failed_refunds = msgspec.json.Decoder(_FailedRefund)
_disputes = msgspec.json.Decoder(_Dispute)

Report = ReportVerdict | ReportAuthorization | ReportRefund | ReportDispute


class BadSignature(Unauthenticated):
    """The webhook's signature is not the provider's, or it is too old.

    Sign the body with the webhook's secret, at the time of sending.
    """

    code = "bad_signature"


def read(
    body: bytes, headers: Mapping[str, str], *, secret: str, actor: Actor, now: datetime
) -> Report | None:
    """Return what a webhook of the simulator reports; None if Cartwheel needs no such event.

    Raises:
        Unauthenticated: the webhook is not signed.
        BadSignature: it was not signed with `secret`.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is signed, but cannot be read.
    """
    signature = headers.get("simulator-signature")
    if signature is None:
        raise Unauthenticated("Send the Simulator-Signature header.")
    verify_signature(secret, signature, body, now=now)
    match _webhooks.decode(body).type:
        case (
            "payment_intent.succeeded" | "payment_intent.payment_failed" | "payment_intent.canceled"
        ):
            return _verdict(_verdicts.decode(body), actor)
        case "payment_intent.amount_capturable_updated":
            return _authorization(_verdicts.decode(body), actor)
        case "refund.failed":
            return _failed_refund(_failed_refunds.decode(body), actor)
        case "charge.dispute.created" | "charge.dispute.closed":
            return _dispute(_disputes.decode(body), actor)
        case _:
            return None


def _verdict(told: _Verdict, actor: Actor) -> ReportVerdict:
    return ReportVerdict(
        provider="simulator",
        payment_id=told.payment_id,
        captured=told.type == _SUCCEEDED,
        failure=told.failure if told.type == _FAILED else None,
        reference=told.payment_intent,
        method=Method.WALLET if told.payment_method_types == ("wallet",) else Method.CARD,
        amount=told.money(),
        card=read_card(told.card),
        actor=actor,
    )


def _authorization(told: _Verdict, actor: Actor) -> ReportAuthorization:
    return ReportAuthorization(provider="simulator", payment_id=told.payment_id, actor=actor)


def _failed_refund(told: _FailedRefund, actor: Actor) -> ReportRefund:
    failure = told.failure or Failure(code="refund_failed", message="The money came back.")
    return ReportRefund(
        provider="simulator",
        payment_id=told.payment_id,
        refund_id=told.refund_id,
        amount=told.money(),
        failure=failure,
        actor=actor,
    )


def _dispute(told: _Dispute, actor: Actor) -> ReportDispute:
    return ReportDispute(
        provider="simulator",
        payment_id=told.payment_id,
        dispute_id=told.dispute_id,
        amount=told.money(),
        status=DisputeStatus(told.status.upper()),
        reason=told.reason,
        actor=actor,
    )


def verify_signature(
    secret: str, header: str, body: bytes, *, now: datetime, tolerance: float = TOLERANCE_SECONDS
) -> None:
    """Check that `body` was signed with `secret` at most `tolerance` seconds ago.

    `header` is `Simulator-Signature: t=<Unix seconds>,v1=<HMAC-SHA256 of "t.body" in hex>`, as in
    Stripe's scheme. If there are several `v1`, one valid signature is enough, so that the secret
    can be rotated.

    Raises:
        BadSignature: it was not.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        raise BadSignature("The signature has no valid timestamp.")
    signed = timestamp.encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise BadSignature("The signature does not match the body.")
    if abs(now.timestamp() - int(timestamp)) > tolerance:
        raise BadSignature(f"The signature's timestamp is more than {tolerance:g} seconds off.")
