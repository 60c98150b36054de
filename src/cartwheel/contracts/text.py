r"""Text that people type, and that ends up in mail, logs and terminals.

Patterns for msgspec, which clients may check as well: Python and JavaScript read them alike (`$`
alone would let Python take a line break at the end). None of them lets control characters through:
no escape sequences for a terminal, no line breaks where one line is expected, and no marks that
turn the direction of writing, with which text can be made to read as something else
(https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing).

    Name = Annotated[str, Meta(max_length=200, pattern=text.LINE)]
"""

import re

NOTHING_AFTER = r"(?!\n)"
"""Follows `$` in a pattern: Python's `$` lets a line break come after it."""

_LAYOUT = r"\t\n\r"
_OTHER_CONTROLS = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # Unicode's category Cc, without tabs and line breaks
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the property Bidi_Control
    r"\u2028\u2029"  # categories Zl and Zp
)
_CONTROLS = _LAYOUT + _OTHER_CONTROLS
_INVISIBLE = r"\s\u00ad\u200b-\u200d\u2060-\u2065\u3164\ufeff"

LINE = rf"^(?![\s\S]*[{_CONTROLS}])[\s\S]*[^{_INVISIBLE}]"
"""One line, with something in it that can be seen."""

LINES = rf"^(?![\s\S]*[{_OTHER_CONTROLS}])"
"""Any number of lines, and none."""

_NOT_IN_URLS = rf"{_CONTROLS}\s\x22<>\\^`{{|}}"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]+)"

URL = rf"^(?![\s\S]*[{_NOT_IN_URLS}])https?://{_HOST}(?::[0-9]+)?(?:[/?#]|$)"
"""An address of the web (RFC 3986, other letters as they are), without user and password."""

IN_WORDS = {
    LINE: "one line of text, without control characters",
    LINES: "text without control characters",
    URL: "an http(s) URL without spaces, user and password",
}
"""What to tell people in place of a pattern."""

_UNFIT = re.compile(rf"[{_CONTROLS}\ud800-\udfff]")
_VISIBLE = re.compile(rf"[^{_INVISIBLE}]")


def one_line(text: str, *, longest: int) -> str:
    """Return what of `text`, which may be anything, makes a LINE of at most `longest` characters.

    Empty if nothing of it can be seen.
    """
    # Cut first as well: a megabyte is not worth the search.
    line = " ".join(_UNFIT.sub(" ", text[: 4 * longest]).split())[:longest].rstrip()
    return line if _VISIBLE.search(line) else ""
