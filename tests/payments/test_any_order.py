"""Refunds, cancels, disputes and late webhooks in any order of arrival: the ledger agrees.

Payments and orders are the real rules. Their events arrive in any order, and some twice. What
`cartwheel verify` would find is what is asserted.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import CancelOrder, Fulfillment, FulfillmentStatus, OrderRefundDue
from cartwheel.contracts.payments import (
    CardToken,
    DisputeStatus,
    PaymentCaptured,
    PaymentDeclined,
    PaymentDisputeClosed,
    PaymentRefunded,
    PaymentRefundFailed,
    RefundStatus,
)
from cartwheel.kernel import Event
from cartwheel.kernel.errors import Refusal
from cartwheel.kernel.mongodb import from_document, to_document
from cartwheel.operations.verify import money, records
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.patience import Patience
from cartwheel.orders.domain import order as orders
from cartwheel.payments import domain
from cartwheel.providers.port import REFUNDED, Captured, Declined, Outcome, RefundOutcome

from ..orders import examples as of_orders
from .examples import ADMIN, CHANGE, CLOSED, disputed, failed_refund, payment, refunding

TOTAL = of_orders.TOTAL
NOW = CHANGE.at + timedelta(hours=1)


class World:
    """A payment, its order, the provider's ledger, and the events that are on their way."""

    def __init__(self) -> None:
        self.payment = payment(CardToken(token="pm_1"))
        self.order = of_orders.order()
        self.ledger: list[records.LedgerLine] = []
        self.on_the_way: list[Event] = []
        self.arrived: list[Event] = []
        self._numbers = count(1)

    def pays(self, decide: Callable[..., domain.Payment], *facts: Any) -> None:
        try:
            after = decide(self.payment, *facts, CHANGE)
        except Refusal:
            return
        self.on_the_way += after.events[len(self.payment.events) :]
        self.payment = after

    def orders(self, decide: Callable[..., orders.Order], *facts: Any) -> None:
        try:
            after = decide(self.order, *facts, CHANGE)
        except Refusal:
            return
        self.on_the_way += after.events[len(self.order.events) :]
        self.order = after

    def notes(self, kind: str, amount: int, **about: str) -> None:
        line = records.LedgerLine(
            id=next(self._numbers),
            at=CHANGE.at,
            kind=kind,
            payment_id=self.payment.id,
            amount=amount,
            currency=TOTAL.currency,
            **about,
        )
        self.ledger.append(line)

    def has(self, kind: str) -> bool:
        return any(line.kind == kind for line in self.ledger)

    # What may happen, in any order.

    def charge(self, _: int) -> None:
        if not self.has("charge"):
            self.notes("charge", TOTAL.amount)

    def webhook(self, _: int) -> None:
        if self.has("charge"):
            self.pays(domain.settle, Outcome(Captured(TOTAL)))

    def decline(self, _: int) -> None:
        """The provider is wrong: it may have charged."""
        declined = Declined(code="card_declined", message="Declined.")
        self.pays(domain.settle, Outcome(declined))

    def ship(self, _: int) -> None:
        if self.order.status == "PAID":
            shipped = Fulfillment(status=FulfillmentStatus.SHIPPED)
            self.order = msgspec.structs.replace(self.order, fulfillment=shipped)

    def cancel(self, _: int) -> None:
        actor = Actor(user_id="user-ada", admin=True)
        request = CancelOrder(order_id=self.order.id, actor=actor, reason="No more.")
        self.orders(orders.cancel_as_asked, request)

    def ask(self, percent: int) -> None:
        amount = Money(TOTAL.amount * percent // 100, TOTAL.currency) if percent else None
        request = refunding(amount=amount, actor=ADMIN)
        self.pays(domain.refund_as_asked, request, None)

    def ask_and_pay_by_other_means(self, percent: int) -> None:
        amount = Money(TOTAL.amount * percent // 100, TOTAL.currency) if percent else None
        self.pays(domain.refund_as_asked, refunding(amount=amount, by_other_means=True), None)

    def owe(self, percent: int) -> None:
        """A return was received."""
        amount = Money(TOTAL.amount * percent // 100, TOTAL.currency)
        self.pays(domain.refund_owed, f"rfd_return_{percent}", amount, "Returned.")

    def make(self, which: int) -> None:
        """The job makes a refund. Every third one, the provider refuses."""
        pending = [each for each in self.payment.refunds if each.status is RefundStatus.PENDING]
        if not pending:
            return
        refund = pending[which % len(pending)]
        if which % 3 == 0:
            self.notes("refund_failed", refund.amount.amount, refund_id=refund.id)
            failed = RefundOutcome(RefundStatus.FAILED, CLOSED)
            self.pays(domain.refund_ended, refund.id, failed)
            return
        self.notes("refund", refund.amount.amount, refund_id=refund.id)
        assert self.refunded <= TOTAL.amount
        self.pays(domain.refund_ended, refund.id, REFUNDED)

    def fail(self, which: int) -> None:
        """A refund that was made comes back, and its webhook says so."""
        made = [
            each
            for each in self.payment.refunds
            if each.status is RefundStatus.SUCCEEDED and not each.by_other_means
        ]
        if made:
            refund = made[which % len(made)]
            self.notes("refund_failed", refund.amount.amount, refund_id=refund.id)
            report = failed_refund(self.payment.id, refund.id, refund.amount)
            self.pays(domain.refund_failed_as_told, report)

    def dispute(self, percent: int) -> None:
        captured = self.payment.captured is not None
        if captured and percent and not self.has("dispute_opened"):
            amount = Money(TOTAL.amount * percent // 100, TOTAL.currency)
            self.notes("dispute_opened", amount.amount, dispute_id="dp_1")
            self.pays(domain.dispute_reported, disputed(self.payment.id, amount=amount))

    def decide(self, which: int) -> None:
        won = which % 2 == 0
        if self.has("dispute_opened") and not (self.has("dispute_won") or self.has("dispute_lost")):
            [opened] = [line for line in self.ledger if line.kind == "dispute_opened"]
            self.notes("dispute_won" if won else "dispute_lost", opened.amount, dispute_id="dp_1")
            status = DisputeStatus.WON if won else DisputeStatus.LOST
            amount = Money(opened.amount, opened.currency)
            self.pays(domain.dispute_reported, disputed(self.payment.id, status, amount))

    def deliver(self, which: int) -> None:
        if self.on_the_way:
            event = self.on_the_way.pop(which % len(self.on_the_way))
            self.arrived.append(event)
            self.hear(event)

    def repeat(self, which: int) -> None:
        if self.arrived:
            self.hear(self.arrived[which % len(self.arrived)])

    def hear(self, event: Event) -> None:
        match event:
            case PaymentCaptured():
                self.orders(orders.pay, event)
            case PaymentDeclined():
                self.orders(orders.payment_declined, event)
            case PaymentRefunded():
                self.orders(orders.refunded, event)
            case PaymentRefundFailed():
                self.orders(orders.refund_failed, event)
            case PaymentDisputeClosed():
                self.orders(orders.dispute_closed, event)
            case OrderRefundDue():
                self.pays(domain.refund_owed, event.refund_id, event.amount, event.reason)
            case _:
                pass

    @property
    def refunded(self) -> int:
        failed = {line.refund_id for line in self.ledger if line.kind == "refund_failed"}
        made = [line for line in self.ledger if line.kind == "refund"]
        return sum(line.amount for line in made if line.refund_id not in failed)

    def end(self) -> None:
        """Let everything that is on its way arrive."""
        self.webhook(0)
        while self.on_the_way or self.pending:
            self.make(1)
            self.deliver(0)

    @property
    def pending(self) -> bool:
        return any(each.status is RefundStatus.PENDING for each in self.payment.refunds)

    def case(self) -> Case:
        payment = from_document(to_document(self.payment), records.Payment)
        order = from_document(to_document(self.order), records.Order)
        return Case(
            order_id=payment.order_id, order=order, payments=(payment,), ledger=tuple(self.ledger)
        )


STEPS: dict[str, Callable[[World, int], None]] = {
    "charge": World.charge,
    "webhook": World.webhook,
    "decline": World.decline,
    "ship": World.ship,
    "cancel": World.cancel,
    "ask": World.ask,
    "ask and pay by other means": World.ask_and_pay_by_other_means,
    "owe": World.owe,
    "make": World.make,
    "fail": World.fail,
    "dispute": World.dispute,
    "decide": World.decide,
    "deliver": World.deliver,
    "repeat": World.repeat,
}
step = st.tuples(st.sampled_from(sorted(STEPS)), st.sampled_from([0, 1, 2, 30, 40, 60, 100]))
PAID = [("charge", 0), ("webhook", 0)]


def played(steps: list[tuple[str, int]]) -> World:
    world = World()
    for name, value in steps:
        STEPS[name](world, value)
        assert domain.left(world.payment).amount >= 0
    world.end()
    return world


@settings(max_examples=400)
@given(st.lists(step, max_size=25), st.booleans())
def test_the_ledger_agrees_whatever_arrives_when(
    steps: list[tuple[str, int]], paid_at_first: bool
) -> None:
    world = played([*PAID, *steps] if paid_at_first else steps)

    assert money.check(world.case(), Patience(), NOW) == []


@settings(max_examples=200)
@given(st.lists(step, max_size=25))
def test_the_order_counts_each_refund_once(steps: list[tuple[str, int]]) -> None:
    world = played([*PAID, *steps])

    ended = {each.id: each.status for each in world.payment.refunds}
    lost = [each.id for each in world.payment.disputes if each.status is DisputeStatus.LOST]
    counted = {each.id: each.status for each in world.order.refunds}
    assert counted == ended | dict.fromkeys(lost, RefundStatus.SUCCEEDED)
    told = [event for event in world.order.events if event.type == "order.refunded.v1"]
    assert len(told) <= len(ended)
