r"""Patterns for text that people type and that is shown in mail, logs and terminals.

msgspec checks them, and clients may check them too: Python and JavaScript read them alike. (With a
plain `$`, Python would accept a line break at the end.) No pattern accepts control characters: no
terminal escape sequences, no line breaks where one line is expected, and no marks that change the
direction of writing and can make text look like other text
(https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing).

    Name = Annotated[str, Meta(max_length=200, pattern=text.LINE)]
"""

import re

NOTHING_AFTER = r"(?!\n)"
"""Stands after `$` in a pattern, because Python's `$` also matches before a final line break."""

_LAYOUT = r"\t\n\r"
_OTHER_CONTROLS = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # Unicode's category Cc, without tabs and line breaks
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the property Bidi_Control
    r"\u2028\u2029"  # categories Zl and Zp
)
_CONTROLS = _LAYOUT + _OTHER_CONTROLS
_INVISIBLE = r"\s\u00ad\u200b-\u200d\u2060-\u2065\u3164\ufeff"

LINE = rf"^(?![\s\S]*[{_CONTROLS}])[\s\S]*[^{_INVISIBLE}]"
"""One line with at least one visible character."""

LINES = rf"^(?![\s\S]*[{_OTHER_CONTROLS}])"
"""Any number of lines; may be empty."""

_NOT_IN_URLS = rf"{_CONTROLS}\s\x22<>\\^`{{|}}"
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]+)"

URL = rf"^(?![\s\S]*[{_NOT_IN_URLS}])https?://{_HOST}(?::[0-9]+)?(?:[/?#]|$)"
"""An HTTP(S) URL (RFC 3986, with any Unicode letters) without user and password."""

CURRENCY = rf"^[A-Z]{{3}}${NOTHING_AFTER}"
COUNTRY = rf"^[A-Z]{{2}}${NOTHING_AFTER}"
SKU = rf"^[A-Za-z0-9._-]+${NOTHING_AFTER}"
CODE = rf"^\S+${NOTHING_AFTER}"
CARD_TOKEN = rf"^pm_[A-Za-z0-9_]+${NOTHING_AFTER}"
MAIL_ADDRESS = r"^\s*[^@\s]+@[^@\s]+\.[^@\s]+\s*$"

IN_WORDS = {
    LINE: "one line of text without control characters",
    LINES: "text without control characters",
    URL: "an http or https URL without spaces, user name or password",
    CURRENCY: "a currency code of three capital letters, such as USD",
    COUNTRY: "a country code of two capital letters, such as DE",
    SKU: "text of letters, digits, dots, hyphens and underscores",
    CODE: "text without spaces",
    CARD_TOKEN: "a card token from the card provider, such as pm_card_visa",
    MAIL_ADDRESS: "an email address, such as ada@example.com",
}
"""What an error message says in place of the pattern."""

_UNFIT = re.compile(rf"[{_CONTROLS}\ud800-\udfff]")
_VISIBLE = re.compile(rf"[^{_INVISIBLE}]")


def one_line(text: str, *, longest: int) -> str:
    """Return any `text` as a LINE of at most `longest` characters.

    The result is empty if no visible character is left.
    """
    # Also cut before the search, so that a megabyte of text is not searched.
    line = " ".join(_UNFIT.sub(" ", text[: 4 * longest]).split())[:longest].rstrip()
    return line if _VISIBLE.search(line) else ""
