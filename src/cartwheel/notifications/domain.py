"""The content of mail, how often it may fail, and when dead letters call for one.

Each event has a template in text and one in HTML, under `templates/`. All have one layout.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import get_args
from urllib.parse import quote

import jinja2
import msgspec
from babel.numbers import format_currency, get_currency_precision

from cartwheel.contracts.fulfilment import ParcelDelivered, ParcelShipped, ReturnAccepted
from cartwheel.contracts.money import Money
from cartwheel.contracts.notifications import DeadLettersFound
from cartwheel.contracts.orders import (
    OrderActionRequired,
    OrderCanceled,
    OrderConfirmationDue,
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
    OrderConfirmationDue
    | OrderActionRequired
    | OrderPaid
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
    OrderConfirmationDue: "placed",
    OrderActionRequired: "please approve your payment",
    OrderPaid: "payment received",
    OrderPaymentFailed: "payment declined",
    OrderRejected: "rejected after declined payments",
    OrderCanceled: "canceled",
    OrderRefunded: "your money is on its way back",
    ParcelShipped: "a parcel is on its way",
    ParcelDelivered: "a parcel was delivered",
    ReturnAccepted: "return accepted",
}
_SUBJECTS_FOR_OPERATIONS: dict[type[Noticed], str] = {
    StockLow: "Low stock: {event.name}",
    DeadLettersFound: "Dead letters for {event.service}",
    PaymentDisputeOpened: "Payment {event.payment_id} is disputed",
    PaymentDisputeClosed: "Payment {event.payment_id}: a dispute was decided",
    PaymentCaptureFailed: "Payment {event.payment_id} could not be captured",
}


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """What every mail says of the shop. `address` is shown below, as the law may demand.

    `order_url` is the page of an order, with `{number}` or `{id}` in the place of the order's.
    Without one, mail has no link.
    """

    name: str = "Cartwheel"
    address: str | None = None
    order_url: str | None = None

    def link(self, order: OrderSnapshot) -> str | None:
        if self.order_url is None:
            return None
        url = self.order_url.replace("{number}", quote(order.number, safe=""))
        return url.replace("{id}", quote(order.id, safe=""))


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


def render(event: Told, shop: Shop) -> Mail:
    """Return the mail that tells the customer about `event`."""
    order: OrderSnapshot = event.order
    what = _SUBJECTS[type(event)]
    values = {
        "order": order,
        "names": {line.product_id: line.name for line in order.lines},
        "what": what[0].upper() + what[1:],
    }
    return _filled(
        event, shop, values, to=order.user.email, subject=f"Order {order.number}: {what}"
    )


def render_for_operations(event: Noticed, shop: Shop, *, to: str) -> Mail:
    """Return the mail that tells operations about `event`."""
    subject = _SUBJECTS_FOR_OPERATIONS[type(event)].format(event=event)
    return _filled(event, shop, {}, to=to, subject=subject)


def _filled(
    event: Reported, shop: Shop, values: Mapping[str, object], *, to: str, subject: str
) -> Mail:
    template = event.type.removesuffix(".v1")
    all_values = {"event": event, "shop": shop, "subject": subject, **values}
    text = _TEMPLATES.get_template(f"{template}.txt").render(all_values)
    return Mail(
        to=to,
        subject=subject,
        text=_EMPTY_LINES.sub("\n\n", text).strip() + "\n",
        html=_TEMPLATES.get_template(f"{template}.html").render(all_values),
    )


_EMPTY_LINES = re.compile(r"\n{3,}")
"""What parts of a template leave behind that are not in this mail."""

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
