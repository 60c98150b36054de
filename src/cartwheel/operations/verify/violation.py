"""One broken promise."""

import msgspec


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A broken promise. `sentence` says what is wrong, `ids` name the documents.

    `awaits` are the services that would resolve it by handling an event. While they have events
    waiting, that may simply not have happened yet.
    """

    promise: int
    sentence: str
    ids: tuple[str, ...]
    awaits: tuple[str, ...] = ()
