"""Amounts of money as people write them: 19.99 USD."""

from decimal import Decimal

from babel.numbers import get_currency_precision

from cartwheel.contracts.money import Money


def written(money: Money) -> str:
    """Return `money` with its currency's decimals, for example `19.99 USD`."""
    decimals = get_currency_precision(money.currency)
    return f"{Decimal(money.amount).scaleb(-decimals)} {money.currency}"
