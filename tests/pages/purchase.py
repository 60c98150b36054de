"""The messages of one purchase, and the sequence diagram that shows them.

`tests/cost` records a real purchase on the wire, and compares: each message that is drawn here was
sent there, in this order, and no other. The contracts say who answers a request and who consumes an
event.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from cartwheel.contracts.notifications import NotificationSent
from cartwheel.contracts.orders import GetPayableOrder, OrderPaid, OrderPlaced, PlaceOrder
from cartwheel.contracts.payments import CreatePayment, PaymentCaptured
from cartwheel.contracts.products import ReserveStock
from cartwheel.kernel import Event, Request

from .drawing import BLUE, GREEN, LINE, arrow, box, drawing, line, words


class Exchange(msgspec.Struct, frozen=True):
    """A request and its answer, over HTTP or RabbitMQ, and the exchanges `inside` it."""

    sender: str
    receiver: str
    says: str
    by_http: bool
    inside: tuple["Exchange", ...]


class Published(msgspec.Struct, frozen=True):
    sender: str
    event: type[Event]


def calls(sender: str, receiver: str, says: str, *inside: Exchange) -> Exchange:
    return Exchange(sender, receiver, says, by_http=True, inside=inside)


def asks(sender: str, kind: type[Request[Any]], *inside: Exchange) -> Exchange:
    return Exchange(sender, kind.service, kind.type, by_http=False, inside=inside)


PURCHASE: tuple[Exchange | Published, ...] = (
    calls(
        "customer",
        "gateway",
        "POST /api/v1/orders",
        asks("gateway", PlaceOrder, asks("orders", ReserveStock)),
    ),
    Published("orders", OrderPlaced),
    calls(
        "customer",
        "gateway",
        "POST /api/v1/payments",
        asks(
            "gateway",
            CreatePayment,
            asks("payments", GetPayableOrder),
            calls("payments", "simulator", "POST /v1/payment_intents"),
        ),
    ),
    calls("simulator", "gateway", "POST /api/v1/webhooks/simulator"),
    Published("payments", PaymentCaptured),
    Published("orders", OrderPaid),
    calls("notifications", "SES", "POST /v2/email/outbound-emails"),
    Published("notifications", NotificationSent),
)

TITLES = {
    "customer": "customer",
    "gateway": "gateway",
    "orders": "orders",
    "products": "products",
    "payments": "payments",
    "simulator": "card provider",
    "notifications": "notifications",
    "SES": "SES",
}
"""The participants from left to right."""


def by_rabbitmq() -> list[tuple[str, str]]:
    """Return sender and type of each request and event, in their order."""
    return [
        (part.sender, part.event.type if isinstance(part, Published) else part.says)
        for part in _parts()
        if isinstance(part, Published) or not part.by_http
    ]


def by_http() -> list[tuple[str, str]]:
    """Return sender, method and path of each HTTP request, sorted: some have no order."""
    return sorted(
        (part.sender, part.says) for part in _parts() if isinstance(part, Exchange) and part.by_http
    )


def _parts() -> Iterator[Exchange | Published]:
    waiting = list(reversed(PURCHASE))
    while waiting:
        part = waiting.pop()
        yield part
        if isinstance(part, Exchange):
            waiting += reversed(part.inside)


_GAP, _MARGIN, _TOP = 128.0, 70.0, 60.0
_SAID, _ANSWERED = 36.0, 22.0
"""The height that what is said takes with its words, and what is answered without any."""


class _Sheet:
    """The diagram as it grows downwards."""

    def __init__(self) -> None:
        self.at = {name: _MARGIN + _GAP * index for index, name in enumerate(TITLES)}
        self.y = _TOP
        self.arrows: list[str] = []

    def exchange(self, exchange: Exchange) -> None:
        color = LINE if exchange.by_http else BLUE
        self._say(exchange.sender, exchange.receiver, exchange.says, color)
        for inner in exchange.inside:
            self.exchange(inner)
        self.y += _ANSWERED
        begin, end = self.at[exchange.receiver], self.at[exchange.sender]
        self.arrows.append(arrow((begin, self.y), (end, self.y), color=color, dashed=True))

    def publish(self, published: Published) -> None:
        for consumer in published.event.consumers:
            self._say(published.sender, consumer, published.event.type, GREEN)
        if not published.event.consumers:
            self._say(published.sender, None, published.event.type, GREEN)

    def _say(self, sender: str, receiver: str | None, says: str, color: str) -> None:
        self.y += _SAID
        begin = self.at[sender]
        end = self.at[receiver] if receiver else begin + _GAP / 2
        self.arrows.append(
            arrow((begin, self.y), (end, self.y), color=color)
            + words(((begin + end) / 2, self.y - 10), [says], color=color)
        )


def draw() -> str:
    sheet = _Sheet()
    for part in PURCHASE:
        if isinstance(part, Published):
            sheet.publish(part)
        else:
            sheet.exchange(part)
    bottom = sheet.y + 24
    width, height = 2 * _MARGIN + _GAP * (len(TITLES) - 1), bottom + 44
    lifelines = [line((x, _TOP), (x, bottom)) for x in sheet.at.values()]
    names = [box((sheet.at[name], 38), 112, 36, title) for name, title in TITLES.items()]
    legend = [
        words((_MARGIN + x, bottom + 20), [says], anchor="start", color=color)
        for x, says, color in (
            (0, "HTTP", LINE),
            (70, "request through RabbitMQ", BLUE),
            (265, "event through RabbitMQ", GREEN),
            (445, "dashed: the answer", LINE),
            (590, "short: nobody consumes it yet", LINE),
        )
    ]
    shapes = [*lifelines, *names, *sheet.arrows, *legend]
    return drawing(width, height, "The messages of a purchase", shapes)
