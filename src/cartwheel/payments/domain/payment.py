"""A payment: what is stored of it, and what it has been through."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts import payments as contract
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import ShippingAddress
from cartwheel.contracts.payments import (
    EVENTS,
    CardSummary,
    Dispute,
    Failure,
    Method,
    NextAction,
    PaymentEntry,
    PaymentStatus,
    PaymentView,
)
from cartwheel.contracts.timeline import TimelineEntry, sentence
from cartwheel.kernel import Change, Event


class Refund(contract.Refund, frozen=True, kw_only=True):
    """A refund. `body_hash` is of the request that asked for it, if one did."""

    body_hash: str | None = None

    def view(self) -> contract.Refund:
        return contract.Refund(
            id=self.id,
            amount=self.amount,
            reason=self.reason,
            status=self.status,
            provider=self.provider,
            failure=self.failure,
            at=self.at,
            by_other_means=self.by_other_means,
        )


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """Money that the order owes, and that cannot be refunded while the payment is disputed.

    `amount` is None for all that is left then.
    """

    refund_id: str
    amount: Money | None
    reason: str


class Wanted(StrEnum):
    """What is to become of an authorization."""

    CAPTURE = "CAPTURE"
    VOID = "VOID"


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of an authorization, until its provider has done it.

    `amount` is what is captured, and `failure` why it is voided.
    """

    wanted: Wanted
    amount: Money | None = None
    failure: Failure | None = None


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment. An order has at most one `live` payment: one that is awaited, authorized or paid.

    `attempt` counts the order's attempts. A voided, canceled or refunded payment has none.
    `cancel_request` is the request that asked to cancel it. A card's provider decides after that.
    `next_action` is what it waits for, while it REQUIRES_ACTION. It may wait until `action_until`,
    as the order said when the payment began. If it is `unwanted`, its order has ended since.
    `card` comes from the provider, with the verdict.
    `captured` is the amount that the provider took. Payments stored before this field lack it.
    `owed` is what the order owes and a dispute holds up.
    `authorized` is what the provider has reserved, until `capture_before`. A job looks at it at
    `act_at`, and does what is `decided`.
    `shipping_address` came with the payment. Each of its events takes the address to the order.
    `events`, and the `change` that made them, are not stored yet.
    """

    id: str
    request_id: str
    body_hash: str
    order_id: str
    user_id: str
    amount: Money
    method: Method
    provider: str
    provider_reference: str | None
    card: CardSummary | None
    status: PaymentStatus
    live: bool
    attempt: int | None
    failure: Failure | None
    timeline: list[PaymentEntry]
    refunds: list[Refund] = msgspec.field(default_factory=list[Refund])
    disputes: list[Dispute] = msgspec.field(default_factory=list[Dispute])
    owed: list[Owed] = msgspec.field(default_factory=list[Owed])
    captured: Money | None = None
    authorized: Money | None = None
    capture_before: datetime | None = None
    act_at: datetime | None = None
    decided: Decided | None = None
    shipping_address: ShippingAddress | None = None
    cancel_request: str | None = None
    next_action: NextAction | None = None
    action_until: datetime | None = None
    unwanted: bool = False
    version: int
    created_at: datetime
    updated_at: datetime
    sequence: int = 0
    events: tuple[Event, ...] = ()
    change: Change | None = None

    def view(self) -> PaymentView:
        return PaymentView(
            id=self.id,
            order_id=self.order_id,
            user_id=self.user_id,
            amount=self.amount,
            method=self.method,
            provider=self.provider,
            provider_reference=self.provider_reference,
            card=self.card,
            status=self.status,
            failure=self.failure,
            timeline=self.timeline,
            refunds=[refund.view() for refund in self.refunds],
            disputes=self.disputes,
            authorized=self.authorized,
            capture_before=self.capture_before,
            next_action=self.next_action,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


def changed(payment: Payment, what: str, *events: Event, change: Change) -> Payment:
    """Return `payment` with the step `what` in its timeline, and the `events` that tell of it."""
    entry = PaymentEntry(type=what, at=change.at, by=change.by, because_of=change.event_id)
    return msgspec.structs.replace(
        payment,
        timeline=[*payment.timeline, entry],
        version=payment.version + 1,
        updated_at=change.at,
        events=(*payment.events, *events),
        change=change,
    )


_STEPS = {
    "begun": "The customer chose how to pay.",
    "action required": "The provider asks the customer to approve the payment.",
    "order ended": "The order has ended, so the payment is given up.",
    "authorized": "The money was reserved.",
    "capture asked for": "The reserved money is to be captured.",
    "capture failed": "The reserved money could not be captured.",
    "void asked for": "The reserved money is to be released.",
    "captured": "The money was captured.",
    "declined": "No money was captured.",
    "cancel asked for": "Somebody asked to cancel the payment.",
    "canceled": "The payment was canceled.",
    "refund due": "The money is to be refunded.",
    "refund owed": "The money is to be refunded, once a dispute is decided.",
    "refunded": "The provider has refunded money.",
    "refund failed": "The provider could not refund money, or it came back.",
    "disputed": "The customer's bank disputes the payment.",
    "dispute closed": "A dispute was decided.",
}
"""What has happened to a payment, where no event tells of it."""
_EVENTS = {event.type: sentence(event) for event in EVENTS}


def timeline(payment: Payment, told: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Return all that happened to `payment`: what events `told`, and the steps without events.

    Payments stored before their events were kept have steps only.
    """
    events: defaultdict[datetime, list[TimelineEntry]] = defaultdict(list)
    for each in told:
        events[each.at].append(msgspec.structs.replace(each, text=_EVENTS.get(each.type)))
    entries: list[TimelineEntry] = []
    for step in payment.timeline:
        if step.at in events:  # the steps of one change have one time, and its events tell of all
            entries += events[step.at]
            events[step.at] = []
        else:
            entries.append(
                TimelineEntry(
                    type=step.type,
                    at=step.at,
                    by=step.by,
                    text=_STEPS.get(step.type),
                    because_of=step.because_of,
                )
            )
    return entries
