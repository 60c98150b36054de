"""Order numbers that are easy to read out on the phone."""

import secrets

# Crockford's base 32 (https://www.crockford.com/base32.html) has no letters that look like digits.
_SPEAKABLE = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HEARD = str.maketrans("OIL", "011")
_CHARACTERS = 10


def new_number() -> str:
    """Return a random number of 50 bits, such as `K7QM3-XWD9A`."""
    bits = secrets.randbits(50)
    characters = "".join(_SPEAKABLE[bits >> place & 31] for place in range(0, 5 * _CHARACTERS, 5))
    return f"{characters[:5]}-{characters[5:]}"


def read_number(text: str) -> str | None:
    """Return a number as typed by a person, in the form of `new_number`; None if it is not one.

    Crockford's rules apply: case does not matter, O is read as 0, I and L as 1. Hyphens and spaces
    may be left out.
    """
    characters = text.upper().replace("-", "").replace(" ", "").translate(_HEARD)
    if len(characters) != _CHARACTERS or not set(characters) <= set(_SPEAKABLE):
        return None
    return f"{characters[:5]}-{characters[5:]}"
