"""A card comes as the token that its provider has made of it; its number and CVC are refused.

So nothing of this system has to protect card data. What is refused is not looked at any further,
and neither repeated nor logged.
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
"""12 to 19 digits, as JSON, whether they are those of a card or mistyped."""


class CardDataNotAccepted(Invalid):
    """The payment brings a card's own data in place of a token.

    Send the card to its provider, and pay with the token that it makes.
    """

    code = "card_data_not_accepted"


_CARD_DATA = frozenset({"number", "cvc", "exp_month", "exp_year", "card"})
"""Fields of a card; Stripe's API has them within `card`."""


class _Payment(msgspec.Struct):
    method: dict[str, msgspec.Raw]


def refuse_card_data(body: bytes) -> None:
    """Look whether a payment that is not valid brings a card in place of a token.

    Raises:
        CardDataNotAccepted: it does.
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
