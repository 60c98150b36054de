"""Identifiers: a prefix that tells the kind, then a UUIDv7 (RFC 9562) in hex.

Version 7 begins with the time, so ids sort by creation and inserts go to the end of an index.
"""

import secrets

import uuid_utils

# Crockford's base 32 (https://www.crockford.com/base32.html): no letters that look like digits.
_SPEAKABLE = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HEARD = str.maketrans("OIL", "011")
_LENGTH = 10


def new_id(prefix: str) -> str:
    """Return for example `ord_0197…` (prefix, underscore, 32 hex digits)."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def earliest_id(prefix: str, moment: float) -> str:
    """Return what sorts before each id made at `moment` (Unix time, seconds) or later."""
    return f"{prefix}_{int(moment * 1000):012x}"


def new_number() -> str:
    """Return a random number such as `K7QM3-XWD9A`: 50 bits, to be read out on the phone."""
    bits = secrets.randbits(50)
    characters = "".join(_SPEAKABLE[bits >> place & 31] for place in range(0, 5 * _LENGTH, 5))
    return f"{characters[:5]}-{characters[5:]}"


def read_number(text: str) -> str | None:
    """Return the number that somebody has typed or heard, as `new_number` writes it; or None.

    As its alphabet's source says: case does not matter, O is 0, and I and L are 1. Hyphens and
    spaces may be left out.
    """
    characters = text.upper().replace("-", "").replace(" ", "").translate(_HEARD)
    if len(characters) != _LENGTH or not set(characters) <= set(_SPEAKABLE):
        return None
    return f"{characters[:5]}-{characters[5:]}"
