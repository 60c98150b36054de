"""Parts of contracts as clients may send them.

Services ignore fields that they do not know, so that they can be upgraded one at a time; the API
refuses them, so that typing errors are told.
"""

from cartwheel.contracts import orders, products
from cartwheel.kernel import money


class Money(money.Money, frozen=True, forbid_unknown_fields=True):
    """An amount in the currency's minor units: 1999 and USD are $19.99."""


class Item(products.Item, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many pieces of a product."""


class ShippingAddress(
    orders.ShippingAddress, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Where the goods go."""
