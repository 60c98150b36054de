"""The `Idempotency-Key`, by which a client may repeat a request, and the refusal of a reused one.

What a request makes keeps the request's id, which the key gives, and the hash of its body.
"""

from cartwheel.kernel.errors import Invalid


class IdempotencyKeyReused(Invalid):
    """The `Idempotency-Key` was used before, with another body.

    Use a new key for a new request, and the same body for a repeat.
    """

    code = "idempotency_key_reused"


def check_repeated(kept: object, sent: object, *, made: str) -> None:
    """Check that a repeat asks for what the first request asked for.

        check_repeated(payment.body_hash, request.body_hash, made="payment")

    Raises:
        IdempotencyKeyReused: `sent` is not `kept`. `made` says what the first request has made.
    """
    if sent != kept:
        raise IdempotencyKeyReused(
            f"This Idempotency-Key was used for another {made}. Send a new key."
        )
