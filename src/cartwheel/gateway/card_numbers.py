"""Finding a card's number in text, also in groups.

Prefixes and lengths are the card networks' (ISO/IEC 7812-1; they are listed at
https://en.wikipedia.org/wiki/Payment_card_number). Together with the check digit they leave few
other numbers: of random ones with 16 digits, about one in twenty.
"""

import re
from collections.abc import Iterator

_GAP = r"[\s\u00ad\u200b-\u200d\u2060\ufeff\u2010-\u2015\u2212-]"
"""Spaces, dashes, and what nobody sees."""
_RUN = re.compile(rf"\d(?:{_GAP}{{0,3}}\d){{11,}}")
_GAPS = re.compile(rf"{_GAP}+")

_LEAST, _MOST = 12, 19
"""Digits of a card number."""

_ISSUERS = (
    (re.compile(r"4"), (13, 16, 18, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"6011|64[4-9]|65"), (16, 17, 18, 19)),  # Discover
    (re.compile(r"3(?:0[0-5]|095|6|8|9)"), (14, 15, 16, 17, 18, 19)),  # Diners Club
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"62"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]"), tuple(range(12, 20))),  # Maestro
    (re.compile(r"60|8[12]|508"), (16,)),  # RuPay
    (re.compile(r"220[0-5]"), (16, 17, 18, 19)),  # Mir, Borica
    (re.compile(r"5019|9792|8600|9860|636"), (16,)),  # Dankort, Troy, UzCard, Humo, InterPayment
    (re.compile(r"506(?:099|1)|507(?:8[6-9]|9)"), (16, 18, 19)),  # Verve
)


def holds_card_number(text: str) -> bool:
    """Return whether `text` holds a card number, with or without gaps between its digits.

    A number within a longer row of digits is none.
    """
    return any(
        is_card_number(digits) for run in _RUN.finditer(text) for digits in _candidates(run[0])
    )


def is_card_number(digits: str) -> bool:
    """Return whether `digits` have a known issuer's prefix, its length, and the check digit."""
    known = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS)
    return known and _passes_luhn(digits)


def _candidates(run: str) -> Iterator[str]:
    """Yield the rows of whole groups in `run` that have as many digits as a card number."""
    # \d takes the digits of every script, and int() reads them all.
    groups = ["".join(str(int(digit)) for digit in group) for group in _GAPS.split(run)]
    for begin in range(len(groups)):
        digits = ""
        for group in groups[begin:]:
            digits += group
            if len(digits) > _MOST:
                break
            if len(digits) >= _LEAST:
                yield digits


def _passes_luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2])
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0
