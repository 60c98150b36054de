"""The parameters of lists."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar.params import QueryParameter
from msgspec import Meta

from cartwheel.contracts import text
from cartwheel.contracts.money import MAX_AMOUNT, Money
from cartwheel.kernel.errors import FieldError, Invalid

Limit = Annotated[
    int, QueryParameter(name="limit", ge=1, le=100, description="How many items at most")
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor", max_length=200, description="The `next_cursor` of the page before"
    ),
]
OfEmail = Annotated[
    str | None,
    QueryParameter(
        name="email",
        max_length=254,
        pattern=text.MAIL_ADDRESS,
        description="Only with this mail address, in full; for administrators",
    ),
]
Amount = Annotated[
    int | None,
    QueryParameter(
        name="amount",
        ge=0,
        le=MAX_AMOUNT,
        description="Only of this amount, in minor units of `currency`",
    ),
]
InCurrency = Annotated[
    str | None,
    QueryParameter(name="currency", pattern=text.CURRENCY, description="The currency of `amount`"),
]
_Moment = Annotated[datetime, Meta(tz=True)]

LONGEST_TIME = 40
"""Characters of a time in a query: RFC 3339 needs fewer."""


def time_parameter(name: str, description: str) -> QueryParameter:
    """Return a parameter that is a time; `moment` reads it."""
    return QueryParameter(
        name=name, max_length=LONGEST_TIME, format="date-time", description=description
    )


def moment(name: str, given: str | None) -> datetime | None:
    """Return the time in a parameter, by RFC 3339.

    Raises:
        Invalid: it is none, or has no zone, so that nobody knows which moment it is.
    """
    if given is None:
        return None
    try:
        return msgspec.convert(given, _Moment)
    except msgspec.ValidationError:
        detail = (
            f"`{name}` must be a time with its zone, such as 2026-11-30T12:00:00Z. "
            "In a query, write %2B for +."
        )
        raise Invalid(detail, errors=[FieldError(name, detail)]) from None


def exactly(amount: int | None, currency: str | None) -> Money | None:
    """Return the amount that two parameters name.

    Raises:
        Invalid: there is only one of them.
    """
    if amount is not None and currency is not None:
        return Money(amount, currency)
    if amount is None and currency is None:
        return None
    lacking, other = ("currency", "amount") if currency is None else ("amount", "currency")
    detail = f"`{lacking}` is needed with `{other}`."
    raise Invalid(detail, errors=[FieldError(lacking, detail)])
