"""Which pages may show the card field, and to which addresses customers are sent back."""

import re

_ORIGIN = re.compile(r"https?://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")
_ADDRESS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]{1,2000}")
"""RFC 3986 without a fragment. A backslash or a space, which browsers read in ways of their own, is
in no address."""


class Origins:
    """The origins of a shop's pages, as a setting lists them: "https://shop.example".

    Raises:
        ValueError: the text is not such a list.
    """

    def __init__(self, text: str) -> None:
        self._origins = tuple(part.strip() for part in text.split(",") if part.strip())
        for origin in self._origins:
            # As browsers write them, because they are compared letter by letter.
            if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.fullmatch(origin):
                raise ValueError(
                    "Expected origins such as https://shop.example, http://127.0.0.1:8000: "
                    "lower case, without the scheme's own port, without a path"
                )

    def __contains__(self, origin: object) -> bool:
        return origin in self._origins

    def of(self, address: str) -> str | None:
        """Return which of them `address` belongs to; None if it is another's or not an address."""
        if not _ADDRESS.fullmatch(address):
            return None
        return next(
            (
                origin
                for origin in self._origins
                if address == origin or address.startswith((f"{origin}/", f"{origin}?"))
            ),
            None,
        )


NOBODY = Origins("")
