"""The requests and events of payments: payments, their history, and the providers' verdicts."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from cartwheel.contracts import text
from cartwheel.contracts.fulfilment import CaptureFailed, GiveUpCash
from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    GetPayableOrder,
    GetPriceOfPieces,
    Pieces,
    ShippingAddress,
)
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Created, Event, Page, Request, event, request
from cartwheel.kernel.errors import BadCursor, Conflict, Forbidden, Invalid, NotFound


class PaymentStatus(StrEnum):
    """REQUIRES_ACTION: the provider waits for its customer, as `next_action` says.

    AUTHORIZED: the provider has reserved the money, and takes it when the order is shipped.

    PARTIALLY_REFUNDED and REFUNDED are PAID payments of which some or all was refunded.
    """

    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    AUTHORIZED = "AUTHORIZED"
    PAID = "PAID"
    REJECTED = "REJECTED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"
    CANCELED = "CANCELED"


MOST_REFUNDS = 100
"""An administrator makes no more refunds of one payment. What an order owes is refunded anyway."""

RefundReason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=text.LINE)]


class Method(StrEnum):
    CARD = "card"
    WALLET = "wallet"
    CASH_ON_DELIVERY = "cash_on_delivery"


class CardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The only card details that are stored."""

    brand: str
    last4: str


def read_card(told: object) -> CardSummary | None:
    """Return the card that a provider describes, or None if the description cannot be read.

    The card is only displayed, so an unreadable one must not stop the verdict that it came with.
    """
    try:
        return msgspec.convert(told, CardSummary)
    except msgspec.ValidationError:
        return None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a payment was rejected: the provider's code, and a message for the customer."""

    code: str
    message: str


class RefundStatus(StrEnum):
    """A refund is PENDING until the provider has confirmed it. It may fail even after that.

    The amount of a FAILED or CANCELED refund can be refunded again.
    """

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund.

    `provider` names the provider that captured the money, if it is not the payment's own. `at` is
    when it was decided; refunds of an older version lack it. Money that was paid back
    `by_other_means`, such as a bank transfer, did not go through the provider.
    """

    id: str
    amount: Money
    reason: str
    status: RefundStatus = RefundStatus.PENDING
    provider: str | None = None
    failure: Failure | None = None
    at: datetime | None = None
    by_other_means: bool = False


class DisputeStatus(StrEnum):
    NEEDS_RESPONSE = "NEEDS_RESPONSE"
    WON = "WON"
    LOST = "LOST"


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's bank takes back the money of a payment, until the dispute is WON or for good.

    `id`, `amount` and `reason` are the provider's. The amount may be more than is left.
    """

    id: str
    amount: Money
    status: DisputeStatus
    reason: str
    at: datetime
    closed_at: datetime | None = None


class PaymentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a payment. `because_of` is the event that caused it, if any."""

    type: str
    at: datetime
    by: str
    because_of: str | None = None


class Redirect(msgspec.Struct, frozen=True, kw_only=True, tag="redirect", tag_field="type"):
    """The customer opens `url` and approves or refuses the payment there, before `expires_at`.

    Whoever knows the address may answer in the customer's place, so no event or log has it.
    """

    url: str
    expires_at: datetime


NextAction = Redirect
"""What a payment waits for. It is told apart by its `type`, so others can join it."""


class PaymentView(msgspec.Struct, frozen=True, kw_only=True):
    """A payment. `authorized` was reserved before it was captured, until `capture_before`."""

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
    disputes: list[Dispute] = msgspec.field(default_factory=list[Dispute])
    authorized: Money | None = None
    capture_before: datetime | None = None
    next_action: NextAction | None = None


class PaymentNotFound(NotFound):
    """There is no payment with this id, or it belongs to another user.

    Check the id, and who is logged in.
    """

    code = "payment_not_found"


class PaymentInProgress(Conflict):
    """The order has a payment that is running, awaited or done.

    List the order's payments. Wait for the verdict of the one that is there, or cancel it.
    """

    code = "payment_in_progress"


class CardTokenInvalid(Invalid):
    """The card provider does not know the token, or it was used before. Nothing was charged, and no
    attempt is used up.

    Have the provider make a new token, and pay with it under a new `Idempotency-Key`.
    """

    code = "card_token_invalid"


class NotConfirmable(Conflict):
    """Only cash that is still awaited can be confirmed.

    Read the payment: its `method` and `status` say why.
    """

    code = "payment_not_confirmable"


class NotCancelable(Conflict):
    """The payment has ended or is authorized, so it cannot be canceled.

    Read the payment to see how it ended. Cancel the order to get captured or reserved money back.
    """

    code = "payment_not_cancelable"


class RefundNotFound(NotFound):
    """The payment has no such refund.

    List the payment's refunds by reading the payment.
    """

    code = "refund_not_found"


class RefundExceedsCapture(Conflict):
    """Less is left of the captured money than is to be refunded. Nothing is refunded.

    `left` is what can be refunded at most: what was captured, less all refunds that did not fail,
    and less disputes that are open or lost.
    """

    code = "refund_exceeds_capture"


class PaymentNotCaptured(Conflict):
    """No money was captured for the payment, so there is nothing to refund.

    Read the payment: its `status` says how it ended. One that is awaited can be canceled.
    """

    code = "payment_not_captured"


class PaymentDisputed(Conflict):
    """The customer's bank disputes the payment. Nothing is refunded until that is decided.

    Answer the dispute at the provider. Then read the payment's `disputes`, and try again.
    """

    code = "payment_disputed"


class TooManyRefunds(Conflict):
    """The payment has as many refunds as a payment may have.

    Cancel the order to refund all that is left.
    """

    code = "too_many_refunds"


class RefundInvalid(Invalid):
    """What is to be refunded is not clear: the amount has another currency than the payment, or
    there are both an amount and lines.

    Send one of the two, or neither to refund all that is left.
    """

    code = "refund_invalid"


class ReturnUrlRefused(Invalid):
    """The customer's browser is not sent to this address after they approved a payment.

    Send one below an address that the shop allows (`RETURN_URLS`), or none.
    """

    code = "return_url_refused"


class CashNotAccepted(Invalid):
    """The shop takes no cash on delivery.

    Pay by card.
    """

    code = "cash_not_accepted"


class CardToken(msgspec.Struct, frozen=True, kw_only=True, tag="card", tag_field="type"):
    """A card, named by the token that the provider gave to the customer."""

    token: str


class Wallet(msgspec.Struct, frozen=True, kw_only=True, tag="wallet", tag_field="type"):
    """The customer approves the payment on the page of the provider's wallet."""


class CashOnDelivery(
    msgspec.Struct, frozen=True, kw_only=True, tag="cash_on_delivery", tag_field="type"
):
    """The customer pays in cash on delivery, and an admin confirms it."""


@request(
    "create_payment",
    service="payments",
    coalesced=False,
    refusals=(
        *GetPayableOrder.refusals,
        IdempotencyKeyReused,
        PaymentInProgress,
        CardTokenInvalid,
        CashNotAccepted,
        ReturnUrlRefused,
    ),
)
class CreatePayment(Request[Created[PaymentView]], frozen=True, kw_only=True):
    """Pay an order. The amount is always the order's total.

    Repeatable: the same `request_id` and `body_hash` return the first payment, or
    `PaymentInProgress` while that is still running. A decline is an answer, not a refusal. A token
    that the provider refuses is `CardTokenInvalid`, and does not count as an attempt.
    `payment_id` is the new payment's id. If an older gateway sends none, payments makes one. After
    an action, the customer's browser goes to `return_url`.
    """

    request_id: str
    body_hash: str
    actor: Actor
    order_id: str
    method: CardToken | Wallet | CashOnDelivery
    shipping_address: ShippingAddress | None = None
    payment_id: str | None = None
    return_url: str | None = None


@request(
    "confirm_payment",
    service="payments",
    refusals=(Forbidden, PaymentNotFound, NotConfirmable),
)
class ConfirmPayment(Request[PaymentView], frozen=True, kw_only=True):
    """Confirm that the cash was received. Repeatable: a confirmed payment stays as it is."""

    payment_id: str
    actor: Actor


@request(
    "cancel_payment",
    service="payments",
    refusals=(PaymentNotFound, NotCancelable, *GiveUpCash.refusals),
)
class CancelPayment(Request[PaymentView], frozen=True, kw_only=True):
    """Give up a payment that is awaited: its payer may, and an admin.

    The answer is how it has ended: a charge that its provider has made by then is PAID all the
    same. The order decides about cash, which is awaited at the door once the order is shipped.

    Repeatable: a canceled payment is answered, and so is the one that this `request_id` was to
    cancel, however it ended.
    """

    request_id: str
    payment_id: str
    actor: Actor


@request("report_verdict", service="payments", refusals=(Forbidden, PaymentNotFound))
class ReportVerdict(Request[None], frozen=True, kw_only=True):
    """Report the outcome of a payment from a webhook with a valid signature. Repeatable.

    The provider is asked for the real outcome, unless the report says what is stored already. One
    that does not match the payment is counted; a missing field does not match.
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


@request("report_authorization", service="payments", refusals=(Forbidden, PaymentNotFound))
class ReportAuthorization(Request[None], frozen=True, kw_only=True):
    """Report that a provider has authorized a payment, from a webhook with a valid signature.

    Repeatable. Nothing of the report is trusted: the provider is asked.
    """

    provider: str
    payment_id: str
    actor: Actor


@request(
    "capture_payment",
    service="payments",
    refusals=(Forbidden, PaymentNotFound, CaptureFailed),
)
class CapturePayment(Request[Money], frozen=True, kw_only=True):
    """Capture `amount` of an authorized payment, once; the rest of it is voided. For services.

    Orders asks before the first parcel leaves. `wanted_by` is the user who ships it. If the answer
    is lost, payments goes on with it.

    Repeatable: the answer is what was captured first, which may be another amount.
    """

    payment_id: str
    amount: Money
    wanted_by: str
    actor: Actor


@request(
    "create_refund",
    service="payments",
    refusals=(
        Forbidden,
        IdempotencyKeyReused,
        PaymentNotFound,
        PaymentNotCaptured,
        PaymentDisputed,
        RefundExceedsCapture,
        RefundInvalid,
        TooManyRefunds,
        *GetPriceOfPieces.refusals,
    ),
)
class CreateRefund(Request[Created[Refund]], frozen=True, kw_only=True):
    """Refund money of a payment: `amount`, what the `lines` cost, or all that is left. For admins.

    The refund is stored, and made at the provider a moment later. With `by_other_means` it is
    recorded as done: somebody has paid the money back in another way, as after a refund that the
    provider cannot make. Repeatable: the same `request_id` and `body_hash` return the first refund.
    """

    request_id: str
    body_hash: str
    payment_id: str
    reason: RefundReason
    actor: Actor
    amount: Money | None = None
    lines: list[Pieces] = msgspec.field(default_factory=list[Pieces])
    by_other_means: bool = False


@request("get_refund", service="payments", read=True, refusals=(PaymentNotFound, RefundNotFound))
class GetRefund(Request[Refund], frozen=True, kw_only=True):
    """Get a refund of a payment. Somebody else's is `PaymentNotFound`, except for an admin."""

    payment_id: str
    refund_id: str
    actor: Actor


@request("report_refund", service="payments", refusals=(Forbidden, PaymentNotFound))
class ReportRefund(Request[None], frozen=True, kw_only=True):
    """Report that a refund failed, from a webhook with a valid signature. Repeatable.

    If the payment has that refund, of that amount, the provider is asked how it really is.
    """

    provider: str
    payment_id: str
    refund_id: str
    failure: Failure
    actor: Actor
    amount: Money | None = None


@request("report_dispute", service="payments", refusals=(Forbidden, PaymentNotFound))
class ReportDispute(Request[None], frozen=True, kw_only=True):
    """Report that a dispute was opened or closed, from a webhook with a valid signature.

    Repeatable, and in any order: a closed dispute stays closed. If the report names the payment's
    provider and currency, the provider is asked how the dispute really is.
    """

    provider: str
    payment_id: str
    dispute_id: str
    status: DisputeStatus
    reason: str
    actor: Actor
    amount: Money | None = None


@request("list_disputed", service="payments", read=True, refusals=(BadCursor, Forbidden))
class ListDisputed(Request[Page[PaymentView]], frozen=True, kw_only=True):
    """List the payments that have a dispute, or one with `status`, newest first. For admins."""

    limit: int
    actor: Actor
    cursor: str | None = None
    status: DisputeStatus | None = None


@request("get_payment", service="payments", read=True, refusals=(PaymentNotFound,))
class GetPayment(Request[PaymentView], frozen=True, kw_only=True):
    """Get a payment. Somebody else's payment is `PaymentNotFound`, except for an admin."""

    payment_id: str
    actor: Actor


@request("get_payment_timeline", service="payments", read=True, refusals=(PaymentNotFound,))
class GetPaymentTimeline(Request[list[TimelineEntry]], frozen=True, kw_only=True):
    """Get the timeline of a payment, oldest entry first."""

    payment_id: str
    actor: Actor


@request("list_payments", service="payments", read=True, refusals=(BadCursor,))
class ListPayments(Request[Page[PaymentView]], frozen=True, kw_only=True):
    """List payments, newest first. Admins see all, or those of `user_id`; others see their own.

    `amount` is what was to be paid, exactly.

    The range from `created_after` to `created_before` does not include its end; a payment's id
    tells when it was created.
    """

    limit: int
    cursor: str | None = None
    order_id: str | None = None
    status: PaymentStatus | None = None
    user_id: str | None = None
    method: Method | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    actor: Actor | None = None
    provider: str | None = None
    amount: Money | None = None


@event("payment.pending.v1", consumers=("orders",))
class PaymentPending(Event, frozen=True, kw_only=True):
    """A payment was begun whose verdict will come later.

    `shipping_address` is the payment's own. It is None if the order's address is used, or if an
    older version began the payment: that version had orders store the address first.
    """

    payment_id: str
    order_id: str
    method: Method
    shipping_address: ShippingAddress | None = None


@event("payment.action_required.v1", consumers=("orders",))
class PaymentActionRequired(Event, frozen=True, kw_only=True):
    """The provider waits until the customer approves the payment, `expires_at` at the latest."""

    payment_id: str
    order_id: str
    expires_at: datetime


@event("payment.authorized.v1", consumers=("orders",))
class PaymentAuthorized(Event, frozen=True, kw_only=True):
    """The money is reserved until `capture_before`.

    `shipping_address` is as in `PaymentPending`.
    """

    payment_id: str
    order_id: str
    amount: Money
    capture_before: datetime
    shipping_address: ShippingAddress | None = None


@event("payment.capture_failed.v1", consumers=("notifications",))
class PaymentCaptureFailed(Event, frozen=True, kw_only=True):
    """The provider could not capture what it had reserved. The parcel stays where it is."""

    payment_id: str
    order_id: str
    amount: Money
    failure: Failure


@event("payment.captured.v1", consumers=("orders",))
class PaymentCaptured(Event, frozen=True, kw_only=True):
    """The money was captured. `shipping_address` is as in `PaymentPending`."""

    payment_id: str
    order_id: str
    amount: Money
    shipping_address: ShippingAddress | None = None


@event("payment.declined.v1", consumers=("orders",))
class PaymentDeclined(Event, frozen=True, kw_only=True):
    """No money was captured.

    `counts` is true if the issuer declined, and false if the payment never reached the issuer.
    `shipping_address` is as in `PaymentPending`.
    """

    payment_id: str
    order_id: str
    failure: Failure
    counts: bool = True
    shipping_address: ShippingAddress | None = None


@event("payment.canceled.v1", consumers=("orders",))
class PaymentCanceled(Event, frozen=True, kw_only=True):
    """A payment was given up before any money was captured: by its payer, an admin, or because its
    order was canceled, or its authorization has lapsed. It is no attempt."""

    payment_id: str
    order_id: str


@event("payment.refunded.v1", consumers=("orders",))
class PaymentRefunded(Event, frozen=True, kw_only=True):
    """The provider has refunded money."""

    payment_id: str
    order_id: str
    refund_id: str
    amount: Money


@event("payment.refund_failed.v1", consumers=("orders",))
class PaymentRefundFailed(Event, frozen=True, kw_only=True):
    """The provider could not refund money, or it came back. Its amount can be refunded again.

    This may follow `PaymentRefunded` of the same refund, days later.
    """

    payment_id: str
    order_id: str
    refund_id: str
    amount: Money
    failure: Failure


@event("payment.dispute_opened.v1", consumers=("notifications",))
class PaymentDisputeOpened(Event, frozen=True, kw_only=True):
    """The customer's bank disputes a payment, and has taken its amount back for now."""

    payment_id: str
    order_id: str
    dispute_id: str
    amount: Money
    reason: str


@event("payment.dispute_closed.v1", consumers=("orders", "notifications"))
class PaymentDisputeClosed(Event, frozen=True, kw_only=True):
    """A dispute was decided. If it is not `won`, its amount is gone for good."""

    payment_id: str
    order_id: str
    dispute_id: str
    amount: Money
    won: bool


EVENTS: tuple[type[Event], ...] = (
    PaymentPending,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentCaptureFailed,
    PaymentDeclined,
    PaymentCanceled,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentDisputeOpened,
    PaymentDisputeClosed,
)
