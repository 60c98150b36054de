"""Examples of orders, requests and events."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import msgspec

from cartwheel.contracts.identity import User
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import PlaceOrder, ShippingAddress
from cartwheel.contracts.payments import (
    Failure,
    Method,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentDisputeClosed,
    PaymentPending,
    PaymentRefunded,
    PaymentRefundFailed,
)
from cartwheel.contracts.products import Item, Reservation, ReservedLine, StockShortage
from cartwheel.kernel import Change, CloudEvent, Event, new_id
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import Order

Data = TypeVar("Data", bound=Event)

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)
ZOE = User(id="user-zoe", name="Zoë Müller", email="zoe@example.com")
CHANGE = Change(by="payments", at=LATER)
DECLINED = Failure(code="card_declined", message="Your card was declined.")
ADDRESS = ShippingAddress(
    name="Zoë Müller", street="Lindenstraße", number="7b", city="Köln", zip_code="50674"
)
BONN: ShippingAddress = msgspec.structs.replace(ADDRESS, city="Bonn", zip_code="53111")
DOLLARS = Money(1999, "USD")
TOTAL = Money(2 * 1999 + 250, "USD")


def now() -> datetime:
    return AT


def place(
    *items: tuple[str, int],
    request_id: str | None = None,
    body_hash: str = "hash",
    user: User = ZOE,
    address: ShippingAddress | None = None,
) -> PlaceOrder:
    return PlaceOrder(
        request_id=request_id or str(uuid4()),
        body_hash=body_hash,
        user=user,
        items=[Item(product_id=product_id, quantity=quantity) for product_id, quantity in items],
        shipping_address=address,
    )


def reservation(request: PlaceOrder) -> Reservation:
    """Return a reservation of two mugs and a spoon for `request`."""
    return Reservation(
        order_id=new_id("ord"),
        body_hash=request.body_hash,
        lines=[
            ReservedLine(product_id="prd_1", name="Mug", quantity=2, unit_price=DOLLARS),
            ReservedLine(
                product_id="prd_2", name="Spoon", quantity=1, unit_price=Money(250, "USD")
            ),
        ],
    )


def order(user: User = ZOE, address: ShippingAddress | None = ADDRESS) -> Order:
    """Return a stored order, with no events left to publish."""
    request = place(("prd_1", 2), ("prd_2", 1), user=user, address=address)
    made = rules.place(request, reservation(request), number=new_id("no"), at=AT)
    return msgspec.structs.replace(made, sequence=1, events=(), change=None)


def money_captured(
    payment_id: str = "pay_1", amount: Money = TOTAL, address: ShippingAddress | None = None
) -> PaymentCaptured:
    return PaymentCaptured(
        payment_id=payment_id, order_id="ord_1", amount=amount, shipping_address=address
    )


def payment_refused(
    payment_id: str, *, counts: bool = True, address: ShippingAddress | None = None
) -> PaymentDeclined:
    return PaymentDeclined(
        payment_id=payment_id,
        order_id="ord_1",
        failure=DECLINED,
        counts=counts,
        shipping_address=address,
    )


def payment_awaited(
    method: Method = Method.CASH_ON_DELIVERY,
    payment_id: str = "pay_6",
    address: ShippingAddress | None = None,
) -> PaymentPending:
    return PaymentPending(
        payment_id=payment_id, order_id="ord_1", method=method, shipping_address=address
    )


def money_reserved(
    payment_id: str = "pay_1", amount: Money = TOTAL, address: ShippingAddress | None = None
) -> PaymentAuthorized:
    return PaymentAuthorized(
        payment_id=payment_id,
        order_id="ord_1",
        amount=amount,
        capture_before=AT + timedelta(days=7),
        shipping_address=address,
    )


def approval_needed(payment_id: str = "pay_7") -> PaymentActionRequired:
    return PaymentActionRequired(
        payment_id=payment_id, order_id="ord_1", expires_at=AT + timedelta(minutes=15)
    )


def payment_given_up(payment_id: str = "pay_6") -> PaymentCanceled:
    return PaymentCanceled(payment_id=payment_id, order_id="ord_1")


def money_returned(
    payment_id: str = "pay_1", amount: Money = TOTAL, refund_id: str = "rfd_1"
) -> PaymentRefunded:
    return PaymentRefunded(
        payment_id=payment_id, order_id="ord_1", refund_id=refund_id, amount=amount
    )


def money_came_back(
    payment_id: str = "pay_1", amount: Money = TOTAL, refund_id: str = "rfd_1"
) -> PaymentRefundFailed:
    return PaymentRefundFailed(
        payment_id=payment_id,
        order_id="ord_1",
        refund_id=refund_id,
        amount=amount,
        failure=Failure(code="account_closed", message="The account was closed."),
    )


def dispute_decided(*, won: bool = False, amount: Money = TOTAL) -> PaymentDisputeClosed:
    return PaymentDisputeClosed(
        payment_id="pay_1", order_id="ord_1", dispute_id="dp_1", amount=amount, won=won
    )


def happened(data: Data, *, sequence: int = 1, subject: str = "pay_1") -> CloudEvent[Data]:
    return CloudEvent(
        id=new_id("evt"),
        type=data.type,
        source="payments",
        subject=subject,
        sequence=sequence,
        time=AT,
        data=data,
    )


def captured(
    order_id: str,
    payment_id: str = "pay_1",
    amount: Money = TOTAL,
    address: ShippingAddress | None = None,
) -> CloudEvent[PaymentCaptured]:
    return happened(
        PaymentCaptured(
            payment_id=payment_id, order_id=order_id, amount=amount, shipping_address=address
        )
    )


def declined(
    order_id: str,
    payment_id: str = "pay_1",
    *,
    counts: bool = True,
    address: ShippingAddress | None = None,
) -> CloudEvent[PaymentDeclined]:
    return happened(
        PaymentDeclined(
            payment_id=payment_id,
            order_id=order_id,
            failure=DECLINED,
            counts=counts,
            shipping_address=address,
        )
    )


def pending(
    order_id: str,
    method: Method = Method.CASH_ON_DELIVERY,
    payment_id: str = "pay_1",
    address: ShippingAddress | None = None,
) -> CloudEvent[PaymentPending]:
    return happened(
        PaymentPending(
            payment_id=payment_id, order_id=order_id, method=method, shipping_address=address
        )
    )


def payment_canceled(order_id: str, payment_id: str = "pay_1") -> CloudEvent[PaymentCanceled]:
    return happened(PaymentCanceled(payment_id=payment_id, order_id=order_id), sequence=2)


def refunded(
    order_id: str, payment_id: str = "pay_1", amount: Money = TOTAL
) -> CloudEvent[PaymentRefunded]:
    return happened(
        PaymentRefunded(payment_id=payment_id, order_id=order_id, refund_id="rfd_1", amount=amount),
        sequence=2,
    )


def shortage(order_id: str) -> CloudEvent[StockShortage]:
    return happened(StockShortage(order_id=order_id), subject=order_id)
