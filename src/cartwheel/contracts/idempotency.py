"""The refusal of a reused `Idempotency-Key`: the key by which a client may repeat a request."""

from cartwheel.kernel.errors import Invalid


class IdempotencyKeyReused(Invalid):
    """The same Idempotency-Key was sent with a different body."""

    code = "idempotency_key_reused"
