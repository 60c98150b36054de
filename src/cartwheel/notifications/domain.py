"""The content of mail, and how often it may fail.

Each event has a template in text and one in HTML, under `templates/`.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import get_args

import jinja2
import msgspec
from babel.numbers import format_currency, get_currency_precision

from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    OrderCanceled,
    OrderPaid,
    OrderPaymentFailed,
    OrderRefunded,
    OrderRejected,
    OrderSnapshot,
)
from cartwheel.contracts.products import StockLow

Told = OrderPaid | OrderPaymentFailed | OrderRejected | OrderCanceled | OrderRefunded
"""The events that customers get mail about."""

TOLD: tuple[type[Told], ...] = get_args(Told)

Reported = Told | StockLow
"""All events that somebody gets mail about: operations get it about low stock."""

_SUBJECTS: dict[type[Told], str] = {
    OrderPaid: "Order {number}: payment received",
    OrderPaymentFailed: "Order {number}: payment declined",
    OrderRejected: "Order {number}: rejected after declined payments",
    OrderCanceled: "Order {number}: canceled",
    OrderRefunded: "Order {number}: your money is on its way back",
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
    values = {"order": order, "event": event}
    return Mail(
        to=order.user.email,
        subject=_SUBJECTS[type(event)].format(number=order.number),
        text=_TEMPLATES.get_template(f"{template}.txt").render(values),
        html=_TEMPLATES.get_template(f"{template}.html").render(values),
    )


def render_for_operations(event: StockLow, *, to: str) -> Mail:
    """Return the mail that tells operations about `event`."""
    values = {"event": event}
    return Mail(
        to=to,
        subject=f"Low stock: {event.name}",
        text=_TEMPLATES.get_template("stock.low.txt").render(values),
        html=_TEMPLATES.get_template("stock.low.html").render(values),
    )


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
