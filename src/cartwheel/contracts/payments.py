"""What payments answers and publishes: payments, their history, and the providers' verdicts."""

from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import ShippingAddress
from cartwheel.kernel import Created, Event, Page, Request, event, request
from cartwheel.kernel.errors import Conflict, Invalid, NotFound


class PaymentStatus(StrEnum):
    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    PAID = "PAID"
    REJECTED = "REJECTED"
    REFUNDED = "REFUNDED"


class Method(StrEnum):
    CARD = "card"
    CASH_ON_DELIVERY = "cash_on_delivery"


class CardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of a card."""

    brand: str
    last4: str


def read_card(told: object) -> CardSummary | None:
    """Return the card that a provider tells of. It is only for showing, so where it cannot be read
    it is None, and the verdict beside it counts all the same."""
    try:
        return msgspec.convert(told, CardSummary)
    except msgspec.ValidationError:
        return None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a payment was rejected: the provider's code, and words for the customer."""

    code: str
    message: str


class RefundStatus(StrEnum):
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money on its way back; PENDING until the provider has confirmed it.

    `provider` is who has captured the money, where that is not the payment's own provider.
    """

    id: str
    amount: Money
    reason: str
    status: RefundStatus = RefundStatus.PENDING
    provider: str | None = None


class PaymentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a payment."""

    type: str
    at: datetime
    by: str


class PaymentView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    order_id: str
    user_id: str
    amount: Money
    method: Method
    provider: str
    provider_reference: str | None
    card: CardSummary | None
    status: PaymentStatus
    failure: Failure | None
    timeline: list[PaymentEntry]
    created_at: datetime
    updated_at: datetime
    refunds: list[Refund] = msgspec.field(default_factory=list[Refund])


class PaymentNotFound(NotFound):
    code = "payment_not_found"


class PaymentInProgress(Conflict):
    """The order already has a payment that is running, waiting or done."""

    code = "payment_in_progress"


class CardTokenInvalid(Invalid):
    """The provider does not know the card's token, or it was used before. Nothing was charged."""

    code = "card_token_invalid"


class NotConfirmable(Conflict):
    """Only a cash payment that is still awaited can be confirmed by hand."""

    code = "payment_not_confirmable"


class CardToken(msgspec.Struct, frozen=True, kw_only=True, tag="card", tag_field="type"):
    """A card, by the token that its provider made of it for the customer."""

    token: str


class CashOnDelivery(
    msgspec.Struct, frozen=True, kw_only=True, tag="cash_on_delivery", tag_field="type"
):
    """Paid to whoever delivers; an admin confirms it."""


@request("create_payment", service="payments", coalesced=False)
class CreatePayment(Request[Created[PaymentView]], frozen=True, kw_only=True):
    """Pays an order. The amount is always the order's.

    Repeatable: `request_id` with the same `body_hash` answers the payment made first, or refuses
    with `PaymentInProgress` while that one is still running. A decline is an answer, not a refusal;
    a token that the provider does not take is `CardTokenInvalid`, and uses up no attempt.
    `payment_id` names a new payment; payments makes an id where an older gateway gives none.
    """

    request_id: str
    body_hash: str
    actor: Actor
    order_id: str
    method: CardToken | CashOnDelivery
    shipping_address: ShippingAddress | None = None
    payment_id: str | None = None


@request("confirm_payment", service="payments")
class ConfirmPayment(Request[PaymentView], frozen=True, kw_only=True):
    """An admin has the cash. Repeatable: a payment that is confirmed already is answered."""

    payment_id: str
    actor: Actor


@request("report_verdict", service="payments")
class ReportVerdict(Request[None], frozen=True, kw_only=True):
    """A provider's webhook, its signature checked, says how a payment ended. Repeatable.

    It is believed only if it matches the payment; a field left out does not match. Otherwise the
    provider is asked what has really happened. `card` is for showing only.
    """

    provider: str
    payment_id: str
    captured: bool
    failure: Failure | None = None
    reference: str | None = None
    method: Method | None = None
    amount: Money | None = None
    card: CardSummary | None = None
    actor: Actor | None = None


@request("get_payment", service="payments", read=True)
class GetPayment(Request[PaymentView], frozen=True, kw_only=True):
    """Somebody else's payment is `PaymentNotFound`, except for an admin."""

    payment_id: str
    actor: Actor


@request("list_payments", service="payments", read=True)
class ListPayments(Request[Page[PaymentView]], frozen=True, kw_only=True):
    """The payment history, newest first; an admin's of `user_id`, or everybody's, and for others
    their own."""

    limit: int
    cursor: str | None = None
    order_id: str | None = None
    status: PaymentStatus | None = None
    user_id: str | None = None
    actor: Actor | None = None


@event("payment.pending.v1", consumers=("orders",))
class PaymentPending(Event, frozen=True, kw_only=True):
    """A payment was begun whose verdict will come later.

    `shipping_address` is where the payment says the goods go. It is None where the order says so;
    and where an older version began the payment, since that had orders store the address first.
    """

    payment_id: str
    order_id: str
    method: Method
    shipping_address: ShippingAddress | None = None


@event("payment.captured.v1", consumers=("orders",))
class PaymentCaptured(Event, frozen=True, kw_only=True):
    """The money was taken. `shipping_address` is as in `PaymentPending`."""

    payment_id: str
    order_id: str
    amount: Money
    shipping_address: ShippingAddress | None = None


@event("payment.declined.v1", consumers=("orders",))
class PaymentDeclined(Event, frozen=True, kw_only=True):
    """No money was taken. `counts` tells an issuer's no from a failure on the way to the issuer.

    `shipping_address` is as in `PaymentPending`.
    """

    payment_id: str
    order_id: str
    failure: Failure
    counts: bool = True
    shipping_address: ShippingAddress | None = None


@event("payment.refunded.v1", consumers=("orders",))
class PaymentRefunded(Event, frozen=True, kw_only=True):
    """The provider has given money back."""

    payment_id: str
    order_id: str
    refund_id: str
    amount: Money


EVENTS: tuple[type[Event], ...] = (
    PaymentPending,
    PaymentCaptured,
    PaymentDeclined,
    PaymentRefunded,
)
