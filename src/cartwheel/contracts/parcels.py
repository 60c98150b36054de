"""What becomes of an order's goods: its parcels, returns, and pieces that are called off."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from cartwheel.contracts import text
from cartwheel.contracts.money import Money

Carrier = Annotated[str, Meta(min_length=1, max_length=100, pattern=text.LINE)]
Tracking = Annotated[str, Meta(min_length=1, max_length=100, pattern=text.LINE)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=text.LINE)]


class Pieces(msgspec.Struct, frozen=True, kw_only=True):
    """So many pieces of one of the order's lines. An order has one line for each product."""

    product_id: str
    quantity: int


class ShipmentStatus(StrEnum):
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class ShipmentView(msgspec.Struct, frozen=True, kw_only=True):
    """A parcel. `FAILED`: it could not be delivered, and its pieces are back on the shelf."""

    id: str
    lines: list[Pieces]
    status: ShipmentStatus
    shipped_at: datetime
    carrier: str | None = None
    tracking: str | None = None
    delivered_at: datetime | None = None
    failed_at: datetime | None = None


class CallOff(msgspec.Struct, frozen=True, kw_only=True):
    """Pieces of an order that are never shipped.

    The refund of their price has the id `refund_id`. There is none if the whole order was refunded
    before, or if the money is only reserved: then `amount` is not captured.
    """

    id: str
    lines: list[Pieces]
    reason: str
    at: datetime
    refund_id: str | None = None
    amount: Money | None = None


class ReturnStatus(StrEnum):
    REQUESTED = "REQUESTED"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"
    RECEIVED = "RECEIVED"


class ReturnedLine(msgspec.Struct, frozen=True, kw_only=True):
    """The pieces of a line that the customer returns, and how many arrived.

    Restocked pieces can be sold again. Pieces that are written off stay sold.
    """

    product_id: str
    quantity: int
    restocked: int = 0
    written_off: int = 0


class ReturnView(msgspec.Struct, frozen=True, kw_only=True):
    """A return. `note` is what the shop says about it.

    Once it is received, the refund with the id `refund_id` pays back the price of the pieces that
    arrived, `amount`. There is none if nothing arrived, or if no money is left.
    """

    id: str
    lines: list[ReturnedLine]
    reason: str
    status: ReturnStatus
    requested_at: datetime
    note: str | None = None
    decided_at: datetime | None = None
    received_at: datetime | None = None
    refund_id: str | None = None
    amount: Money | None = None
