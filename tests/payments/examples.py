"""Examples of payments, requests and orders."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import msgspec

from cartwheel.contracts.identity import Actor, User
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    Line,
    OrderCanceled,
    OrderPaymentUnwanted,
    OrderRefundDue,
    OrderSnapshot,
    PayableOrder,
    ShippingAddress,
)
from cartwheel.contracts.payments import (
    CardSummary,
    CardToken,
    CashOnDelivery,
    CreatePayment,
    CreateRefund,
    DisputeStatus,
    Failure,
    Method,
    PaymentView,
    ReportDispute,
    ReportRefund,
    ReportVerdict,
    Wallet,
)
from cartwheel.kernel import Change, CloudEvent, Event, new_id
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment

Data = TypeVar("Data", bound=Event)

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
ZOE = Actor(user_id="user-zoe")
EVE = Actor(user_id="user-eve")
ADMIN = Actor(user_id="user-ada", admin=True)
GATEWAY = Actor.service("gateway")
CLOSED = Failure(code="account_closed", message="The account was closed.")
CHANGE = Change(by="simulator", at=LATER)
TOTAL = Money(4248, "USD")
VISA = CardSummary(brand="visa", last4="4242")
CASH = CashOnDelivery()


def now() -> datetime:
    return AT


def later() -> datetime:
    """Return the time at which a payment made `now` counts as interrupted without a verdict."""
    return LATER


def create(
    order_id: str = "ord_1",
    method: CardToken | Wallet | CashOnDelivery = CASH,
    *,
    request_id: str | None = None,
    body_hash: str = "hash",
    actor: Actor = ZOE,
    address: ShippingAddress | None = None,
    return_url: str | None = None,
) -> CreatePayment:
    return CreatePayment(
        request_id=request_id or str(uuid4()),
        body_hash=body_hash,
        actor=actor,
        order_id=order_id,
        method=method,
        shipping_address=address,
        return_url=return_url,
    )


def payment(
    method: CardToken | Wallet | CashOnDelivery, address: ShippingAddress | None = None
) -> Payment:
    """Return the stored first payment of an order, with no events left to publish."""
    made = domain.begin(
        create(method=method, address=address),
        PayableOrder(order_id="ord_1", total=TOTAL, attempts=3),
        payment_id="pay_1",
        provider="cash" if isinstance(method, CashOnDelivery) else "simulator",
        at=AT,
    )
    return msgspec.structs.replace(made, events=(), change=None)


def reported(
    payment: PaymentView,
    *,
    captured: bool = True,
    failure: Failure | None = None,
    **otherwise: object,
) -> ReportVerdict:
    """Return the report in the simulator's webhook about a card payment, changed by `otherwise`."""
    report = ReportVerdict(
        provider="simulator",
        payment_id=payment.id,
        captured=captured,
        failure=failure,
        reference=payment.provider_reference,
        method=Method.CARD,
        amount=payment.amount,
    )
    return msgspec.structs.replace(report, **otherwise)


def happened(data: Data, order_id: str, sequence: int = 2) -> CloudEvent[Data]:
    return CloudEvent(
        id=new_id("evt"),
        type=data.type,
        source="orders",
        subject=order_id,
        sequence=sequence,
        time=AT,
        data=data,
    )


def canceled(order_id: str) -> CloudEvent[OrderCanceled]:
    order = OrderSnapshot(
        id=order_id,
        number="K7QM3-XWD9A",
        user=User(id=ZOE.user_id, name="Zoë", email="zoe@example.com"),
        lines=[Line(product_id="prd_1", name="Mug", quantity=1, unit_price=TOTAL)],
        total=TOTAL,
    )
    return happened(OrderCanceled(order=order, reason="No more.", was_paid=False), order_id)


def refund_due(
    order_id: str, payment_id: str, amount: Money = TOTAL, refund_id: str | None = None
) -> CloudEvent[OrderRefundDue]:
    due = OrderRefundDue(
        order_id=order_id,
        payment_id=payment_id,
        amount=amount,
        reason="too late",
        refund_id=refund_id,
    )
    return happened(due, order_id, 3)


def refunding(
    payment_id: str = "pay_1",
    amount: Money | None = None,
    *,
    request_id: str | None = None,
    body_hash: str = "hash",
    actor: Actor = ADMIN,
    **more: Any,
) -> CreateRefund:
    """Return an admin's request to refund `amount`, or all that is left."""
    return CreateRefund(
        request_id=request_id or str(uuid4()),
        body_hash=body_hash,
        payment_id=payment_id,
        reason="One came broken.",
        amount=amount,
        actor=actor,
        **more,
    )


def failed_refund(
    payment_id: str, refund_id: str, amount: Money, /, **otherwise: Any
) -> ReportRefund:
    """Return the report in the simulator's webhook about a refund, changed by `otherwise`."""
    report = ReportRefund(
        provider="simulator",
        payment_id=payment_id,
        refund_id=refund_id,
        amount=amount,
        failure=CLOSED,
        actor=GATEWAY,
    )
    return msgspec.structs.replace(report, **otherwise)


def disputed(
    payment_id: str,
    status: DisputeStatus = DisputeStatus.NEEDS_RESPONSE,
    amount: Money = TOTAL,
    /,
    **otherwise: Any,
) -> ReportDispute:
    """Return the report in the simulator's webhook about a dispute, changed by `otherwise`."""
    report = ReportDispute(
        provider="simulator",
        payment_id=payment_id,
        dispute_id="dp_1",
        amount=amount,
        status=status,
        reason="fraudulent",
        actor=GATEWAY,
    )
    return msgspec.structs.replace(report, **otherwise)


def unwanted(order_id: str, payment_id: str) -> CloudEvent[OrderPaymentUnwanted]:
    told = OrderPaymentUnwanted(order_id=order_id, payment_id=payment_id, reason="CANCELED")
    return happened(told, order_id, 3)
