"""The refusal of a reused `Idempotency-Key`: the key by which a client may repeat a request."""

from cartwheel.kernel.errors import Invalid


class IdempotencyKeyReused(Invalid):
    """The `Idempotency-Key` was used before, with another body.

    Use a new key for a new request, and the same body for a repeat.
    """

    code = "idempotency_key_reused"
