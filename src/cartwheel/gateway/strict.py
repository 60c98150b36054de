"""Parts of contracts as clients may send them.

Services ignore fields that they do not know, so that they can be upgraded one at a time; the API
refuses them, so that typing errors are told. Services also read what was stored under older rules
for text; the API takes only what fits today's.
"""

from typing import Annotated

from msgspec import Meta

from cartwheel.contracts import fulfilment, money, orders, parcels, products, text

_Long = Annotated[str, Meta(min_length=1, max_length=200, pattern=text.LINE)]
_Short = Annotated[str, Meta(min_length=1, max_length=20, pattern=text.LINE)]
_Country = Annotated[str, Meta(pattern=text.COUNTRY, examples=["DE"])]


class Price(money.Money, frozen=True, forbid_unknown_fields=True):
    """An amount in the currency's minor units: 1999 and USD are $19.99."""


class OrderItem(products.Item, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many pieces of a product."""


class SomePieces(parcels.Pieces, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many pieces of one of the order's lines."""

    product_id: Annotated[str, Meta(min_length=1, max_length=100)]
    quantity: products.Quantity


class ArrivedPieces(fulfilment.Received, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The pieces of a product that arrived: those to sell again, and those to write off."""


class NewShippingAddress(
    orders.ShippingAddress, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Where the goods go."""

    name: _Long
    street: _Long
    number: _Short
    city: _Long
    zip_code: _Short
    country: _Country | None = None
