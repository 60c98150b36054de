"""An order's parcels and returns as they are stored, and how many pieces each of them counts."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from cartwheel.contracts.parcels import (
    CallOff,
    Pieces,
    ReturnStatus,
    ReturnView,
    ShipmentStatus,
    ShipmentView,
)

Quantities = Counter[str]
"""Numbers of pieces, by product id."""


class Shipment(ShipmentView, frozen=True, kw_only=True):
    """A parcel. `requests` are those that recorded and changed it: the hash of each one's body."""

    requests: dict[str, str]

    def view(self) -> ShipmentView:
        return msgspec.convert(self, ShipmentView, from_attributes=True)


class Return(ReturnView, frozen=True, kw_only=True):
    """A return. `requests` are those that made and changed it: the hash of each one's body."""

    requests: dict[str, str]

    def view(self) -> ReturnView:
        return msgspec.convert(self, ReturnView, from_attributes=True)

    @property
    def arrived(self) -> Quantities:
        return Counter({line.product_id: line.restocked + line.written_off for line in self.lines})


class CalledOff(CallOff, frozen=True, kw_only=True):
    """Pieces that are called off. `requests` has the one that did it, if it had a key."""

    requests: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def view(self) -> CallOff:
        return msgspec.convert(self, CallOff, from_attributes=True)


def quantities(lines: Iterable[Pieces]) -> Quantities:
    """Return how many pieces `lines` have of each product, added up."""
    counted: Quantities = Counter()
    for line in lines:
        counted[line.product_id] += line.quantity
    return counted


def shipped(shipments: Sequence[Shipment]) -> Quantities:
    """Return the pieces that have left and have not come back undelivered."""
    return _of(each for each in shipments if each.status is not ShipmentStatus.FAILED)


def delivered(shipments: Sequence[Shipment]) -> Quantities:
    return _of(each for each in shipments if each.status is ShipmentStatus.DELIVERED)


def called_off(call_offs: Sequence[CallOff]) -> Quantities:
    return quantities(line for each in call_offs for line in each.lines)


def returned(returns: Sequence[Return]) -> Quantities:
    """Return the pieces that have arrived with returns."""
    counted: Quantities = Counter()
    for each in returns:
        if each.status is ReturnStatus.RECEIVED:
            counted += each.arrived
    return counted


def on_their_way_back(returns: Sequence[Return]) -> Quantities:
    """Return the pieces of returns that are neither declined nor received."""
    open_ = (ReturnStatus.REQUESTED, ReturnStatus.ACCEPTED)
    counted: Quantities = Counter()
    for each in returns:
        if each.status in open_:
            counted += Counter({line.product_id: line.quantity for line in each.lines})
    return counted


def _of(shipments: Iterable[Shipment]) -> Quantities:
    return quantities(line for shipment in shipments for line in shipment.lines)
