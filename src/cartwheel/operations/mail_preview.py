"""`cartwheel mail preview`: every mail that the shop can send, on one page for the browser.

The events are examples. Nothing is asked of the running system, and nothing is sent.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import msgspec

from cartwheel.contracts.fulfilment import ParcelDelivered, ParcelShipped, ReturnAccepted
from cartwheel.contracts.identity import User
from cartwheel.contracts.money import Money
from cartwheel.contracts.notifications import DeadLettersFound
from cartwheel.contracts.orders import (
    Line,
    OrderActionRequired,
    OrderCanceled,
    OrderConfirmationDue,
    OrderPaid,
    OrderPaymentFailed,
    OrderRefunded,
    OrderRejected,
    OrderSnapshot,
)
from cartwheel.contracts.parcels import (
    Pieces,
    ReturnedLine,
    ReturnStatus,
    ReturnView,
    ShipmentStatus,
    ShipmentView,
)
from cartwheel.contracts.payments import (
    Failure,
    PaymentCaptureFailed,
    PaymentDisputeClosed,
    PaymentDisputeOpened,
)
from cartwheel.contracts.products import StockLow
from cartwheel.notifications.domain import (
    Mail,
    Noticed,
    Shop,
    Told,
    render,
    render_for_operations,
)
from cartwheel.notifications.settings import ShopSettings, shop_of

_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_ORDER = OrderSnapshot(
    id="ord_01a203e602b5703283b24de369ecfb26",
    number="K7QM3-XWD9A",
    user=User(id="8d3f", name="Zoë Müller", email="zoe@example.com"),
    lines=[
        Line(product_id="prd_1", name="Stoneware mug", quantity=2, unit_price=Money(1999, "USD")),
        Line(
            product_id="prd_2",
            name="Wooden spoon with a handle of olive wood, 30 cm",
            quantity=1,
            unit_price=Money(250, "USD"),
        ),
    ],
    total=Money(4248, "USD"),
)
_PARCEL = ShipmentView(
    id="shp_1",
    lines=[Pieces(product_id="prd_1", quantity=1), Pieces(product_id="prd_2", quantity=1)],
    status=ShipmentStatus.SHIPPED,
    shipped_at=_AT,
    carrier="DHL",
    tracking="00340434161094015902",
)
_RETURN = ReturnView(
    id="ret_1",
    lines=[ReturnedLine(product_id="prd_2", quantity=1)],
    reason="It wobbles.",
    status=ReturnStatus.ACCEPTED,
    requested_at=_AT,
    note="Please send them to Wharf Road 3, Riverside, and put this mail into the parcel.",
)
_PAYMENT = "pay_01a203e602eb775e9213dbdb908500fe"
_DISPUTE = "dp_01a203e602eb775e9213dbdb908500fe"
_DECLINED = "Your card was declined."

TO_CUSTOMERS: tuple[Told, ...] = (
    OrderConfirmationDue(order=_ORDER),
    OrderActionRequired(order=_ORDER, payment_id=_PAYMENT, expires_at=_AT),
    OrderPaid(order=_ORDER, payment_id=_PAYMENT, amount=_ORDER.total),
    OrderPaid(order=_ORDER, payment_id=_PAYMENT, amount=Money(1050, "USD")),
    OrderPaymentFailed(order=_ORDER, payment_id=_PAYMENT, reason=_DECLINED, attempts_left=2),
    OrderRejected(order=_ORDER, reason=_DECLINED),
    OrderCanceled(order=_ORDER, reason="It was not paid in time.", was_paid=False),
    OrderCanceled(order=_ORDER, reason="The mug is no longer made.", was_paid=True),
    OrderRefunded(order=_ORDER, payment_id=_PAYMENT, amount=Money(1050, "USD")),
    ParcelShipped(order=_ORDER, shipment=_PARCEL),
    ParcelDelivered(order=_ORDER, shipment=_PARCEL),
    ReturnAccepted(order=_ORDER, returned=_RETURN),
)
TO_OPERATIONS: tuple[Noticed, ...] = (
    StockLow(
        product_id="prd_01a203e6027f7232bcd17620308750e6",
        sku="MUG-1",
        name="Stoneware mug",
        available=3,
        low_stock_at=5,
    ),
    DeadLettersFound(
        service="orders",
        count=12,
        first_id="evt_01a203e6031c7d20a5be1f0c8e6b4a77",
        first_type="payment.captured.v1",
        reason="KeyError: 'total'",
        since=_AT,
    ),
    PaymentDisputeOpened(
        payment_id=_PAYMENT,
        order_id=_ORDER.id,
        dispute_id=_DISPUTE,
        amount=_ORDER.total,
        reason="fraudulent",
    ),
    PaymentDisputeClosed(
        payment_id=_PAYMENT,
        order_id=_ORDER.id,
        dispute_id=_DISPUTE,
        amount=_ORDER.total,
        won=False,
    ),
    PaymentCaptureFailed(
        payment_id=_PAYMENT,
        order_id=_ORDER.id,
        amount=_ORDER.total,
        failure=Failure(code="card_declined", message="The card was declined."),
    ),
)


class Shown(msgspec.Struct, frozen=True):
    """A mail on the page, and the type of the event that it tells about."""

    type: str
    mail: Mail


def mails(shop: Shop) -> list[Shown]:
    """Return an example of every mail; of one that has two texts, both."""
    return [
        *(Shown(event.type, render(event, shop)) for event in TO_CUSTOMERS),
        *(
            Shown(event.type, render_for_operations(event, shop, to="operations@example.com"))
            for event in TO_OPERATIONS
        ),
    ]


def written(settings: ShopSettings, to: Path | None) -> Path:
    """Write the page to the file `to`, or to a new one, and return its path."""
    shop = shop_of(settings)
    page = _TEMPLATES.get_template("mail_preview.html").render(shop=shop, shown=mails(shop))
    if to is None:
        to = Path(tempfile.mkdtemp(prefix="cartwheel-mail-")) / "mail.html"
    to.write_text(page, encoding="utf-8")
    return to.absolute()


# Each mail stands in an attribute of its frame, so it is escaped there.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("cartwheel.operations"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
