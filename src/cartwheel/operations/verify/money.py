"""Promises 3 and 4: a paid order keeps one capture of its total; any other order keeps none.

The provider's ledger says what was captured and refunded. For cash, and for a provider whose ledger
cannot be read, the data of payments is used.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from cartwheel.contracts.orders import OrderStatus
from cartwheel.contracts.payments import PaymentStatus
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import LedgerLine, Order, Payment, Refund
from cartwheel.operations.verify.violation import Violation

WITNESSED = "simulator"
"""The provider whose ledger can be read."""

CASH = "cash"
"""The provider of payments in cash on delivery, which may arrive at any time."""

_CAPTURED = frozenset({"PAID", "REFUNDED"})
_LIVE = frozenset({"AWAITING_PAYMENT", "PAID"})


class Takings(msgspec.Struct, frozen=True, kw_only=True):
    """The money of a payment, in minor units: captured, refunded, and due to be refunded."""

    payment: Payment
    captured: int
    refunded: int
    pending: int

    @property
    def kept(self) -> int:
        return self.captured - self.refunded - self.pending


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    lines = {payment.id: [] for payment in case.payments} | _by_payment(case.ledger)
    takings = [_takings(payment, lines[payment.id]) for payment in case.payments]
    wrong: list[Violation] = []
    for each in takings:
        payment = each.payment
        if payment.provider == WITNESSED:
            wrong += _charges(each, lines[payment.id], case)
        else:
            wrong += _strayed(payment, lines[payment.id], case)
        wrong += _refunds(payment, lines[payment.id], case)
        wrong += _of_itself(each, case)
        wrong += _unfinished(payment, case, patience, now)
    return [*wrong, *_of_order(case, takings)]


def unknown_to_payments(line: LedgerLine) -> Violation:
    """Return the violation that the provider moved money for a payment unknown to payments."""
    sentence = f"the provider's ledger has a {line.kind} for the unknown payment {line.payment_id}"
    return Violation(promise=3, sentence=sentence, ids=(line.payment_id,))


def _by_payment(ledger: tuple[LedgerLine, ...]) -> dict[str, list[LedgerLine]]:
    lines: dict[str, list[LedgerLine]] = {}
    for line in ledger:
        lines.setdefault(line.payment_id, []).append(line)
    return lines


def _takings(payment: Payment, lines: list[LedgerLine]) -> Takings:
    own = [each for each in payment.refunds if _maker(each, payment) == payment.provider]
    if payment.provider == WITNESSED:
        captured, refunded = _moved(lines)
    else:
        taken = payment.status in _CAPTURED or bool(own)
        captured = (payment.captured or payment.amount).amount if taken else 0
        refunded = sum(each.amount.amount for each in own if each.status == "SUCCEEDED")
    return Takings(
        payment=payment, captured=captured, refunded=refunded, pending=_pending(own, lines)
    )


def _moved(lines: list[LedgerLine]) -> tuple[int, int]:
    """Return the charged and the refunded amounts in the ledger."""
    charged = sum(line.amount for line in lines if line.kind == "charge")
    return charged, sum(line.amount for line in lines if line.kind == "refund")


def _pending(refunds: list[Refund], lines: list[LedgerLine]) -> int:
    done = {line.refund_id for line in lines}
    return sum(
        each.amount.amount for each in refunds if each.status == "PENDING" and each.id not in done
    )


def _maker(refund: Refund, payment: Payment) -> str:
    return refund.provider or payment.provider


def _charges(takings: Takings, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    payment = takings.payment
    charges = [line for line in lines if line.kind == "charge"]
    if len(charges) > 1:
        yield _wrong(4, case, payment, f"was charged {len(charges)} times")
    for line in charges:
        differs = (line.amount, line.currency) != (payment.amount.amount, payment.amount.currency)
        if differs and takings.kept > 0:
            charged = f"{line.amount} {line.currency}"
            yield _wrong(3, case, payment, f"is for {_amount(payment)}, but {charged} was charged")
    if payment.status in _CAPTURED and not charges:
        yield _wrong(3, case, payment, f"is {payment.status}, but the ledger has no charge for it")


def _strayed(payment: Payment, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    """A charge for another provider's payment must be refunded."""
    charged, refunded = _moved(lines)
    foreign = [each for each in payment.refunds if _maker(each, payment) == WITNESSED]
    kept = charged - refunded - _pending(foreign, lines)
    if kept > 0:
        what = (
            f"is by {payment.provider}, but {WITNESSED} charged {kept} for it and keeps the money"
        )
        yield _wrong(3, case, payment, what)


def _refunds(payment: Payment, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    refunds = {line.refund_id: line.amount for line in lines if line.kind == "refund"}
    known = {refund.id for refund in payment.refunds}
    for refund in payment.refunds:
        witnessed = refund.status == "SUCCEEDED" and _maker(refund, payment) == WITNESSED
        if witnessed and refunds.get(refund.id) != refund.amount.amount:
            yield _wrong(3, case, payment, f"has refund {refund.id}, but the ledger does not")
    for refund_id in refunds.keys() - known:
        yield _wrong(3, case, payment, f"lacks refund {refund_id}, but the ledger has it")


def _of_itself(takings: Takings, case: Case) -> Iterator[Violation]:
    payment = takings.payment
    if takings.kept > 0 and payment.status not in _CAPTURED:
        yield _wrong(3, case, payment, f"was captured, but is {payment.status}")
    if takings.kept < 0:
        yield _wrong(3, case, payment, f"refunds {-takings.kept} more than was captured")
    if payment.status == "REFUNDED" and takings.kept > 0:
        yield _wrong(3, case, payment, f"is REFUNDED, but {takings.kept} of it is kept")
    all_refunded = takings.captured and takings.refunded == takings.captured
    recorded = all(refund.status == "SUCCEEDED" for refund in payment.refunds)
    if payment.status == "PAID" and all_refunded and recorded:
        yield _wrong(3, case, payment, "is PAID, but all of it was refunded")
    if payment.live != (payment.status in _LIVE):
        live = "live" if payment.live else "not live"
        yield _wrong(4, case, payment, f"is {payment.status}, but {live}")
    if case.order and payment.amount != case.order.total:
        total = f"{case.order.total.amount} {case.order.total.currency}"
        yield _wrong(3, case, payment, f"is for {_amount(payment)}, but its order for {total}")


def _unfinished(
    payment: Payment, case: Case, patience: Patience, now: datetime
) -> Iterator[Violation]:
    """A provider needs at most a day (`stuck_after`), and a closed order awaits no cash.

    `updated_at` does not change while a job keeps retrying.
    """
    awaited = payment.status == PaymentStatus.AWAITING_PAYMENT
    order = case.order
    in_cash = payment.provider == CASH
    if awaited and in_cash and order and order.status != OrderStatus.AWAITING_PAYMENT:
        yield Violation(
            promise=3,
            sentence=f"order {order.id} is {order.status}, but payment {payment.id} still pending",
            ids=(order.id, payment.id),
            awaits=("orders", "payments"),
        )
    if now - payment.updated_at < patience.stuck_after:
        return
    since = f"since {payment.updated_at:%F %T}{_why(payment)}"
    if awaited and not in_cash:
        yield _wrong(3, case, payment, f"has been waiting for its verdict {since}")
    for refund in payment.refunds:
        if refund.status == "PENDING":
            yield _wrong(3, case, payment, f"has been waiting for refund {refund.id} {since}")


def _why(payment: Payment) -> str:
    retry = payment.retry
    return f", after {retry.failures} failures: {retry.error!r}" if retry else ""


def _of_order(case: Case, takings: list[Takings]) -> Iterator[Violation]:
    kept = [each.payment for each in takings if each.kept > 0]
    live = [each.payment for each in takings if each.payment.live]
    for many, what in ((kept, "keeps the money of"), (live, "has")):
        if len(many) > 1:
            yield Violation(
                promise=4,
                sentence=f"order {case.order_id} {what} {len(many)} payments"
                + (" that are live" if many is live else ""),
                ids=(case.order_id, *(payment.id for payment in many)),
                awaits=("orders", "payments"),
            )
    order = case.order
    if order is None:
        for payment in kept:
            yield _wrong(3, case, payment, "is kept for an order that does not exist")
    elif order.status == OrderStatus.PAID:
        yield from _paid(order, kept)
    else:
        for payment in kept:
            yield Violation(
                promise=3,
                sentence=f"order {order.id} is {order.status}, but the money of payment "
                f"{payment.id} is kept",
                ids=(order.id, payment.id),
                awaits=("orders", "payments"),
            )


def _paid(order: Order, kept: list[Payment]) -> Iterator[Violation]:
    if not kept:
        yield Violation(
            promise=3,
            sentence=f"order {order.id} is PAID, but no money is kept for it",
            ids=(order.id, *([order.paid_by] if order.paid_by else [])),
            awaits=("orders",),
        )
    elif order.paid_by not in {payment.id for payment in kept}:
        ids = (order.id, *(payment.id for payment in kept))
        sentence = f"order {order.id} is PAID by {order.paid_by}, but keeps the money of {ids[1]}"
        yield Violation(promise=3, sentence=sentence, ids=ids, awaits=("orders", "payments"))


def _wrong(promise: int, case: Case, payment: Payment, what: str) -> Violation:
    sentence = f"payment {payment.id} {what}"
    return Violation(promise=promise, sentence=sentence, ids=(case.order_id, payment.id))


def _amount(payment: Payment) -> str:
    return f"{payment.amount.amount} {payment.amount.currency}"
