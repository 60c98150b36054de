"""Promises 3 and 4: a payment waits for its customer in time, and cannot be approved after its end.

The provider's ledger has a line when a customer is asked, and another when that has ended.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from cartwheel.contracts.orders import OrderStatus
from cartwheel.contracts.payments import PaymentStatus
from cartwheel.operations.verify.authorizations import AUTHORIZED
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import LedgerLine, Payment
from cartwheel.operations.verify.violation import Violation

_LATE = timedelta(seconds=60)
"""This long after its time and the grace period, a waiting payment must be ended: a job in payments
does it a few seconds after the order's."""

_UNDECIDED = (PaymentStatus.AWAITING_PAYMENT, PaymentStatus.REQUIRES_ACTION)
_ANSWERS = ("charge", "decline", "cancellation", AUTHORIZED)


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    return [
        violation
        for payment in case.payments
        for violation in (*_in_time(payment, case, patience, now), *_ended(payment, case))
    ]


def _in_time(
    payment: Payment, case: Case, patience: Patience, now: datetime
) -> Iterator[Violation]:
    if payment.status != PaymentStatus.REQUIRES_ACTION:
        return
    if payment.retry is not None and now - payment.retry.since < patience.stuck_after:
        return  # the provider does not answer; the job retries
    order, action = case.order, payment.next_action
    if order is not None and order.status != OrderStatus.AWAITING_PAYMENT:
        what = f"still waits for its customer, but order {order.id} is {order.status}"
        yield _wrong(3, payment, what, awaits=("orders", "payments"))
    if action is None:
        yield _wrong(3, payment, "requires an action, and does not say which")
    elif now - action.expires_at > patience.grace + _LATE:
        what = f"still waits for its customer, who had until {action.expires_at:%F %T}"
        yield _wrong(3, payment, what, awaits=("payments",))


def _ended(payment: Payment, case: Case) -> Iterator[Violation]:
    lines = [line for line in case.ledger if line.payment_id == payment.id]
    if payment.status not in _UNDECIDED and _can_be_approved(lines):
        yield _wrong(4, payment, f"is {payment.status}, but can still be approved at its provider")


def _can_be_approved(lines: list[LedgerLine]) -> bool:
    kinds = {line.kind for line in lines}
    return "challenge" in kinds and kinds.isdisjoint(_ANSWERS)


def _wrong(promise: int, payment: Payment, what: str, awaits: tuple[str, ...] = ()) -> Violation:
    ids = (payment.order_id, payment.id)
    return Violation(
        promise=promise, sentence=f"payment {payment.id} {what}", ids=ids, awaits=awaits
    )
