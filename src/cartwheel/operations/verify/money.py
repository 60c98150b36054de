"""Promises 3 and 4: a paid order keeps some of its one capture; any other order keeps none.

`authorizations` looks at money that is only reserved.

The provider's ledger says what was captured, refunded and disputed. For cash, for money that was
paid back by other means, and for a provider whose ledger cannot be read, the data of payments is
used.
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

TAKEN = frozenset({"charge", "capture"})
"""The lines of the ledger that take money: at once, or of an authorization."""

_CAPTURED = frozenset({"PAID", "PARTIALLY_REFUNDED", "REFUNDED"})
_LIVE = frozenset(
    {"AWAITING_PAYMENT", "REQUIRES_ACTION", "AUTHORIZED", "PAID", "PARTIALLY_REFUNDED"}
)
_NOT_MADE = frozenset({"FAILED", "CANCELED"})
_OPEN = "NEEDS_RESPONSE"


class Takings(msgspec.Struct, frozen=True, kw_only=True):
    """The money of a payment, in minor units.

    `pending` is due to be refunded, and was for less than `Patience.stuck_after`. `lost` went back
    in disputes.
    """

    payment: Payment
    captured: int
    refunded: int
    pending: int
    lost: int

    @property
    def held(self) -> int:
        """What has not gone back."""
        return self.captured - self.refunded - self.lost

    @property
    def kept(self) -> int:
        """What has not gone back, and is not about to."""
        return self.held - self.pending

    @property
    def needs_a_person(self) -> bool:
        """Return whether only a person can decide how the kept money goes back."""
        payment = self.payment
        failed = sum(each.amount.amount for each in payment.refunds if each.status in _NOT_MADE)
        disputed = any(each.status == _OPEN for each in payment.disputes)
        return self.held < 0 or (self.kept > 0 and (disputed or self.kept <= failed))


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    lines = {payment.id: [] for payment in case.payments} | _by_payment(case.ledger)
    takings = [_takings(payment, lines[payment.id], patience, now) for payment in case.payments]
    wrong: list[Violation] = []
    for each in takings:
        payment = each.payment
        if payment.provider == WITNESSED:
            wrong += _charges(each, lines[payment.id], case)
            wrong += _disputes(payment, lines[payment.id], case)
        else:
            wrong += _strayed(payment, lines[payment.id], case)
        wrong += _refunds(payment, lines[payment.id], case)
        wrong += _of_itself(each, case)
        wrong += _unfinished(payment, case, patience, now)
    return [*wrong, *_of_order(case, takings)]


def needing_a_person(case: Case, patience: Patience, now: datetime) -> list[str]:
    """Return the payments whose money only a person can send back, and since when.

    They are no violations: the provider failed a refund of money that the order does not want, the
    payment is disputed, or refunds and disputes come to more than the capture.
    """
    lines = {payment.id: [] for payment in case.payments} | _by_payment(case.ledger)
    found: list[str] = []
    for payment in case.payments:
        takings = _takings(payment, lines[payment.id], patience, now)
        wanted = _wants(case.order, payment) and takings.held >= 0
        if takings.needs_a_person and not wanted:
            failed = [each.at for each in payment.refunds if each.at and each.status in _NOT_MADE]
            disputed = [each.at for each in payment.disputes]
            since = min([*failed, *disputed], default=payment.updated_at)
            found.append(f"{payment.id} for {_age(now, since)}")
    return found


def unknown_to_payments(line: LedgerLine) -> Violation:
    """Return the violation that the provider moved money for a payment unknown to payments."""
    sentence = f"the provider's ledger has a {line.kind} for the unknown payment {line.payment_id}"
    return Violation(promise=3, sentence=sentence, ids=(line.payment_id,))


def _age(now: datetime, since: datetime) -> str:
    hours = int((now - since).total_seconds() // 3600)
    return f"{hours // 24} d" if hours >= 48 else f"{hours} h"


def _wants(order: Order | None, payment: Payment) -> bool:
    paid = order is not None and order.status == OrderStatus.PAID
    return paid and order is not None and order.paid_by == payment.id


def _by_payment(ledger: tuple[LedgerLine, ...]) -> dict[str, list[LedgerLine]]:
    lines: dict[str, list[LedgerLine]] = {}
    for line in ledger:
        lines.setdefault(line.payment_id, []).append(line)
    return lines


def _takings(
    payment: Payment, lines: list[LedgerLine], patience: Patience, now: datetime
) -> Takings:
    own = [each for each in payment.refunds if _maker(each, payment) == payment.provider]
    by_other_means = [each for each in own if each.by_other_means]
    if payment.provider == WITNESSED:
        captured = _charged(lines)
        refunded = sum(_made(lines).values()) + _sum_of(by_other_means, "SUCCEEDED")
        lost = sum(line.amount for line in lines if line.kind == "dispute_lost")
    else:
        taken = payment.status in _CAPTURED or bool(own)
        captured = (payment.captured or payment.amount).amount if taken else 0
        refunded = _sum_of(own, "SUCCEEDED")
        lost = sum(each.amount.amount for each in payment.disputes if each.status == "LOST")
    young = [each for each in own if now - (each.at or payment.updated_at) < patience.stuck_after]
    return Takings(
        payment=payment,
        captured=captured,
        refunded=refunded,
        pending=_pending(young, lines),
        lost=lost,
    )


def _sum_of(refunds: list[Refund], status: str) -> int:
    return sum(each.amount.amount for each in refunds if each.status == status)


def _charged(lines: list[LedgerLine]) -> int:
    return sum(line.amount for line in lines if line.kind in TAKEN)


def _made(lines: list[LedgerLine]) -> dict[str | None, int]:
    """Return the amounts of the refunds in the ledger that did not fail, by id."""
    failed = {line.refund_id for line in lines if line.kind == "refund_failed"}
    return {
        line.refund_id: line.amount
        for line in lines
        if line.kind == "refund" and line.refund_id not in failed
    }


def _pending(refunds: list[Refund], lines: list[LedgerLine]) -> int:
    done = {line.refund_id for line in lines}
    return sum(
        each.amount.amount for each in refunds if each.status == "PENDING" and each.id not in done
    )


def _maker(refund: Refund, payment: Payment) -> str:
    return refund.provider or payment.provider


def _charges(takings: Takings, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    payment = takings.payment
    charges = [line for line in lines if line.kind in TAKEN]
    if len(charges) > 1:
        yield _wrong(4, case, payment, f"was charged {len(charges)} times")
    for line in charges:
        wanted = payment.amount.amount
        if line.kind == "capture" and case.order is not None:
            wanted = case.order.due
        differs = (line.amount, line.currency) != (wanted, payment.amount.currency)
        if differs and takings.kept > 0 and not takings.needs_a_person:
            charged = f"{line.amount} {line.currency}"
            due = f"{wanted} {payment.amount.currency}"
            yield _wrong(3, case, payment, f"is for {due}, but {charged} was charged")
    if payment.status in _CAPTURED and not charges:
        yield _wrong(3, case, payment, f"is {payment.status}, but the ledger has no charge for it")


def _disputes(payment: Payment, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    """A dispute here is as the provider has it: open, won or lost, and of the same amount."""
    here = {each.id: (each.status, each.amount.amount) for each in payment.disputes}
    there: dict[str | None, tuple[str, int]] = {}
    for line in lines:  # in the order in which they were written
        match line.kind:
            case "dispute_opened":
                there[line.dispute_id] = (_OPEN, line.amount)
            case "dispute_won" | "dispute_lost":
                there[line.dispute_id] = (line.kind.removeprefix("dispute_").upper(), line.amount)
            case _:
                pass
    for dispute_id in here.keys() | there.keys():
        ours, theirs = here.get(dispute_id or ""), there.get(dispute_id)
        if ours != theirs:
            what = f"has dispute {dispute_id} as {ours}, but the ledger as {theirs}"
            yield _wrong(3, case, payment, what)


def _strayed(payment: Payment, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    """A charge for another provider's payment must be refunded."""
    foreign = [each for each in payment.refunds if _maker(each, payment) == WITNESSED]
    kept = _charged(lines) - sum(_made(lines).values()) - _pending(foreign, lines)
    if kept > 0 and kept > sum(each.amount.amount for each in foreign if each.status in _NOT_MADE):
        what = (
            f"is by {payment.provider}, but {WITNESSED} charged {kept} for it and keeps the money"
        )
        yield _wrong(3, case, payment, what)


def _refunds(payment: Payment, lines: list[LedgerLine], case: Case) -> Iterator[Violation]:
    made = _made(lines)
    known = {refund.id for refund in payment.refunds}
    for refund in payment.refunds:
        if _maker(refund, payment) != WITNESSED or refund.by_other_means:
            continue
        if refund.status == "SUCCEEDED" and made.get(refund.id) != refund.amount.amount:
            yield _wrong(3, case, payment, f"has refund {refund.id}, but the ledger does not")
        if refund.status in _NOT_MADE and refund.id in made:
            what = f"has refund {refund.id} as {refund.status}, but the ledger has it"
            yield _wrong(3, case, payment, what)
    for refund_id in made.keys() - known:
        yield _wrong(3, case, payment, f"lacks refund {refund_id}, but the ledger has it")


def _of_itself(takings: Takings, case: Case) -> Iterator[Violation]:
    payment = takings.payment
    if takings.kept > 0 and payment.status not in _CAPTURED and not takings.needs_a_person:
        yield _wrong(3, case, payment, f"was captured, but is {payment.status}")
    # A dispute may follow a refund, and the two may come to more. Refunds alone may not.
    left = takings.captured - takings.refunded - takings.pending
    if left < 0:
        yield _wrong(3, case, payment, f"refunds {-left} more than was captured")
    if payment.status == "REFUNDED" and left > 0:
        yield _wrong(3, case, payment, f"is REFUNDED, but {left} of it is kept")
    if payment.status == "PARTIALLY_REFUNDED" and not takings.refunded:
        yield _wrong(3, case, payment, "is PARTIALLY_REFUNDED, but nothing was refunded")
    all_refunded = takings.captured and takings.refunded == takings.captured
    recorded = all(refund.status != "PENDING" for refund in payment.refunds)
    if payment.status in ("PAID", "PARTIALLY_REFUNDED") and all_refunded and recorded:
        yield _wrong(3, case, payment, f"is {payment.status}, but all of it was refunded")
    # A payment that was REFUNDED stays not live if that refund fails late.
    failed_late = any(refund.status in _NOT_MADE for refund in payment.refunds)
    if payment.live != (payment.status in _LIVE) and (payment.live or not failed_late):
        live = "live" if payment.live else "not live"
        yield _wrong(4, case, payment, f"is {payment.status}, but {live}")
    if case.order and payment.amount != case.order.total:
        total = f"{case.order.total.amount} {case.order.total.currency}"
        yield _wrong(3, case, payment, f"is for {_amount(payment)}, but its order for {total}")


def _unfinished(
    payment: Payment, case: Case, patience: Patience, now: datetime
) -> Iterator[Violation]:
    """A provider needs at most a day (`stuck_after`), and a closed order awaits no cash.

    `updated_at` does not change while a job keeps retrying. A refund's own age counts, if it is
    known: another refund of the same payment must not make it look young.
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
    if awaited and not in_cash and now - payment.updated_at >= patience.stuck_after:
        since = f"since {payment.updated_at:%F %T}{_why(payment)}"
        yield _wrong(3, case, payment, f"has been waiting for its verdict {since}")
    for refund in payment.refunds:
        at = refund.at or payment.updated_at
        if refund.status == "PENDING" and now - at >= patience.stuck_after:
            since = f"since {at:%F %T}{_why(payment)}"
            yield _wrong(3, case, payment, f"has been waiting for refund {refund.id} {since}")


def _why(payment: Payment) -> str:
    retry = payment.retry
    return f", after {retry.failures} failures: {retry.error!r}" if retry else ""


def _of_order(case: Case, takings: list[Takings]) -> Iterator[Violation]:
    order = case.order
    kept = [
        each.payment
        for each in takings
        if each.kept > 0 and (_wants(order, each.payment) or not each.needs_a_person)
    ]
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
    if order is None:
        for payment in kept:
            yield _wrong(3, case, payment, "is kept for an order that does not exist")
    elif order.status == OrderStatus.PAID:
        yield from _paid(order, [each.payment for each in takings if each.held > 0], kept)
    else:
        for payment in kept:
            yield Violation(
                promise=3,
                sentence=f"order {order.id} is {order.status}, but the money of payment "
                f"{payment.id} is kept",
                ids=(order.id, payment.id),
                awaits=("orders", "payments"),
            )


def _paid(order: Order, held: list[Payment], kept: list[Payment]) -> Iterator[Violation]:
    """Money that is about to be refunded still pays the order, until it is."""
    if order.paid_by in {payment.id for payment in held}:
        return
    if not kept:
        yield Violation(
            promise=3,
            sentence=f"order {order.id} is PAID, but no money is kept for it",
            ids=(order.id, *([order.paid_by] if order.paid_by else [])),
            awaits=("orders",),
        )
    else:
        ids = (order.id, *(payment.id for payment in kept))
        sentence = f"order {order.id} is PAID by {order.paid_by}, but keeps the money of {ids[1]}"
        yield Violation(promise=3, sentence=sentence, ids=ids, awaits=("orders", "payments"))


def _wrong(promise: int, case: Case, payment: Payment, what: str) -> Violation:
    sentence = f"payment {payment.id} {what}"
    return Violation(promise=promise, sentence=sentence, ids=(case.order_id, payment.id))


def _amount(payment: Payment) -> str:
    return f"{payment.amount.amount} {payment.amount.currency}"
