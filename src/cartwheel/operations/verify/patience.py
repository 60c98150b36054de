"""How long a mismatch may be explained by work in flight."""

from datetime import timedelta

import msgspec


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a mismatch may be explained by work in flight.

    `orphaned_reservation` is how long stock may stay reserved for an order that does not exist. The
    sweep in products releases it after ten minutes. After `stuck_after` nothing counts as in
    flight: unfinished work then needs a person.
    """

    grace: timedelta = timedelta(seconds=60)
    orphaned_reservation: timedelta = timedelta(minutes=12)
    stuck_after: timedelta = timedelta(hours=24)
