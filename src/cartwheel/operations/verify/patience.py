"""For how long a disagreement may be work in flight."""

from datetime import timedelta

import msgspec


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """For how long a disagreement may be work in flight.

    `orphaned_hold` is how long stock may be held for an order that does not exist: the sweeper
    gives it back after ten minutes. After `stuck_after` nothing is in flight any more: what is
    unfinished then needs a person.
    """

    grace: timedelta = timedelta(seconds=60)
    orphaned_hold: timedelta = timedelta(minutes=12)
    stuck_after: timedelta = timedelta(hours=24)
