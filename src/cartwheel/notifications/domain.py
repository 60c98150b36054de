"""The content of mail, how often it may fail, and when dead letters call for one.

Each event has a template in text and one in HTML, under `templates/`.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import get_args

import jinja2
import msgspec
from babel.numbers import format_currency, get_currency_precision

from cartwheel.contracts.fulfilment import ParcelDelivered, ParcelShipped, ReturnAccepted
from cartwheel.contracts.money import Money
from cartwheel.contracts.notifications import DeadLettersFound
from cartwheel.contracts.orders import (
    OrderCanceled,
    OrderPaid,
    OrderPaymentFailed,
    OrderRefunded,
    OrderRejected,
    OrderSnapshot,
)
from cartwheel.contracts.payments import (
    PaymentCaptureFailed,
    PaymentDisputeClosed,
    PaymentDisputeOpened,
)
from cartwheel.contracts.products import StockLow
from cartwheel.kernel import Change, DeadLettered

Told = (
    OrderPaid
    | OrderPaymentFailed
    | OrderRejected
    | OrderCanceled
    | OrderRefunded
    | ParcelShipped
    | ParcelDelivered
    | ReturnAccepted
)
"""The events that customers get mail about."""

TOLD: tuple[type[Told], ...] = get_args(Told)

Noticed = (
    StockLow | DeadLettersFound | PaymentDisputeOpened | PaymentDisputeClosed | PaymentCaptureFailed
)
"""The events that operations get mail about."""

NOTICED: tuple[type[Noticed], ...] = get_args(Noticed)

Reported = Told | Noticed
"""All events that somebody gets mail about."""

_SUBJECTS: dict[type[Told], str] = {
    OrderPaid: "Order {number}: payment received",
    OrderPaymentFailed: "Order {number}: payment declined",
    OrderRejected: "Order {number}: rejected after declined payments",
    OrderCanceled: "Order {number}: canceled",
    OrderRefunded: "Order {number}: your money is on its way back",
    ParcelShipped: "Order {number}: a parcel is on its way",
    ParcelDelivered: "Order {number}: a parcel was delivered",
    ReturnAccepted: "Order {number}: return accepted",
}
_SUBJECTS_FOR_OPERATIONS: dict[type[Noticed], str] = {
    StockLow: "Low stock: {event.name}",
    DeadLettersFound: "Dead letters for {event.service}",
    PaymentDisputeOpened: "Payment {event.payment_id} is disputed",
    PaymentDisputeClosed: "Payment {event.payment_id}: a dispute was decided",
    PaymentCaptureFailed: "Payment {event.payment_id} could not be captured",
}


ENOUGH = 6
FOR_AT_LEAST = timedelta(minutes=10)
"""A mail becomes FAILED after this many failures over at least this time. Both conditions matter:
neither a bad minute of SES nor a few failures spread over days is the mail's fault."""


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail. `html` is empty in FAILED mail that was stored before its HTML was kept."""

    to: str
    subject: str
    text: str
    html: str


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and since when, SES has failed on a mail while SES itself was up."""

    count: int = 0
    since: datetime | None = None

    def and_one(self, *, at: datetime) -> "Failures":
        return Failures(count=self.count + 1, since=self.since or at)

    def are_enough(self, *, at: datetime) -> bool:
        """Return whether to stop trying to send the mail."""
        return self.count >= ENOUGH and self.since is not None and at - self.since >= FOR_AT_LEAST


def render(event: Told) -> Mail:
    """Return the mail that tells the customer about `event`."""
    order: OrderSnapshot = event.order
    template = event.type.removesuffix(".v1")
    names = {line.product_id: line.name for line in order.lines}
    values = {"order": order, "event": event, "names": names}
    return Mail(
        to=order.user.email,
        subject=_SUBJECTS[type(event)].format(number=order.number),
        text=_TEMPLATES.get_template(f"{template}.txt").render(values),
        html=_TEMPLATES.get_template(f"{template}.html").render(values),
    )


def render_for_operations(event: Noticed, *, to: str) -> Mail:
    """Return the mail that tells operations about `event`."""
    template = event.type.removesuffix(".v1")
    values = {"event": event}
    return Mail(
        to=to,
        subject=_SUBJECTS_FOR_OPERATIONS[type(event)].format(event=event),
        text=_TEMPLATES.get_template(f"{template}.txt").render(values),
        html=_TEMPLATES.get_template(f"{template}.html").render(values),
    )


EMPTY_FOR = timedelta(minutes=1)
"""How long a dead-letter queue must be empty before dead letters in it are news again. `cartwheel
dlq list` fetches them, so a queue may look empty for a moment."""


class DeadQueue(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the dead-letter queue of the service `id`.

    `reported` means that operations were told about dead letters, and that it has not been empty
    for long since.
    """

    id: str
    reported: bool = False
    empty_since: datetime | None = None
    version: int = 0
    sequence: int = 0
    events: tuple[DeadLettersFound, ...] = ()
    change: Change | None = None


def looked_at(
    queue: DeadQueue, count: int, first: DeadLettered | None, change: Change
) -> DeadQueue:
    """Return `queue` after a look at it; the same object if nothing is new.

    `first` is needed only if `queue` is not `reported`. Without it, a later look reports.
    """
    if count and queue.reported:
        return queue if queue.empty_since is None else _now(queue, change, empty_since=None)
    if count and first is not None:
        found = DeadLettersFound(
            service=queue.id,
            count=count,
            first_id=first.id,
            first_type=first.type,
            reason=first.reason,
            since=first.since,
        )
        return _now(queue, change, reported=True, events=(found,))
    if count or not queue.reported:
        return queue
    if queue.empty_since is None:
        return _now(queue, change, empty_since=change.at)
    if change.at - queue.empty_since < EMPTY_FOR:
        return queue
    return _now(queue, change, reported=False, empty_since=None)


def _now(queue: DeadQueue, change: Change, **values: object) -> DeadQueue:
    return msgspec.structs.replace(queue, version=queue.version + 1, change=change, **values)


@lru_cache(maxsize=10_000)
def _money(money: Money) -> str:
    """Return, for example, `$19.99`. The currency determines the number of decimals."""
    amount = Decimal(money.amount).scaleb(-get_currency_precision(money.currency))
    text = format_currency(amount, money.currency, locale="en_US")
    # CLDR puts a space between a code and the digits (`currencySpacing`). Babel writes KWD4.248.
    return text.replace(money.currency, f"{money.currency}\u00a0")


# Customers choose their own names, so HTML templates escape them.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("cartwheel.notifications"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
    auto_reload=False,  # do not check the templates' dates for every mail
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["money"] = _money
