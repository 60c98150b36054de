"""To which addresses customers' browsers are sent after they have approved a payment.

Without this list, anybody could make links that begin at the provider and end at their own page
(an open redirect: CWE-601, https://cwe.mitre.org/data/definitions/601.html).
"""

import re

_URL = re.compile(
    r"(?P<origin>https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)"
    r"(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?"
)
"""An absolute URL (RFC 3986) in ASCII, without user, password and fragment."""

_LEADS_UP = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|$)|%2f|%5c", re.IGNORECASE)
"""Segments that a browser removes, and separators in disguise."""


class ReturnUrls:
    """Addresses as a setting lists them: "https://shop.example/pay, http://localhost:3000".

    What is below one of them is allowed: the same scheme, host and port, and the same path or one
    that continues it after a slash.

    Raises:
        ValueError: the text is not such a list.
    """

    def __init__(self, text: str) -> None:
        self._allowed: list[tuple[str, str]] = []
        for part in filter(None, map(str.strip, text.split(","))):
            found = _URL.fullmatch(part)
            if found is None or found["query"] is not None or _LEADS_UP.search(found["path"]):
                raise ValueError(
                    "Expected addresses such as https://shop.example/pay, http://localhost:3000"
                )
            self._allowed.append((found["origin"], found["path"].rstrip("/")))

    def __contains__(self, url: str) -> bool:
        found = _URL.fullmatch(url)
        if found is None or _LEADS_UP.search(found["path"]):
            return False
        path = found["path"].rstrip("/")
        return any(
            found["origin"] == origin and (path == below or path.startswith(f"{below}/"))
            for origin, below in self._allowed
        )


NOWHERE = ReturnUrls("")
LOCAL = ReturnUrls("http://localhost:3000, http://localhost:8000, http://127.0.0.1:8000")
"""Where front ends usually run while they are developed, and where `make up` serves the API."""
