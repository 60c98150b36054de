"""The requests and answers of the simulator's API."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from cartwheel.contracts.money import MAX_AMOUNT, Currency
from cartwheel.simulator.cards import Failure

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_:.-]{1,100}$", max_length=100)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]
"""Minor units of the currency."""
ReturnUrl = Annotated[
    str,
    msgspec.Meta(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(?:[/?#][!-~]*)?$", max_length=1000),
]
"""Where a browser is sent. Only who has the secret key says so; which addresses are the shop's, the
shop must know."""


CaptureMethod = Annotated[str, msgspec.Meta(pattern="^(automatic|manual)$", max_length=9)]
"""In Stripe's words: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method"""


class NewCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card's data, checked by `cards.recognise`. It is never stored."""

    number: Annotated[str, msgspec.Meta(max_length=40)]
    exp_month: int
    exp_year: int
    cvc: Annotated[str, msgspec.Meta(max_length=4)]


class NewPaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    # A pattern, not an enum: for an unknown enum member, msgspec's message repeats the input.
    type: Annotated[str, msgspec.Meta(pattern="^card$", max_length=4)]
    card: NewCard


class WalletData(msgspec.Struct, frozen=True, kw_only=True):
    type: Annotated[str, msgspec.Meta(pattern="^wallet$", max_length=6)]


class NewIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A new intent; with `confirm` it is charged at once.

    Either `token` is the id of a payment method, or `payment_method_data` names the wallet. If the
    customer has to act, their browser goes to `return_url` after that. With the `capture_method`
    `manual`, the amount is only authorized, and captured later.
    """

    payment_id: Id
    amount: Amount
    currency: Currency
    token: Id | None = None
    payment_method_data: WalletData | None = None
    return_url: ReturnUrl | None = None
    confirm: bool = False
    capture_method: CaptureMethod = "automatic"

    def __post_init__(self) -> None:
        if (self.token is None) == (self.payment_method_data is None):
            raise ValueError("Expected either `token` or `payment_method_data`")


class NewCapture(msgspec.Struct, frozen=True, kw_only=True):
    """What to capture of an authorization. Without an amount, all of it. The rest is voided."""

    amount_to_capture: Amount | None = None


class NewRefund(msgspec.Struct, frozen=True, kw_only=True):
    payment_id: Id
    refund_id: Id
    amount: Amount


class Card(msgspec.Struct, frozen=True):
    """The card details that may be shown."""

    brand: str
    last4: str


class PaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str = "card"
    card: Card


class RedirectToUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    url: str
    return_url: str | None = None


class NextAction(msgspec.Struct, frozen=True):
    """What the customer has to do: open the `url`."""

    redirect_to_url: RedirectToUrl
    type: Literal["redirect_to_url"] = "redirect_to_url"


class Status(StrEnum):
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A payment's current state. A tombstone, canceled before it was created, has only an id.

    `capture_before` is when an authorization lapses, and `amount_received` what was captured of it.
    """

    payment_id: str
    status: Status
    id: str | None = None
    amount: int | None = None
    currency: str | None = None
    payment_method_types: tuple[str, ...] = ("card",)
    card: Card | None = None
    next_action: NextAction | None = None
    failure: Failure | None = None
    capture_before: datetime | None = None
    amount_received: int | None = None


class Refund(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refund: `succeeded`, or `failed` with a `failure`, at once or later."""

    id: str
    payment_id: str
    amount: int
    currency: str
    status: Literal["succeeded", "failed"]
    failure: Failure | None = None


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a refund fails; in the words of Stripe's `failure_reason`."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,50}$")] = "lost_or_stolen_card"
    message: Annotated[str, msgspec.Meta(max_length=200)] = "The card was lost or stolen."


class NewDispute(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute to open. Without an `amount`, it is about all that was captured."""

    payment_id: Id
    amount: Amount | None = None
    reason: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,50}$")] = "fraudulent"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["won", "lost"]


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    payment_id: str
    amount: int
    currency: str
    reason: str
    status: Literal["needs_response", "won", "lost"] = "needs_response"


class Kind(StrEnum):
    """What a line of the ledger records."""

    CHARGE = "charge"
    DECLINE = "decline"
    CANCELLATION = "cancellation"
    CHALLENGE = "challenge"
    AUTHORIZATION = "authorization"
    CAPTURE = "capture"
    VOID = "void"
    LAPSE = "lapse"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the ledger. Ids increase, so `?after=<id>` continues after this line."""

    id: int
    at: datetime
    kind: Kind
    payment_id: str
    amount: int | None = None
    currency: str | None = None
    refund_id: str | None = None
    dispute_id: str | None = None
    failure: Failure | None = None


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the ledger. `next_after` continues it; `None` means that this is the last page."""

    data: list[Entry]
    next_after: int | None
