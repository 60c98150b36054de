"""Money: integer minor units and an ISO 4217 currency. Never a float."""

from typing import Annotated

import msgspec

from cartwheel.contracts import text

MAX_AMOUNT = 10**12
"""Larger amounts are typing errors. The sum of a thousand such lines still fits into 64 bits."""

Currency = Annotated[str, msgspec.Meta(pattern=text.CURRENCY, examples=["USD"])]


class CurrencyMismatch(ValueError):
    """Amounts in different currencies were added or compared."""


class Money(msgspec.Struct, frozen=True):
    """`Money(1999, "USD")` is $19.99; `Money(1999, "JPY")` is ¥1999."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    currency: Currency

    def __add__(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency}")
        return Money(self.amount + other.amount, self.currency)

    def __mul__(self, times: int) -> "Money":
        return Money(self.amount * times, self.currency)
