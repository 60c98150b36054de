"""Promises 3 and 4: an order is AUTHORIZED if and only if it has one live authorization.

The provider's ledger is the witness: an `authorization` is live until a `capture`, a `void` or a
`lapse` ends it.
"""

from collections.abc import Iterator
from datetime import datetime

from cartwheel.contracts.orders import OrderStatus
from cartwheel.contracts.payments import PaymentStatus
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.money import WITNESSED
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import LedgerLine, Payment
from cartwheel.operations.verify.violation import Violation

AUTHORIZED = "authorization"
_ENDS = frozenset({"capture", "void", "lapse"})


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    authorized = [each for each in case.payments if each.status == PaymentStatus.AUTHORIZED]
    wrong = [*_of_order(case, authorized)]
    live_there = {line.payment_id for line in case.ledger if line.kind == AUTHORIZED}
    live_there -= {line.payment_id for line in case.ledger if line.kind in _ENDS}
    for payment in authorized:
        wrong += _timely(payment, case, patience, now)
        if payment.provider == WITNESSED and payment.id not in live_there:
            wrong.append(_wrong(case, payment, "is AUTHORIZED, but in the ledger it is not"))
        wrong += _of_same_amount(payment, case.ledger, case)
    for payment in case.payments:
        if payment.id in live_there and payment.status != PaymentStatus.AUTHORIZED:
            what = f"is {payment.status}, but in the ledger its authorization is live"
            wrong.append(_wrong(case, payment, what))
    if len(live_there) > 1:
        what = f"order {case.order_id} has {len(live_there)} live authorizations in the ledger"
        wrong.append(Violation(promise=4, sentence=what, ids=(case.order_id, *sorted(live_there))))
    return wrong


def _of_order(case: Case, authorized: list[Payment]) -> Iterator[Violation]:
    order = case.order
    if order is None:
        return
    ids = (order.id, *(payment.id for payment in authorized))
    awaits = ("orders", "payments")
    if order.status == OrderStatus.AUTHORIZED and order.authorized_by not in ids[1:]:
        sentence = f"order {order.id} is AUTHORIZED by {order.authorized_by}, which is not"
        yield Violation(promise=3, sentence=sentence, ids=ids, awaits=awaits)
    if order.status != OrderStatus.AUTHORIZED and authorized:
        sentence = f"order {order.id} is {order.status}, but payment {ids[1]} is AUTHORIZED"
        yield Violation(promise=3, sentence=sentence, ids=ids, awaits=awaits)


def _timely(payment: Payment, case: Case, patience: Patience, now: datetime) -> Iterator[Violation]:
    """An authorization is captured or voided before it lapses, and as soon as that is decided."""
    before = payment.capture_before
    if before is None or now - before > patience.grace:
        until = f"{before:%F %T}" if before else "nobody knows when"
        yield _wrong(case, payment, f"is still AUTHORIZED, which it was until {until}", promise=4)
    if payment.act_at is not None and now - payment.act_at >= patience.stuck_after:
        what = f"should have been captured or voided since {payment.act_at:%F %T}"
        yield _wrong(case, payment, what)


def _of_same_amount(
    payment: Payment, lines: tuple[LedgerLine, ...], case: Case
) -> Iterator[Violation]:
    for line in lines:
        if line.kind != AUTHORIZED or line.payment_id != payment.id:
            continue
        if (line.amount, line.currency) != (payment.amount.amount, payment.amount.currency):
            there = f"{line.amount} {line.currency}"
            here = f"{payment.amount.amount} {payment.amount.currency}"
            yield _wrong(case, payment, f"is for {here}, but {there} is authorized")


def _wrong(case: Case, payment: Payment, what: str, *, promise: int = 3) -> Violation:
    sentence = f"payment {payment.id} {what}"
    return Violation(
        promise=promise, sentence=sentence, ids=(case.order_id, payment.id), awaits=("payments",)
    )
