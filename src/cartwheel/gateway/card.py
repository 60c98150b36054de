"""A card arrives as a token from its provider; its number and CVC are refused.

So no part of this system has to protect card data. Refused data is not read further, repeated or
logged. A route says which fields of its body customers may have typed a number into:

    @post("/cancel", opt=described(...) | card_free("reason"))
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast

import msgspec

from cartwheel.contracts import text
from cartwheel.gateway.card_numbers import holds_card_number
from cartwheel.kernel.errors import FieldError, Invalid

Token = Annotated[
    str,
    msgspec.Meta(
        pattern=text.CARD_TOKEN,
        max_length=100,
        description="Made by the card provider of the customer's card, with the publishable key",
        examples=["pm_card_visa"],
    ),
]

CARD_FREE = "card_free"
"""A route's option; see `card_free`."""

_EVERYTHING = ("",)


class CardDataNotAccepted(Invalid):
    """The request brings a card's own data, in place of a token or in a text.

    Send the card to its provider, and pay with the token that it makes. Leave card numbers out of
    texts.
    """

    code = "card_data_not_accepted"


def card_free(*fields: str) -> dict[str, Any]:
    """Return a route's `opt`: no text in these `fields` of its body may hold a card number.

    Without `fields`, no text in the body may, at any depth.
    """
    return {CARD_FREE: fields or _EVERYTHING}


def refuse_card_numbers(body: Any, fields: Sequence[str]) -> None:
    """Check the `fields` of a decoded body.

    Raises:
        CardDataNotAccepted: a text in them holds a card number. Its place is named.
    """
    content: Any = msgspec.to_builtins(body)
    if content is None:  # a body that was left out
        return
    for field in fields:
        value = content.get(field) if field else content
        for place, found in _texts(value, field):
            if _holds_card_number(found):
                raise CardDataNotAccepted(
                    f"`{place}` holds a card number, which is not accepted here.",
                    errors=[FieldError(place, f"`{place}` must not hold a card number.")],
                )


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield each text in `value`, with its place as other refusals write it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[Any]", value)):
            yield from _texts(item, f"{place}[{number}]")
    elif isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from _texts(item, f"{place}.{name}" if place else name)


_ID = re.compile(r"[a-z]{2,4}_[0-9a-f]{32}")
"""An id or a token. One in some hundreds holds a card number by chance."""


def _holds_card_number(found: str) -> bool:
    return holds_card_number(found) and not _ID.fullmatch(found)


_CARD_DATA = frozenset({"number", "cvc", "exp_month", "exp_year", "card"})
"""Fields of a card. Stripe's API nests them in `card`."""


_TOKEN_LIKE_A_NUMBER = re.compile(rb'"?[0-9](?:[ -]?[0-9]){11,18}"?')
"""12 to 19 digits, as JSON: a card number, possibly mistyped."""


class _Payment(msgspec.Struct):
    method: dict[str, msgspec.Raw]


def refuse_card_data(body: bytes) -> None:
    """Explain an invalid body of a request about payments that brings a card.

    Raises:
        CardDataNotAccepted: its `method` has fields of a card, or it has a card number anywhere,
            also as a number or as the name of a field.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if _pays_with_a_card(body):
        raise CardDataNotAccepted(
            "Card data is not accepted here. Send a token from the card provider instead.",
            errors=[
                FieldError(
                    "method", "`method` takes a token from the card provider, not card data."
                )
            ],
        )
    if any(map(_holds_card_number, _everything(content))):
        detail = "The body holds a card number, which is not accepted here."
        raise CardDataNotAccepted(detail, errors=[FieldError("", detail)])


def _pays_with_a_card(body: bytes) -> bool:
    try:
        method = msgspec.json.decode(body, type=_Payment).method
    except (msgspec.DecodeError, RecursionError):
        return False
    token = bytes(method.get("token", msgspec.Raw()))
    return not _CARD_DATA.isdisjoint(method) or _TOKEN_LIKE_A_NUMBER.fullmatch(token) is not None


def _everything(body: Any) -> Iterator[str]:
    """Yield all texts and whole numbers in `body`, and the names of fields."""
    left = [body]  # not by recursion: a stranger chooses the depth
    while left:
        value = left.pop()
        if isinstance(value, str | int):
            yield str(value)
        elif isinstance(value, list | tuple):
            left += cast("Sequence[Any]", value)
        elif isinstance(value, dict):
            left += cast("dict[str, Any]", value).items()
