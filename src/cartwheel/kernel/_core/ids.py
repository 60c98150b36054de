"""Identifiers: a prefix for the kind, then a UUIDv7 (RFC 9562) in hex.

A UUIDv7 begins with the time, so ids sort by creation and new ones go to the end of an index.
"""

import uuid_utils


def new_id(prefix: str) -> str:
    """Return an id such as `ord_0197…`: prefix, underscore, 32 hex digits."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def earliest_id(prefix: str, moment: float) -> str:
    """Return a string that sorts before all ids made at `moment` (Unix time, seconds) or later."""
    return f"{prefix}_{int(moment * 1000):012x}"
