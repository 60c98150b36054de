"""Payments, requests and orders to begin with."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.orders import PayableOrder
from cartwheel.contracts.payments import CardSummary, CardToken, CashOnDelivery, CreatePayment
from cartwheel.kernel.messages import Cause
from cartwheel.kernel.money import Money
from cartwheel.payments import domain
from cartwheel.payments.domain import Payment

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
ZOE = Actor(user_id="user-zoe")
EVE = Actor(user_id="user-eve")
ADMIN = Actor(user_id="user-ada", admin=True)
CAUSE = Cause(by="simulator")
TOTAL = Money(4248, "USD")
VISA = CardSummary(brand="visa", last4="4242")
CASH = CashOnDelivery()


def now() -> datetime:
    return AT


def later() -> datetime:
    """When a payment made `now` without a verdict counts as interrupted."""
    return LATER


def create(
    order_id: str = "ord_1",
    method: CardToken | CashOnDelivery = CASH,
    *,
    request_id: str | None = None,
    body_hash: str = "hash",
    actor: Actor = ZOE,
) -> CreatePayment:
    return CreatePayment(
        request_id=request_id or str(uuid4()),
        body_hash=body_hash,
        actor=actor,
        order_id=order_id,
        method=method,
    )


def payment(method: CardToken | CashOnDelivery) -> Payment:
    """Return the first payment of an order, stored: nothing about it is left to publish."""
    made = domain.begin(
        create(method=method),
        PayableOrder(order_id="ord_1", total=TOTAL, attempts=3),
        payment_id="pay_1",
        attempt=1,
        provider="cash" if isinstance(method, CashOnDelivery) else "simulator",
        at=AT,
    )
    return msgspec.structs.replace(made, events=(), cause=None)
