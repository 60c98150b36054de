"""Examples of answers for the API's description, of one purchase: Ada buys two wooden tops."""

from datetime import UTC, datetime, timedelta

from msgspec import structs

from cartwheel.contracts.addresses import SavedAddress
from cartwheel.contracts.identity import User
from cartwheel.contracts.ledger import EntryKind, LedgerEntry, PaymentAtProvider
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    Fulfillment,
    Line,
    OrderStatus,
    OrderView,
    ShippingAddress,
)
from cartwheel.contracts.parcels import (
    CallOff,
    Pieces,
    ReturnedLine,
    ReturnStatus,
    ReturnView,
    ShipmentStatus,
    ShipmentView,
)
from cartwheel.contracts.payments import (
    CardSummary,
    Method,
    PaymentEntry,
    PaymentStatus,
    PaymentView,
    Refund,
    RefundStatus,
)
from cartwheel.contracts.products import (
    AdjustmentKind,
    ProductStatus,
    ProductView,
    StockAdjustmentView,
    StockView,
)
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.gateway.cognito import Tokens
from cartwheel.gateway.directory import ListedUser, UserView
from cartwheel.gateway.strict import NewShippingAddress, Price

EMAIL = "ada@example.com"
PASSWORD = "Cartwheel-Demo-1"  # noqa: S105 of the demo, on an emulator
NAME = "Ada Lovelace"
USER_ID = "e486d4ef-65d4-4035-8bf1-53eb5583edd3"
PRODUCT_ID = "prd_01a203e6027f7232bcd17620308750e6"
ORDER_ID = "ord_01a203e602b5703283b24de369ecfb26"
CARD_TOKEN = "pm_card_visa"  # noqa: S105 of a test card
PAYMENT_ID = "pay_01a203e602eb775e9213dbdb908500fe"
ADJUSTMENT_ID = "adj_01a203e602d37b14a8f6c6d1e5b0a921"
REFUND_ID = "rfd_01a203e6031d7b56a1e0c3f4d2b79c58"
ADDRESS_ID = "adr_01a203e6029a7b1c8f2d4e6a80b1c3d5"
SHIPMENT_ID = "shp_01a203e603107c2f9e4b6a8d0c1f2e37"
RETURN_ID = "ret_01a203e603217d3a8f5c7b9e1d203f48"
ORDER_NUMBER = "PB6G1-EF32P"
IDS = {
    "product_id": PRODUCT_ID,
    "order_id": ORDER_ID,
    "payment_id": PAYMENT_ID,
    "adjustment_id": ADJUSTMENT_ID,
    "refund_id": REFUND_ID,
    "address_id": ADDRESS_ID,
    "shipment_id": SHIPMENT_ID,
    "return_id": RETURN_ID,
}
"""By the names of parameters."""
IDEMPOTENCY_KEY = "4c6f1d2e-3b8a-4f0e-9d57-1a2b3c4d5e6f"
CURSOR = "b3JkXzAxYTIwM2U2MDJiNTcwMzI4M2IyNGRlMzY5ZWNmYjI2"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
REFRESH_TOKEN = "eyJjdHkiOiJKV1QiLCJlbmMiOiJBMjU2R0NNIn0.aZ3k"  # noqa: S105 cut short

_ORDERED_AT = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
_PAID_AT = _ORDERED_AT + timedelta(minutes=2)
_CONFIRMED_AT = _PAID_AT + timedelta(days=2)
_SHIPPED_AT = _PAID_AT + timedelta(hours=3)
_DELIVERED_AT = _SHIPPED_AT + timedelta(days=2)
_RETURN_ASKED_AT = _DELIVERED_AT + timedelta(days=5)
_ADMIN_ID = "0b6f3c1e-8a54-4d0b-9f6e-2d7c5a1b9e44"
_PRICE = Money(1999, "USD")
_TOTAL = Money(3998, "USD")

NEW_ADDRESS = NewShippingAddress(
    name=NAME,
    street="St James's Square",
    number="12",
    city="London",
    zip_code="SW1Y 4JH",
    country="GB",
)

_ADDRESS = ShippingAddress(
    name=NAME,
    street="St James's Square",
    number="12",
    city="London",
    zip_code="SW1Y 4JH",
    country="GB",
)
SAVED_ADDRESS = SavedAddress(
    id=ADDRESS_ID, address=_ADDRESS, created_at=_ORDERED_AT, updated_at=_ORDERED_AT
)

TOKENS = Tokens(
    access_token="eyJraWQiOiJrMSIsImFsZyI6IlJTMjU2In0.eyJzdWIi.c2ln",  # noqa: S106 cut short
    id_token="eyJraWQiOiJrMiIsImFsZyI6IlJTMjU2In0.eyJzdWIi.c2ln",  # noqa: S106 cut short
    refresh_token=REFRESH_TOKEN,
    expires_in=3600,
)

PRODUCT = ProductView(
    id=PRODUCT_ID,
    sku="TOP-1",
    name="Wooden top",
    description="Spins for a minute.",
    category="toys",
    tags=["wood"],
    image_url="https://example.com/top.png",
    price=_PRICE,
    stock=StockView(available=8, reserved=2, sold=0, unshipped=0),
    status=ProductStatus.ACTIVE,
    version=1,
    created_at=_ORDERED_AT - timedelta(days=1),
    updated_at=_ORDERED_AT - timedelta(days=1),
    low_stock_at=3,
)

ADJUSTMENT = StockAdjustmentView(
    id=ADJUSTMENT_ID,
    product_id=PRODUCT_ID,
    kind=AdjustmentKind.RECEIVED,
    reason="Delivery 4711",
    delta=12,
    before=10,
    after=22,
    by=USER_ID,
    at=_PAID_AT,
)
PRODUCT_FOR_ALL = structs.replace(PRODUCT, stock=StockView(available=8), low_stock_at=None)
"""As it is shown to who is no administrator."""

ORDER = OrderView(
    id=ORDER_ID,
    number=ORDER_NUMBER,
    user=User(id=USER_ID, name=NAME, email=EMAIL),
    lines=[Line(product_id=PRODUCT_ID, name="Wooden top", quantity=2, unit_price=_PRICE)],
    adjustments=[],
    total=_TOTAL,
    status=OrderStatus.AWAITING_PAYMENT,
    shipping_address=_ADDRESS,
    fulfillment=Fulfillment(),
    payment_attempts=0,
    expires_at=_ORDERED_AT + timedelta(minutes=15),
    version=1,
    created_at=_ORDERED_AT,
    updated_at=_ORDERED_AT,
    refunded=Money(0, "USD"),
)

SHIPMENT = ShipmentView(
    id=SHIPMENT_ID,
    lines=[Pieces(product_id=PRODUCT_ID, quantity=2)],
    status=ShipmentStatus.SHIPPED,
    shipped_at=_SHIPPED_AT,
    carrier="DHL",
    tracking="00340434161094042557",
)
DELIVERED = structs.replace(SHIPMENT, status=ShipmentStatus.DELIVERED, delivered_at=_DELIVERED_AT)
FAILED = structs.replace(SHIPMENT, status=ShipmentStatus.FAILED, failed_at=_DELIVERED_AT)
RETURN = ReturnView(
    id=RETURN_ID,
    lines=[ReturnedLine(product_id=PRODUCT_ID, quantity=1)],
    reason="It wobbles.",
    status=ReturnStatus.REQUESTED,
    requested_at=_RETURN_ASKED_AT,
)
ACCEPTED_RETURN = structs.replace(
    RETURN,
    status=ReturnStatus.ACCEPTED,
    note="Send it to Wharf Road 3, London.",
    decided_at=_RETURN_ASKED_AT + timedelta(hours=2),
)
DECLINED_RETURN = structs.replace(
    RETURN,
    status=ReturnStatus.DECLINED,
    note="It was used for a year.",
    decided_at=_RETURN_ASKED_AT + timedelta(hours=2),
)
RECEIVED_RETURN = structs.replace(
    ACCEPTED_RETURN,
    lines=[ReturnedLine(product_id=PRODUCT_ID, quantity=1, restocked=1)],
    status=ReturnStatus.RECEIVED,
    received_at=_RETURN_ASKED_AT + timedelta(days=3),
    refund_id=RETURN_ID.replace("ret_", "rfd_"),
    amount=_PRICE,
)

LESS_OF_AN_ORDER = structs.replace(
    ORDER,
    status=OrderStatus.AUTHORIZED,
    expires_at=None,
    called_off=[
        CallOff(
            id="cof_01a203e6031c7d20a5be1f0c8e6b4a78",
            lines=[Pieces(product_id=PRODUCT_ID, quantity=1)],
            reason="Out of print.",
            at=_SHIPPED_AT,
            amount=_PRICE,
        )
    ],
)

_CAPTURED = "evt_01a203e602ff7a3f9c41d2f5b8e07d13"
TIMELINE = [
    TimelineEntry(
        type="order.placed.v1",
        at=_ORDERED_AT,
        by=USER_ID,
        text="An order was stored, and its stock is reserved.",
        event_id="evt_01a203e602b67f1d8e2fb3bde59a6a1c",
        trace_id="0af7651916cd43dd8448eb211c80319c",
    ),
    TimelineEntry(
        type="order.paid.v1",
        at=_PAID_AT,
        by="payments",
        text="A captured payment covers the total.",
        event_id="evt_01a203e6031c7d20a5be1f0c8e6b4a77",
        because_of=_CAPTURED,
        trace_id=TRACE_ID,
    ),
]

PAYMENT_TIMELINE = [
    TimelineEntry(type="begun", at=_PAID_AT, by=USER_ID, text="The customer chose how to pay."),
    TimelineEntry(
        type="payment.captured.v1",
        at=_PAID_AT,
        by=USER_ID,
        text="The money was captured.",
        event_id=_CAPTURED,
        trace_id=TRACE_ID,
    ),
]

PAYMENT = PaymentView(
    id=PAYMENT_ID,
    order_id=ORDER_ID,
    user_id=USER_ID,
    amount=_TOTAL,
    method=Method.CARD,
    provider="simulator",
    provider_reference="pi_5f0c2d7a",
    card=CardSummary(brand="visa", last4="4242"),
    status=PaymentStatus.PAID,
    failure=None,
    timeline=[
        PaymentEntry(type="begun", at=_PAID_AT, by=USER_ID),
        PaymentEntry(type="captured", at=_PAID_AT, by="simulator"),
    ],
    created_at=_PAID_AT,
    updated_at=_PAID_AT,
)

PAYMENT_AT_PROVIDER = PaymentAtProvider(
    payment_id=PAYMENT_ID,
    provider="simulator",
    reference="pi_5f0c2d7a",
    entries=[
        LedgerEntry(
            id="17", at=_PAID_AT, kind=EntryKind.CAPTURED, payment_id=PAYMENT_ID, amount=_TOTAL
        )
    ],
    differences=[],
)

REFUND = Refund(
    id=REFUND_ID,
    amount=_PRICE,
    reason="One top came broken.",
    status=RefundStatus.PENDING,
    at=_CONFIRMED_AT,
)
REFUND_AMOUNT = Price(_PRICE.amount, _PRICE.currency)

CASH_PAYMENT = structs.replace(
    PAYMENT,
    method=Method.CASH_ON_DELIVERY,
    provider="cash",
    provider_reference=None,
    card=None,
    timeline=[
        PaymentEntry(type="begun", at=_PAID_AT, by=USER_ID),
        PaymentEntry(type="captured", at=_CONFIRMED_AT, by=_ADMIN_ID),
    ],
    updated_at=_CONFIRMED_AT,
)

CANCELED_PAYMENT = structs.replace(
    CASH_PAYMENT,
    status=PaymentStatus.CANCELED,
    timeline=[
        PaymentEntry(type="begun", at=_PAID_AT, by=USER_ID),
        PaymentEntry(type="canceled", at=_PAID_AT, by=USER_ID),
    ],
)
EXPECTED_TOTAL = Price(_TOTAL.amount, _TOTAL.currency)

LISTED_USER = ListedUser(
    id=USER_ID,
    name=NAME,
    email=EMAIL,
    status="CONFIRMED",
    enabled=True,
    created_at=_ORDERED_AT - timedelta(days=3),
    updated_at=_ORDERED_AT - timedelta(days=3),
)
USER = UserView(**structs.asdict(LISTED_USER), groups=[])
