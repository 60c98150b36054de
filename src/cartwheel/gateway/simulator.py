"""Is a webhook really the payment simulator's?"""

import hashlib
import hmac
from datetime import datetime

from cartwheel.kernel.errors import Unauthenticated

TOLERANCE = 300.0


class BadSignature(Unauthenticated):
    """A webhook that the simulator did not send, or that is too old."""

    code = "bad_signature"


def verify_signature(
    secret: str, header: str, body: bytes, *, now: datetime, tolerance: float = TOLERANCE
) -> None:
    """Check that `body` was signed by who knows `secret`, at most `tolerance` seconds ago.

    `header` is `Simulator-Signature: t=<Unix seconds>,v1=<HMAC-SHA256 of "t.body" in hex>`, in
    Stripe's scheme; one of several `v1` is enough, so that a secret can be changed.

    Raises:
        BadSignature: it was not.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        raise BadSignature("the signature has no timestamp")
    signed = timestamp.encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise BadSignature("the signature does not match")
    if abs(now.timestamp() - int(timestamp)) > tolerance:
        raise BadSignature("the signature is too old")
