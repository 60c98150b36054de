"""The stored fields that the promises need.

A missing field gets its default: documents may be older or newer than this code.
"""

from datetime import datetime
from typing import TypeVar

import msgspec

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import CardTokenInvalid, Failure
from cartwheel.kernel.mongodb import Document, from_document

Kind = TypeVar("Kind", bound=msgspec.Struct)


class Unreadable(Exception):
    """A document does not have the shape that its service stores."""


class Unpublished(msgspec.Struct, frozen=True, kw_only=True):
    """An event in an outbox."""

    id: str
    type: str
    sequence: int
    time: datetime


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an order, a parcel or a reservation. Only reservations have the other counts."""

    product_id: str
    quantity: int
    shipped: int = 0
    called_off: int = 0
    restocked: int = 0


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    available: int
    reserved: int = 0
    sold: int = 0
    unshipped: int = 0


class Product(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    initial_stock: int
    stock: Stock
    sequence: int = 0
    outbox: tuple[Unpublished, ...] = ()


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A background job's failures on a document so far. A change of the document removes them."""

    since: datetime
    failures: int = 0
    error: str = ""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation. Its id is the order's id."""

    id: str
    status: str
    lines: tuple[Line, ...]
    held_at: datetime
    owner: str | None = None
    slot: int | None = None
    order_sequence: int = 0
    sequence: int = 0
    outbox: tuple[Unpublished, ...] = ()


class Shipment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    lines: tuple[Line, ...]


class CallOff(msgspec.Struct, frozen=True, kw_only=True):
    """Pieces that are never shipped. `amount` is refunded by `refund_id`, or was not captured."""

    id: str
    lines: tuple[Line, ...]
    amount: Money | None = None
    refund_id: str | None = None


class ReturnedLine(msgspec.Struct, frozen=True, kw_only=True):
    product_id: str
    quantity: int
    restocked: int = 0
    written_off: int = 0


class Return(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: str
    lines: tuple[ReturnedLine, ...]


class Fulfillment(msgspec.Struct, frozen=True, kw_only=True):
    status: str = "UNFULFILLED"


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a timeline."""

    type: str
    at: datetime


class GivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """A refund, or a lost dispute, as its order counts it."""

    id: str
    payment_id: str
    amount: Money
    status: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order. Older versions counted refunds by payment, in `refunded_payments`."""

    id: str
    status: str
    total: Money
    lines: tuple[Line, ...]
    updated_at: datetime
    expires_at: datetime | None = None
    declined_payments: tuple[str, ...] = ()
    failed_payments: tuple[str, ...] = ()
    begun_payments: tuple[str, ...] = ()
    canceled_payments: tuple[str, ...] = ()
    cash_until: datetime | None = None
    refunds_due: tuple[str, ...] = ()
    refunded_payments: tuple[str, ...] = ()
    refunds: tuple[GivenBack, ...] = ()
    paid_by: str | None = None
    authorized_by: str | None = None
    fulfillment: Fulfillment = Fulfillment()
    shipments: tuple[Shipment, ...] = ()
    called_off: tuple[CallOff, ...] = ()
    returns: tuple[Return, ...] = ()
    sequence: int = 0
    timeline: tuple[Happened, ...] = ()
    outbox: tuple[Unpublished, ...] = ()

    @property
    def due(self) -> int:
        """What is to be captured: the total, without what was called off before."""
        spared = (each.amount for each in self.called_off if each.refund_id is None)
        return self.total.amount - sum(amount.amount for amount in spared if amount)


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund. `provider` makes it, if it is not the payment's own provider.

    `at` is when it was decided. Older refunds lack it. Money that was paid `by_other_means` is in
    nobody's ledger.
    """

    id: str
    amount: Money
    status: str
    provider: str | None = None
    at: datetime | None = None
    by_other_means: bool = False


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    amount: Money
    status: str
    at: datetime


class NextAction(msgspec.Struct, frozen=True, kw_only=True):
    """What a payment waits for, and until when."""

    expires_at: datetime


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment. `attempt` is the number of the order's attempt that it used, if any.

    `captured` is the amount that the provider reported, which may differ from `amount`.
    `authorized` is reserved until `capture_before`; payments next looks at it at `act_at`.
    """

    id: str
    order_id: str
    amount: Money
    provider: str
    status: str
    live: bool
    updated_at: datetime
    attempt: int | None = None
    counted: bool = False  # in older payments, in place of `attempt`
    captured: Money | None = None
    authorized: Money | None = None
    capture_before: datetime | None = None
    act_at: datetime | None = None
    failure: Failure | None = None
    next_action: NextAction | None = None
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    retry: Retry | None = None
    sequence: int = 0
    outbox: tuple[Unpublished, ...] = ()

    @property
    def was_declined(self) -> bool:
        return self.status == "REJECTED" and (self.counted or self.attempt is not None)

    @property
    def concerns_order(self) -> bool:
        """Return whether the order is told about it. It is not if the token was refused."""
        return self.failure is None or self.failure.code != CardTokenInvalid.code


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """A request to send a FAILED mail again."""

    by: str
    at: datetime


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail. Its id is the id of the event that it reports; `reason` is that event's type.

    The replica that is sending it has claimed it, for half a minute at a time.
    `sequence` is 1 in older mails, which lack the field and have had at most one event.
    """

    id: str
    order_id: str
    reason: str
    status: str
    created_at: datetime
    claimed_until: datetime | None = None
    sent_at: datetime | None = None
    sends: int = 1
    failure: str | None = None
    resends: tuple[Resend, ...] = ()
    sequence: int = 1
    outbox: tuple[Unpublished, ...] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a document that the first look needs. Its id, or `order_id`, is the order's."""

    id: str
    order_id: str | None = None
    retry: Retry | None = None
    sends: int = 1
    resends: tuple[Resend, ...] = ()
    webhooks_disbelieved: int = 0


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the provider's ledger.

    Its kind is `charge`, `decline`, `cancellation`, `challenge`, `refund` or `refund_failed`, or
    `dispute_opened`, `dispute_won` or `dispute_lost`. An `authorization` ends in a `capture`, a
    `void` or a `lapse`.
    """

    id: int
    at: datetime
    kind: str
    payment_id: str
    amount: int = 0
    currency: str = ""
    refund_id: str | None = None
    dispute_id: str | None = None


def read(document: Document, kind: type[Kind]) -> Kind:
    """Return `document` as `kind`.

    Raises:
        Unreadable: it does not have that shape. The message names the document.
    """
    try:
        return from_document(document, kind)
    except msgspec.ValidationError as error:
        name = f"{kind.__name__.lower()} {document.get('_id')}"
        raise Unreadable(f"{name} does not have the expected shape: {error}") from None
