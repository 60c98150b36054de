"""Identifiers: a prefix that tells the kind, then a UUIDv7 (RFC 9562) in hex.

Version 7 begins with the time, so ids sort by creation and inserts go to the end of an index.
"""

import uuid_utils


def new_id(prefix: str) -> str:
    """Return for example `ord_0197…` (prefix, underscore, 32 hex digits)."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def earliest_id(prefix: str, moment: float) -> str:
    """Return what sorts before each id made at `moment` (Unix time, seconds) or later."""
    return f"{prefix}_{int(moment * 1000):012x}"
