"""One broken promise."""

import msgspec


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """`sentence` says what is wrong, `ids` what it concerns.

    `awaits` are services that would put it right by handling an event: while their queues hold
    any, this may simply not have happened yet.
    """

    promise: int
    sentence: str
    ids: tuple[str, ...]
    awaits: tuple[str, ...] = ()
