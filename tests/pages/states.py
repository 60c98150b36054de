"""State diagrams, found by trying: every rule is applied in every state that can be reached.

So a diagram shows what the rules allow, whatever is said about them. Only the words and the places
of the boxes are given here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    CancelOrder,
    Fulfillment,
    FulfillmentStatus,
    OrderStatus,
)
from cartwheel.contracts.payments import (
    CancelPayment,
    CardToken,
    DisputeStatus,
    PaymentStatus,
    RefundStatus,
    Wallet,
)
from cartwheel.kernel import Change
from cartwheel.kernel.errors import Refusal
from cartwheel.orders.domain import acting, authorized, fulfilment
from cartwheel.orders.domain import order as orders
from cartwheel.payments import domain as payments
from cartwheel.products.domain import stock
from cartwheel.products.domain.stock import (
    CalledOff,
    Ended,
    Gone,
    Moved,
    Restocked,
    StoredReservation,
)
from cartwheel.providers.port import (
    REFUNDED,
    ActionRequired,
    Authorized,
    Captured,
    Declined,
    Outcome,
    RefundOutcome,
    Voided,
)

from ..orders import examples as of_orders
from ..orders.goods import MUGS, SPOON, to_fail, to_ship
from ..payments import examples as of_payments
from ..products import examples as of_products
from .drawing import Point, arrow, box, dot, drawing, words

Thing = TypeVar("Thing")

START = "(start)"
BOX = (164.0, 38.0)

Edges = Mapping[tuple[str, str], Sequence[str]]
"""What leads from one status to another."""


class Move(msgspec.Struct, Generic[Thing], frozen=True):
    """What may happen. `says` may depend on what it happens to."""

    says: str | Callable[[Thing], str]
    does: Callable[[Thing], Thing]


class Machine(msgspec.Struct, Generic[Thing], frozen=True, kw_only=True):
    """`first` are the states in which a thing begins, and what begins it.

    `without_history` removes what grows with each change and decides nothing.
    `places` are the column and the row of each status.
    """

    name: str
    first: Mapping[str, Thing]
    moves: Sequence[Move[Thing]]
    without_history: Callable[[Thing], Thing]
    places: Mapping[str, tuple[int, int]]

    def edges(self) -> Edges:
        found: dict[tuple[str, str], list[str]] = {}

        def note(before: str, after: Any, says: str) -> None:
            labels = found.setdefault((before, str(after)), [])
            if says not in labels:
                labels.append(says)

        for says, thing in self.first.items():
            note(START, _status(thing), says)
        for before, move, after in self._tried():
            if _status(before) != _status(after):
                note(_status(before), _status(after), _said(move, before))
        return found

    def _tried(self) -> Iterable[tuple[Thing, Move[Thing], Thing]]:
        """Yield each move in each state that can be reached, and what it makes of it."""
        waiting = deque(self.first.values())
        seen = {self._key(thing) for thing in waiting}
        while waiting:
            before = waiting.popleft()
            for move in self.moves:
                try:
                    after = move.does(before)
                except Refusal:
                    continue
                yield before, move, after
                if (key := self._key(after)) not in seen:
                    seen.add(key)
                    waiting.append(after)

    def _key(self, thing: Thing) -> bytes:
        return msgspec.json.encode(self.without_history(thing))


def _status(thing: Any) -> str:
    return str(thing.status)


def _said(move: Move[Thing], before: Thing) -> str:
    return move.says if isinstance(move.says, str) else move.says(before)


def draw(machine: Machine[Any]) -> str:
    edges = machine.edges()
    centers = {
        status: (300.0 + 300.0 * column, 60.0 + 150.0 * row)
        for status, (column, row) in machine.places.items()
    }
    states = {status for edge in edges for status in edge} - {START}
    assert states == machine.places.keys(), f"give each of {states} a place"
    centers[START] = (40.0, 60.0)
    arrows = [_edge(centers, before, after, labels) for (before, after), labels in edges.items()]
    boxes = [
        dot(center) if status == START else box(center, *BOX, status)
        for status, center in centers.items()
    ]
    width = max(x for x, _ in centers.values()) + BOX[0] / 2 + 90
    height = max(y for _, y in centers.values()) + BOX[1] / 2 + 40
    return drawing(width, height, f"The states of {machine.name}", [*arrows, *boxes])


def _edge(centers: Mapping[str, Point], before: str, after: str, labels: Sequence[str]) -> str:
    (x1, y1), (x2, y2) = centers[before], centers[after]
    begin = (x1, y1) if before == START else _border((x1, y1), (x2, y2))
    end = _border((x2, y2), (x1, y1))
    # Beyond the middle, so that there is room for what leads back.
    along = 0.5 if x1 == x2 or y1 == y2 else 0.62
    x, y = (first + along * (last - first) for first, last in zip(begin, end, strict=True))
    anchor = "middle"
    if y1 == y2:
        y -= 6 + 8 * len(labels)
    elif x1 == x2:
        leftmost = x1 == min(x for status, (x, _) in centers.items() if status != START)
        anchor, x = ("end", x - 10) if leftmost else ("start", x + 10)
    return arrow(begin, end) + words((x, y), labels, anchor=anchor)


def _border(center: Point, other: Point) -> Point:
    """Return where the line to `other` leaves the box around `center`."""
    (x, y), dx, dy = center, other[0] - center[0], other[1] - center[1]
    ratio = min(
        BOX[0] / 2 / abs(dx) if dx else float("inf"), BOX[1] / 2 / abs(dy) if dy else float("inf")
    )
    return x + dx * ratio, y + dy * ratio


_ORDINALS = ("first", "second", "third")
_ZOE, _ADMIN = Actor(user_id=of_orders.ZOE.id), Actor(user_id="user-ada", admin=True)
_AFTER_THE_DEADLINE = Change(by="orders", at=of_orders.AT + timedelta(days=10))
_OTHER_SUM = Money(1, "USD")
_IN_A_WEEK = of_payments.AT + timedelta(days=7)


def _declined(order: orders.Order, *, counts: bool) -> orders.Order:
    payment_id = f"pay_declined_{len(order.declined_payments)}" if counts else "pay_voided"
    told = of_orders.payment_refused(payment_id, counts=counts)
    return orders.payment_declined(order, told, of_orders.CHANGE)


def _canceled(order: orders.Order, actor: Actor) -> orders.Order:
    request = CancelOrder(order_id=order.id, actor=actor, reason="No more.")
    return orders.cancel_as_asked(order, request, of_orders.CHANGE)


def _shipped(order: orders.Order) -> orders.Order:
    if order.status is not OrderStatus.PAID:
        return order
    shipped = Fulfillment(status=FulfillmentStatus.SHIPPED)
    return msgspec.structs.replace(order, fulfillment=shipped)


def _refused_at_the_door(order: orders.Order) -> orders.Order:
    """Ship the whole order and have it come back. Only with cash awaited, it is shipped unpaid."""
    if order.status is not OrderStatus.AWAITING_PAYMENT:
        return order
    sent = fulfilment.ship(order, to_ship(MUGS, SPOON), "shp_1", of_orders.CHANGE)
    return fulfilment.fail_delivery(sent, to_fail(), of_orders.CHANGE)


ORDER: Machine[orders.Order] = Machine(
    name="an order",
    first={"placed": of_orders.order()},
    moves=(
        Move(
            "payment captured",
            lambda order: orders.pay(order, of_orders.money_captured(), of_orders.CHANGE),
        ),
        Move(
            "payment authorized",
            lambda order: authorized.authorize(order, of_orders.money_reserved(), of_orders.CHANGE),
        ),
        Move(
            "authorization lapsed",
            lambda order: (
                authorized.payment_canceled(
                    order, of_orders.payment_given_up("pay_1"), of_orders.CHANGE
                )
                if order.status is OrderStatus.AUTHORIZED
                else order
            ),
        ),
        Move(
            "another sum captured",
            lambda order: orders.pay(
                order, of_orders.money_captured("pay_2", _OTHER_SUM), of_orders.CHANGE
            ),
        ),
        Move(
            lambda order: f"{_ORDINALS[len(order.declined_payments)]} payment declined",
            lambda order: _declined(order, counts=True),
        ),
        Move("payment voided", lambda order: _declined(order, counts=False)),
        Move(
            "cash awaited",
            lambda order: orders.payment_begun(
                order, of_orders.payment_awaited(), orders.CASH_DEADLINE, of_orders.CHANGE
            ),
        ),
        Move(
            "payment to be approved",
            lambda order: acting.action_required(
                order, of_orders.approval_needed(), acting.TIME_TO_ACT, of_orders.CHANGE
            ),
        ),
        Move(
            "cash given up",
            lambda order: orders.payment_canceled(
                order, of_orders.payment_given_up(), of_orders.CHANGE
            ),
        ),
        Move(
            "deadline set",
            lambda order: orders.with_deadline(order, orders.CASH_DEADLINE, of_orders.CHANGE),
        ),
        Move("customer cancels", lambda order: _canceled(order, _ZOE)),
        Move("administrator cancels", lambda order: _canceled(order, _ADMIN)),
        Move("deadline passes", lambda order: orders.expire(order, _AFTER_THE_DEADLINE)),
        Move("refused at the door", _refused_at_the_door),
        Move("goods are gone", lambda order: orders.out_of_stock(order, of_orders.CHANGE)),
        Move(
            "all refunded",
            lambda order: orders.refunded(order, of_orders.money_returned(), of_orders.CHANGE),
        ),
        Move(
            "refund failed",
            lambda order: orders.refund_failed(
                order, of_orders.money_came_back(), of_orders.CHANGE
            ),
        ),
        Move(
            "dispute lost",
            lambda order: orders.dispute_closed(
                order, of_orders.dispute_decided(), of_orders.CHANGE
            ),
        ),
        Move("shipped", _shipped),
    ),
    without_history=lambda order: msgspec.structs.replace(
        order, version=0, shipments=[], events=(), change=None
    ),
    places={
        "AWAITING_PAYMENT": (0, 0),
        "PAID": (2, 0),
        "REFUNDED": (3, 0),
        "REJECTED": (0, 1),
        "AUTHORIZED": (1, 1),
        "CANCELED": (2, 1),
    },
)


def _settled(says: str, outcome: Outcome) -> Move[payments.Payment]:
    return Move(says, lambda payment: payments.settle(payment, outcome, of_payments.CHANGE))


def _to_be_approved(payment: payments.Payment) -> payments.Payment:
    if payment.provider == "cash":
        return payment
    asked = Outcome(ActionRequired("https://pay.example/1"))
    return payments.settle(payment, asked, of_payments.CHANGE)


def _told_captured(payment: payments.Payment) -> payments.Payment:
    report = of_payments.reported(payment.view())
    return payments.settle_as_told(payment, report, of_payments.CHANGE)


def _capture_asked(payment: payments.Payment) -> payments.Payment:
    return payments.capture_asked(payment, of_payments.TOTAL, of_payments.CHANGE)


def _given_up(payment: payments.Payment) -> payments.Payment:
    request = CancelPayment(request_id="5c0e", payment_id=payment.id, actor=of_payments.ZOE)
    return payments.cancel_as_asked(payment, request, of_payments.CHANGE)


def _why_voided(payment: payments.Payment) -> str:
    if payment.status is PaymentStatus.AUTHORIZED:
        return "voided, or lapsed"
    if payment.unwanted:
        return "order ended"
    if payment.cancel_request:
        return "canceled"
    return "not approved in time" if payment.next_action else "voided"


def _refunded(payment: payments.Payment) -> payments.Payment:
    for refund in payment.refunds:
        payment = payments.refund_ended(payment, refund.id, REFUNDED, of_payments.CHANGE)
    return payment


def _refund_failed(payment: payments.Payment) -> payments.Payment:
    failed = RefundOutcome(RefundStatus.FAILED, of_payments.CLOSED)
    for refund in payment.refunds:
        payment = payments.refund_ended(payment, refund.id, failed, of_payments.CHANGE)
    return payment


def _told_of_failure(payment: payments.Payment) -> payments.Payment:
    for refund in payment.refunds:
        report = of_payments.failed_refund(payment.id, refund.id, refund.amount)
        payment = payments.refund_failed_as_told(payment, report, of_payments.CHANGE)
    return payment


def _refund_asked_for(payment: payments.Payment) -> payments.Payment:
    request = of_payments.refunding(request_id="r")
    return payments.refund_as_asked(payment, request, None, of_payments.CHANGE)


def _disputed(payment: payments.Payment, status: DisputeStatus) -> payments.Payment:
    report = of_payments.disputed(payment.id, status, _OTHER_SUM)
    return payments.dispute_reported(payment, report, of_payments.CHANGE)


def _part_due(payment: payments.Payment) -> payments.Payment:
    if payments.left(payment).amount < of_payments.TOTAL.amount:
        return payment
    return payments.refund_owed(payment, "rfd_part", _OTHER_SUM, "returned", of_payments.CHANGE)


PAYMENT: Machine[payments.Payment] = Machine(
    name="a payment",
    first={
        "begun by card": of_payments.payment(CardToken(token="pm_card_visa")),
        "in a wallet": of_payments.payment(Wallet()),
        "or in cash": of_payments.payment(of_payments.CASH),
    },
    moves=(
        Move("to be approved", _to_be_approved),
        _settled("captured", Outcome(Captured(of_payments.TOTAL))),
        Move("captured", _told_captured),
        _settled("authorized", Outcome(Authorized(of_payments.TOTAL, _IN_A_WEEK))),
        Move("capture asked for", _capture_asked),
        Move(
            "about to lapse",
            lambda payment: payments.expiring(
                payment, payments.Expiring.VOID, Change(by="simulator", at=_IN_A_WEEK)
            ),
        ),
        Move(
            "capture failed",
            lambda payment: payments.capture_failed(
                payment, of_payments.CLOSED, of_payments.CHANGE
            ),
        ),
        _settled("declined", Outcome(Declined(code="card_declined", message="Declined."))),
        _settled("not approved", Outcome(Declined(code="no", message="No.", counts=False))),
        Move(
            _why_voided,
            lambda payment: payments.settle(payment, Outcome(Voided()), of_payments.CHANGE),
        ),
        _settled("another sum captured", Outcome(Captured(_OTHER_SUM))),
        Move("token refused", lambda payment: payments.refuse_token(payment, of_payments.CHANGE)),
        Move(
            "cash confirmed",
            lambda payment: payments.confirm_cash(payment, of_payments.CHANGE),
        ),
        Move(
            "canceled (cash)",
            _given_up,
        ),
        Move(
            "order ended (cash)",
            lambda payment: payments.give_up(payment, of_payments.CHANGE),
        ),
        Move(
            "refund due",
            lambda payment: payments.refund_owed(
                payment, None, of_payments.TOTAL, "canceled", of_payments.CHANGE
            ),
        ),
        Move("refund of a part due", _part_due),
        Move("refund asked for", _refund_asked_for),
        Move("refunded", _refunded),
        Move("refund failed", _refund_failed),
        Move("refund failed", _told_of_failure),
        Move("disputed", lambda payment: _disputed(payment, DisputeStatus.NEEDS_RESPONSE)),
        Move("dispute lost", lambda payment: _disputed(payment, DisputeStatus.LOST)),
    ),
    without_history=lambda payment: msgspec.structs.replace(
        payment, version=0, timeline=[], events=(), change=None
    ),
    places={
        "AWAITING_PAYMENT": (0, 0),
        "REQUIRES_ACTION": (0, 2),
        "REJECTED": (1, 1),
        "CANCELED": (2, 1),
        "AUTHORIZED": (3, 1),
        "PAID": (4, 1),
        "REFUNDED": (5, 0),
        "PARTIALLY_REFUNDED": (5, 2),
    },
)


def _reserved() -> StoredReservation:
    request = of_products.reserve(("prd_1", 2))
    [made] = stock.allocate(of_products.goods(of_products.product()), [request], at=of_products.AT)
    assert isinstance(made, StoredReservation)
    return made


def _ended(says: str, ended: Ended, *, free: int = 0) -> Move[StoredReservation]:
    return Move(
        says,
        lambda reservation: stock.settle(
            reservation,
            ended,
            order_sequence=reservation.order_sequence + 1,
            products=of_products.goods(of_products.product(stock=free)),
        ),
    )


def _moved(says: str, moved: Moved) -> Move[StoredReservation]:
    return Move(
        says,
        lambda reservation: stock.fulfil(
            reservation,
            moved,
            order_sequence=reservation.order_sequence + 1,
            products=of_products.goods(of_products.product(stock=2)),
        ),
    )


_TWO = {"prd_1": 2}

RESERVATION: Machine[StoredReservation] = Machine(
    name="a reservation",
    first={"stock reserved": _reserved()},
    moves=(
        _ended("order paid", Ended.PAID, free=2),
        _ended("order paid", Ended.PAID),
        _ended("order closed", Ended.CLOSED),
        _moved("order shipped", Gone(id="shp_1", pieces=_TWO)),
        _moved("parcel came back", Gone(id="shp_1", pieces=_TWO, undone=True)),
        _moved("called off", CalledOff(id="cof_1", pieces=_TWO)),
        _moved("restocked", Restocked(id="ret_1", pieces=_TWO)),
        Move("abandoned", stock.release_abandoned),
    ),
    # Whether an event of the order was applied decides; how many were does not.
    without_history=lambda reservation: msgspec.structs.replace(
        reservation,
        order_sequence=min(reservation.order_sequence, 1),
        lines=[],
        counted=[],
        events=(),
    ),
    places={"HELD": (0, 0), "COMMITTED": (1, 0), "RETURNED": (2, 0), "RELEASED": (0, 1)},
)

MACHINES: Mapping[str, Machine[Any]] = {
    "order-states.svg": ORDER,
    "payment-states.svg": PAYMENT,
    "reservation-states.svg": RESERVATION,
}
