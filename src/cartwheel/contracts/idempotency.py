"""A request that may be repeated bears a key that its client has chosen."""

from cartwheel.kernel.errors import Invalid


class IdempotencyKeyReused(Invalid):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_key_reused"
