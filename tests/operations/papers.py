"""A correct order with its documents, as the services store them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cartwheel.contracts.money import Money
from cartwheel.operations.verify import mails, passes
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import (
    Dispute,
    GivenBack,
    Happened,
    LedgerLine,
    Line,
    Mail,
    Order,
    Payment,
    Refund,
    Reservation,
    Unpublished,
)
from cartwheel.operations.verify.violation import Violation

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
TEN_DAYS_AGO = NOW - timedelta(days=10)
TOTAL = Money(1999, "USD")
PATIENCE = Patience(
    grace=timedelta(seconds=60),
    orphaned_reservation=timedelta(minutes=12),
    stuck_after=timedelta(hours=24),
)


def order(status: str = "PAID", *happened: str, **changes: Any) -> Order:
    events = happened or ("order.placed.v1", *_ENDS[status])
    given = Order(
        id="ord_1",
        status=status,
        total=TOTAL,
        lines=(Line(product_id="prd_1", quantity=2),),
        updated_at=LONG_AGO,
        expires_at=NOW + timedelta(minutes=5) if status == "AWAITING_PAYMENT" else None,
        paid_by="pay_1" if status in {"PAID", "REFUNDED"} else None,
        sequence=len(events),
        timeline=tuple(Happened(type=event, at=LONG_AGO) for event in events),
    )
    return msgspec.structs.replace(given, **changes)


_ENDS: dict[str, tuple[str, ...]] = {
    "AWAITING_PAYMENT": (),
    "AUTHORIZED": ("order.authorized.v1",),
    "PAID": ("order.paid.v1",),
    "REFUNDED": ("order.paid.v1", "order.refunded.v1"),
    "REJECTED": ("order.rejected.v1",),
    "CANCELED": ("order.canceled.v1",),
}


def reservation(status: str = "COMMITTED", **changes: Any) -> Reservation:
    given = Reservation(
        id="ord_1",
        status=status,
        lines=(Line(product_id="prd_1", quantity=2),),
        held_at=LONG_AGO,
        order_sequence=2,
    )
    return msgspec.structs.replace(given, **changes)


def payment(status: str = "PAID", id: str = "pay_1", **changes: Any) -> Payment:
    given = Payment(
        id=id,
        order_id="ord_1",
        amount=TOTAL,
        provider="simulator",
        status=status,
        live=status in {"AWAITING_PAYMENT", "AUTHORIZED", "PAID", "PARTIALLY_REFUNDED"},
        updated_at=LONG_AGO,
        sequence=1,
    )
    return msgspec.structs.replace(given, **changes)


def mail(reason: str = "order.paid.v1", id: str = "evt_1", **changes: Any) -> Mail:
    given = Mail(id=id, order_id="ord_1", reason=reason, status="SENT", created_at=LONG_AGO)
    return msgspec.structs.replace(given, **changes)


def mails_about(order: Order) -> tuple[Mail, ...]:
    """Return a mail for each of the order's events that call for one."""
    deserving = [entry.type for entry in order.timeline if entry.type in mails.DESERVING]
    return tuple(mail(reason, f"evt_{number}") for number, reason in enumerate(deserving, start=1))


def charge(payment_id: str = "pay_1", amount: int = 1999, **changes: Any) -> LedgerLine:
    given = LedgerLine(
        id=1, at=LONG_AGO, kind="charge", payment_id=payment_id, amount=amount, currency="USD"
    )
    return msgspec.structs.replace(given, **changes)


def refunded(payment_id: str = "pay_1", amount: int = 1999, id: str = "rfd_1") -> LedgerLine:
    return charge(payment_id, amount, id=2, kind="refund", refund_id=id)


def refund(
    status: str = "SUCCEEDED",
    amount: int = 1999,
    id: str = "rfd_1",
    provider: str | None = None,
    **more: Any,
) -> Refund:
    given = Refund(id=id, amount=Money(amount, "USD"), status=status, provider=provider)
    return msgspec.structs.replace(given, **more)


def given_back(
    status: str = "SUCCEEDED", amount: int = 1999, id: str = "rfd_1", payment_id: str = "pay_1"
) -> GivenBack:
    """Return a refund as its order counts it."""
    return GivenBack(id=id, payment_id=payment_id, amount=Money(amount, "USD"), status=status)


def came_back(amount: int = 1999, id: str = "rfd_1") -> LedgerLine:
    """Return the line of a refund that failed."""
    return charge(amount=amount, id=3, kind="refund_failed", refund_id=id)


def dispute(status: str = "NEEDS_RESPONSE", amount: int = 1999, at: datetime = LONG_AGO) -> Dispute:
    return Dispute(id="dp_1", amount=Money(amount, "USD"), status=status, at=at)


def disputed(kind: str = "dispute_opened", amount: int = 1999) -> LedgerLine:
    return charge(amount=amount, id=4, kind=kind, dispute_id="dp_1")


def unpublished(sequence: int, at: datetime = LONG_AGO) -> Unpublished:
    return Unpublished(id=f"evt_{sequence}", type="order.paid.v1", sequence=sequence, time=at)


def paid(**changes: Any) -> Case:
    """Return a paid order with all its documents."""
    case = Case(
        order_id="ord_1",
        order=order(),
        reservation=reservation(),
        payments=(payment(),),
        ledger=(charge(),),
        mails=(mail(),),
    )
    return msgspec.structs.replace(case, **changes)


def wrong(case: Case) -> list[Violation]:
    return passes.check(case, PATIENCE, NOW)


def told(violations: Sequence[Violation]) -> list[tuple[int, tuple[str, ...]]]:
    """Return the broken promises, each with the ids of the documents."""
    return [(each.promise, each.ids) for each in violations]
