"""A card arrives as a token from its provider; its number and CVC are refused.

So no part of this system has to protect card data. Refused data is not read further, repeated or
logged.
"""

import re
from typing import Annotated

import msgspec

from cartwheel.contracts import text
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

_NUMBER = re.compile(rb'"?[0-9](?:[ -]?[0-9]){11,18}"?')
"""12 to 19 digits, as JSON: a card number, possibly mistyped."""


class CardDataNotAccepted(Invalid):
    """The payment brings a card's own data in place of a token.

    Send the card to its provider, and pay with the token that it makes.
    """

    code = "card_data_not_accepted"


_CARD_DATA = frozenset({"number", "cvc", "exp_month", "exp_year", "card"})
"""Fields of a card. Stripe's API nests them in `card`."""


class _Payment(msgspec.Struct):
    method: dict[str, msgspec.Raw]


def refuse_card_data(body: bytes) -> None:
    """Explain an invalid payment that holds a card instead of a token.

    Raises:
        CardDataNotAccepted: it holds card data.
    """
    try:
        method = msgspec.json.decode(body, type=_Payment).method
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    token = bytes(method.get("token", msgspec.Raw()))
    if method.keys() & _CARD_DATA or _NUMBER.fullmatch(token):
        raise CardDataNotAccepted(
            "Card data is not accepted here. Send a token from the card provider instead.",
            errors=[
                FieldError(
                    "method", "`method` takes a token from the card provider, not card data."
                )
            ],
        )
