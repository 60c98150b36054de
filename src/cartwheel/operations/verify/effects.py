"""Promise 5: every event is published, and applied once in effect."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from cartwheel.contracts.orders import OrderStatus
from cartwheel.contracts.payments import PaymentStatus, RefundStatus
from cartwheel.operations.verify import goods
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.money import CASH
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import Order, Payment, Reservation, Unpublished
from cartwheel.operations.verify.violation import Violation

_LATE = timedelta(seconds=30)
"""This long after its deadline and the grace period, an unpaid order must be canceled."""

_EVENT = re.compile(r"order\..+\.v\d+")
_RESERVED: dict[str, frozenset[str]] = {
    # An order that is not paid yet may have a RELEASED reservation: it was stored later than the
    # sweep waits. When it is paid, its stock is reserved again, or the order is canceled.
    OrderStatus.AWAITING_PAYMENT: frozenset({"HELD", "RELEASED"}),
    OrderStatus.AUTHORIZED: frozenset({"HELD", "RELEASED"}),
    OrderStatus.PAID: frozenset({"COMMITTED"}),
    OrderStatus.REFUNDED: frozenset({"COMMITTED"}),
    OrderStatus.REJECTED: frozenset({"RELEASED"}),
    OrderStatus.CANCELED: frozenset({"RELEASED", "RETURNED"}),
}

_CAPTURED = frozenset(
    {PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED}
)


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    wrong: list[Violation] = []
    order, reservation = case.order, case.reservation
    if order is not None:
        wrong += _numbers(order)
        wrong += _declines(order, case.payments)
        wrong += _knows_of_money(order, case.payments)
        wrong += _overdue(order, patience, now)
        wrong += _waits_for_cash(order, case.payments)
        if reservation is None:
            wrong.append(_wrong(f"order {order.id} has no reservation", order.id))
        else:
            wrong += _agrees(order, reservation)
    elif reservation is not None:
        wrong += _orphaned(reservation, patience, now)
    if reservation is not None:
        wrong += outbox_is_the_end(reservation.outbox, reservation.sequence, reservation.id)
    for payment in case.payments:
        wrong += outbox_is_the_end(payment.outbox, payment.sequence, payment.id)
    for mail in case.mails:
        wrong += outbox_is_the_end(mail.outbox, mail.sequence, mail.id)
    if order is None and case.payments:
        ids = (case.order_id, *(payment.id for payment in case.payments))
        wrong.append(_wrong(f"order {case.order_id} does not exist, but has payments", *ids))
    return wrong


def unpublished(
    outbox: Sequence[Unpublished], owner: str, patience: Patience, now: datetime
) -> list[Violation]:
    """Return a violation for each event that has been unpublished longer than the grace period."""
    return [
        _wrong(f"{event.type} of {owner} is unpublished since {event.time:%F %T}", owner, event.id)
        for event in outbox
        if now - event.time > patience.grace
    ]


def outbox_is_the_end(
    outbox: Sequence[Unpublished], sequence: int, owner: str
) -> Iterator[Violation]:
    """Events are published in order, so the unpublished ones are the last, without a gap."""
    numbers = [event.sequence for event in outbox]
    if numbers != list(range(sequence - len(numbers) + 1, sequence + 1)):
        sentence = f"{owner} has had {sequence} events, but those left to publish are {numbers}"
        yield _wrong(sentence, owner, *(event.id for event in outbox))


def _numbers(order: Order) -> Iterator[Violation]:
    events = sum(1 for entry in order.timeline if _EVENT.fullmatch(entry.type))
    if events != order.sequence:
        sentence = f"order {order.id} is at event {order.sequence}, and its timeline at {events}"
        yield _wrong(sentence, order.id)
    yield from outbox_is_the_end(order.outbox, order.sequence, order.id)


def _declines(order: Order, payments: Sequence[Payment]) -> Iterator[Violation]:
    counts = Counter(order.declined_payments)
    declined = {payment.id for payment in payments if payment.was_declined}
    for payment_id in counts:
        if payment_id not in declined:
            sentence = f"order {order.id} counts payment {payment_id}, which was not declined"
            yield _wrong(sentence, order.id, payment_id)
    if order.status == OrderStatus.AWAITING_PAYMENT:  # an ended order ignores later declines
        rejected = {
            payment.id
            for payment in payments
            if payment.status == PaymentStatus.REJECTED and payment.concerns_order
        }
        for payment in payments:
            known = payment.id in order.canceled_payments
            if payment.status == PaymentStatus.CANCELED and not known:
                sentence = f"order {order.id} does not know that payment {payment.id} was canceled"
                yield _wrong(sentence, order.id, payment.id, awaits=("orders",))
        for payment_id in rejected - counts.keys() - {*order.failed_payments}:
            sentence = f"order {order.id} does not know that payment {payment_id} was rejected"
            yield _wrong(sentence, order.id, payment_id, awaits=("orders",))


def _knows_of_money(order: Order, payments: Sequence[Payment]) -> Iterator[Violation]:
    """An order knows each capture once, and how each refund and each lost dispute ended."""
    for payment in payments:
        captured = payment.status in _CAPTURED
        if captured and payment.id not in {order.paid_by, *order.refunds_due}:
            sentence = f"order {order.id} does not know that payment {payment.id} was captured"
            yield _wrong(sentence, order.id, payment.id, awaits=("orders",))
        yield from _counts_refunds(order, payment)
    for what, noted in (
        ("declined", order.declined_payments),
        ("failed", order.failed_payments),
        ("canceled", order.canceled_payments),
        ("to be refunded", order.refunds_due),
        ("refunded", order.refunded_payments),
    ):
        for payment_id, count in Counter(noted).items():
            if count > 1:
                sentence = f"order {order.id} records {count} times that {payment_id} is {what}"
                yield _wrong(sentence, order.id, payment_id)


def _counts_refunds(order: Order, payment: Payment) -> Iterator[Violation]:
    # The order is not told about money that another provider captured and refunded.
    ended = {
        each.id: "SUCCEEDED" if each.status == RefundStatus.SUCCEEDED else "FAILED"
        for each in payment.refunds
        if each.status != RefundStatus.PENDING and each.provider is None
    }
    ended |= {each.id: "SUCCEEDED" for each in payment.disputes if each.status == "LOST"}
    known = {each.id: each.status for each in order.refunds if each.payment_id == payment.id}
    # An older version counted by payment. It made one refund, whose id is the payment's.
    first = payment.id.replace("pay_", "rfd_", 1)
    if payment.id in order.refunded_payments and (first in ended or not known):
        known.setdefault(first, "SUCCEEDED")
    for refund_id, status in ended.items():
        if known.get(refund_id) != status:
            sentence = f"order {order.id} does not know that {refund_id} of {payment.id} {status}"
            yield _wrong(sentence, order.id, payment.id, awaits=("orders",))
    for refund_id in known.keys() - ended.keys():
        sentence = f"order {order.id} records {refund_id} of {payment.id}, which was not made"
        yield _wrong(sentence, order.id, payment.id)


def _overdue(order: Order, patience: Patience, now: datetime) -> Iterator[Violation]:
    if order.status != OrderStatus.AWAITING_PAYMENT or order.expires_at is None:
        return
    if now - order.expires_at > patience.grace + _LATE:
        sentence = f"order {order.id} still awaits payment, which was due {order.expires_at:%F %T}"
        yield _wrong(sentence, order.id, awaits=("orders",))


def _waits_for_cash(order: Order, payments: Sequence[Payment]) -> Iterator[Violation]:
    """The deadline of cash, or none in an older version's order, holds while cash is awaited."""
    if order.status != OrderStatus.AWAITING_PAYMENT:
        return
    cash = [payment for payment in payments if payment.live and payment.provider == CASH]
    if order.expires_at in (None, order.cash_until) and not cash:
        until = "without a deadline" if order.expires_at is None else "as long as for cash"
        sentence = f"order {order.id} awaits payment {until}, and no payment is expected"
        yield _wrong(sentence, order.id, awaits=("orders",))
    for payment in cash:
        if order.expires_at is not None and payment.id not in order.begun_payments:
            sentence = f"order {order.id} does not know that payment {payment.id} is to come"
            yield _wrong(sentence, order.id, payment.id, awaits=("orders",))


def _agrees(order: Order, reservation: Reservation) -> Iterator[Violation]:
    expected = _RESERVED.get(order.status, frozenset[str]())
    if order.status == OrderStatus.AWAITING_PAYMENT and goods.shipped(order):
        expected = frozenset({"COMMITTED"})  # its cash is paid at the door
    if reservation.status not in expected:
        sentence = f"order {order.id} is {order.status}, but its reservation {reservation.status}"
        yield _wrong(sentence, order.id, awaits=("products", "orders"))
    if reservation.order_sequence > order.sequence:
        sentence = (
            f"the reservation of order {order.id} has seen event {reservation.order_sequence}, "
            f"but the order has published only {order.sequence}"
        )
        yield _wrong(sentence, order.id)
    ordered, held = (
        sorted((line.product_id, line.quantity) for line in lines)
        for lines in (order.lines, reservation.lines)
    )
    if ordered != held:
        yield _wrong(f"order {order.id} and its reservation have different items", order.id)


def _orphaned(reservation: Reservation, patience: Patience, now: datetime) -> Iterator[Violation]:
    age = now - reservation.held_at
    missing = f"for order {reservation.id}, which does not exist"
    if reservation.status == "HELD" and age > patience.orphaned_reservation:
        sentence = f"stock has been reserved since {reservation.held_at:%F %T} {missing}"
        yield _wrong(sentence, reservation.id)
    if reservation.status in {"COMMITTED", "RETURNED"}:
        yield _wrong(f"stock is {reservation.status} {missing}", reservation.id)


def _wrong(sentence: str, *ids: str, awaits: tuple[str, ...] = ()) -> Violation:
    return Violation(promise=5, sentence=sentence, ids=ids, awaits=awaits)
