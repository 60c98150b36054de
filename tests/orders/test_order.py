"""The state machine of an order, without a database."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cartwheel.contracts.money import CurrencyMismatch, Money
from cartwheel.contracts.orders import (
    AddressRequired,
    InvalidTransition,
    Line,
    OrderCanceled,
    OrderConfirmationDue,
    OrderPaid,
    OrderPaymentFailed,
    OrderPlaced,
    OrderRefundDue,
    OrderRejected,
    OrderStatus,
    ShippingAddress,
)
from cartwheel.contracts.payments import Method
from cartwheel.kernel.errors import Refusal
from cartwheel.orders.domain import order as rules
from cartwheel.orders.domain.order import CASH_DEADLINE, PAYMENT_DEADLINE, TIME_TO_PAY, Order

from .examples import (
    ADDRESS,
    AT,
    BONN,
    CHANGE,
    DECLINED,
    LATER,
    TOTAL,
    ZOE,
    money_came_back,
    money_captured,
    money_returned,
    order,
    payment_awaited,
    payment_given_up,
    payment_refused,
    place,
    reservation,
)

Step = Callable[[Order], Order]

CASH = Method.CASH_ON_DELIVERY
CASH_UNTIL = LATER + CASH_DEADLINE


def pay(
    payment_id: str = "pay_1", amount: Money = TOTAL, address: ShippingAddress | None = None
) -> Step:
    return lambda order: rules.pay(order, money_captured(payment_id, amount, address), CHANGE)


def decline(
    payment_id: str, *, counts: bool = True, address: ShippingAddress | None = None
) -> Step:
    told = payment_refused(payment_id, counts=counts, address=address)
    return lambda order: rules.payment_declined(order, told, CHANGE)


def begin(
    method: Method, payment_id: str = "pay_6", address: ShippingAddress | None = None
) -> Step:
    return lambda order: rules.payment_begun(
        order, payment_awaited(method, payment_id, address), CASH_DEADLINE, CHANGE
    )


def give_up(payment_id: str = "pay_6", at: datetime = LATER) -> Step:
    told = payment_given_up(payment_id)
    return lambda order: rules.payment_canceled(order, told, replace(CHANGE, at=at))


def cancel(*, by_admin: bool = False) -> Step:
    return lambda order: rules.cancel(order, CHANGE, reason="Changed my mind.", by_admin=by_admin)


def after(*steps: Step, start: Order | None = None) -> Order:
    current = start or order()
    for step in steps:
        current = step(current)
    return current


def told(order: Order) -> list[str]:
    return [event.type for event in order.events]


def refund_due(order: Order, payment_id: str, amount: Money, reason: str) -> OrderRefundDue:
    return OrderRefundDue(order_id=order.id, payment_id=payment_id, amount=amount, reason=reason)


REJECTED = (decline("pay_1"), decline("pay_2"), decline("pay_3"))


def test_a_new_order_awaits_its_payment_for_fifteen_minutes() -> None:
    request = place(("prd_1", 2), ("prd_2", 1), address=ADDRESS)
    held = reservation(request)

    placed = rules.place(request, held, number="K7QM3-XWD9A", at=AT)

    assert placed.id == held.order_id
    assert (placed.status, placed.version) == (OrderStatus.AWAITING_PAYMENT, 1)
    assert (placed.user, placed.shipping_address) == (ZOE, ADDRESS)
    assert placed.expires_at == AT + PAYMENT_DEADLINE
    assert placed.events == (OrderPlaced(order=placed.snapshot()),)
    assert placed.change is not None
    assert placed.change.by == ZOE.id


def test_a_new_order_calls_for_a_mail_only_in_a_shop_that_sends_it() -> None:
    request = place(("prd_1", 2))

    placed = rules.place(request, reservation(request), number="K7QM3-XWD9A", at=AT, mailed=True)

    order = placed.snapshot()
    assert placed.events == (OrderPlaced(order=order), OrderConfirmationDue(order=order))


def test_an_order_costs_its_reserved_lines_at_their_reserved_prices() -> None:
    request = place(("prd_1", 9_999))

    placed = rules.place(request, reservation(request), number="K7QM3-XWD9A", at=AT)

    assert placed.total == Money(4248, "USD")
    assert [(line.name, line.quantity) for line in placed.lines] == [("Mug", 2), ("Spoon", 1)]


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**12)), min_size=1, max_size=100))
def test_a_total_is_exact_to_the_last_minor_unit(lines: list[tuple[int, int]]) -> None:
    total = rules.total_of(
        [
            Line(product_id="prd", name="", quantity=quantity, unit_price=Money(price, "JPY"))
            for quantity, price in lines
        ]
    )

    assert total == Money(sum(quantity * price for quantity, price in lines), "JPY")


def test_money_of_two_currencies_has_no_total() -> None:
    prices = (Money(1, "USD"), Money(1, "EUR"))
    lines = [Line(product_id="prd", name="", quantity=1, unit_price=price) for price in prices]

    with pytest.raises(CurrencyMismatch):
        rules.total_of(lines)


def test_a_capture_of_the_total_pays_the_order() -> None:
    paid = after(pay())

    assert (paid.status, paid.paid_by, paid.expires_at) == (OrderStatus.PAID, "pay_1", None)
    assert paid.events == (OrderPaid(order=paid.snapshot(), payment_id="pay_1", amount=paid.total),)
    assert paid.updated_at == LATER


@pytest.mark.parametrize(
    "amount", [Money(4247, "USD"), Money(4249, "USD"), Money(4248, "EUR"), Money(0, "USD")]
)
def test_any_other_amount_pays_nothing_and_is_refunded(amount: Money) -> None:
    waiting = after(pay(amount=amount))

    assert (waiting.status, waiting.paid_by) == (OrderStatus.AWAITING_PAYMENT, None)
    assert waiting.expires_at == AT + PAYMENT_DEADLINE
    assert waiting.events == (
        refund_due(waiting, "pay_1", amount, "The payment differs from the order's total."),
    )


def test_a_second_payment_of_a_paid_order_is_refunded() -> None:
    paid = after(pay("pay_1"))

    twice = after(pay("pay_2"), start=paid)

    assert (twice.status, twice.paid_by) == (OrderStatus.PAID, "pay_1")
    assert twice.events == (
        *paid.events,
        refund_due(twice, "pay_2", TOTAL, "The payment came after the order had ended."),
    )


@pytest.mark.parametrize("end", [REJECTED, (cancel(),)], ids=["rejected", "canceled"])
def test_a_closed_order_refunds_every_later_capture(end: tuple[Step, ...]) -> None:
    closed = after(*end)

    late = after(pay("pay_4"), start=closed)

    assert (late.status, late.paid_by) == (closed.status, None)
    assert late.events == (
        *closed.events,
        refund_due(late, "pay_4", TOTAL, "The payment came after the order had ended."),
    )


def test_a_declined_payment_leaves_two_attempts() -> None:
    still_open = after(decline("pay_1"))

    assert still_open.status is OrderStatus.AWAITING_PAYMENT
    assert still_open.view().payment_attempts == 1
    assert still_open.expires_at == AT + PAYMENT_DEADLINE
    assert still_open.events == (
        OrderPaymentFailed(
            order=still_open.snapshot(),
            payment_id="pay_1",
            reason=DECLINED.message,
            attempts_left=2,
        ),
    )


def test_a_third_decline_rejects_the_order() -> None:
    rejected = after(*REJECTED)

    assert (rejected.status, rejected.expires_at) == (OrderStatus.REJECTED, None)
    assert told(rejected) == [
        "order.payment_failed.v1",
        "order.payment_failed.v1",
        "order.rejected.v1",
    ]
    assert rejected.events[-1] == OrderRejected(order=rejected.snapshot(), reason=DECLINED.message)


def test_an_order_can_be_paid_after_two_declines() -> None:
    assert after(decline("pay_1"), decline("pay_2"), pay("pay_3")).status is OrderStatus.PAID


def test_a_failure_that_does_not_count_uses_no_attempt() -> None:
    still_open = after(*(decline(f"pay_{number}", counts=False) for number in range(5)))

    assert still_open.status is OrderStatus.AWAITING_PAYMENT
    assert still_open.view().payment_attempts == 0
    assert told(still_open) == ["order.payment_failed.v1"] * 5


def test_cash_is_awaited_until_its_own_deadline() -> None:
    assert after(begin(Method.CASH_ON_DELIVERY)).expires_at == CASH_UNTIL


def test_giving_up_cash_restores_the_deadline_and_is_no_attempt() -> None:
    again = after(begin(CASH), give_up())

    assert again.expires_at == AT + PAYMENT_DEADLINE
    assert (told(again), again.view().payment_attempts) == ([], 0)


def test_who_gives_up_cash_late_has_two_minutes_to_pay_otherwise() -> None:
    late = AT + timedelta(days=2)

    assert after(begin(CASH), give_up(at=late)).expires_at == late + TIME_TO_PAY


def test_choosing_cash_again_gives_no_more_time() -> None:
    """Otherwise one customer would hold the stock for ever."""
    late = AT + timedelta(days=6)

    again = after(begin(CASH, "pay_6"), give_up("pay_6", at=late))
    again = rules.payment_begun(
        again, payment_awaited(CASH, "pay_7"), CASH_DEADLINE, replace(CHANGE, at=late)
    )

    assert again.expires_at == CASH_UNTIL


@pytest.mark.parametrize(
    "steps",
    [
        (begin(CASH, "pay_6"), begin(CASH, "pay_7"), give_up("pay_6")),
        (give_up("pay_6"), begin(CASH, "pay_6"), begin(CASH, "pay_7")),
        (begin(CASH, "pay_7"), give_up("pay_6"), begin(CASH, "pay_6")),
    ],
)
def test_giving_up_one_payment_leaves_the_next_one_its_deadline(steps: tuple[Step, ...]) -> None:
    assert after(*steps).expires_at == CASH_UNTIL


def test_giving_up_a_card_does_not_move_the_deadline() -> None:
    """Otherwise an order could be kept alive by cards that are given up as soon as begun."""
    assert after(give_up("pay_1", at=AT + PAYMENT_DEADLINE)).expires_at == AT + PAYMENT_DEADLINE


def test_giving_up_a_payment_of_an_order_that_has_ended_changes_nothing() -> None:
    paid = after(begin(CASH, "pay_6"), pay("pay_6"))

    assert after(give_up("pay_6"), start=paid) is paid


def test_a_card_does_not_extend_the_deadline() -> None:
    before = order()

    assert after(begin(Method.CARD), start=before) is before


EVENTS: dict[str, Step] = {
    "captured": pay("pay_1"),
    "captured, another": pay("pay_7"),
    "captured, another sum": pay("pay_8", Money(1, "USD")),
    "declined": decline("pay_2"),
    "declined, second": decline("pay_3"),
    "declined, third": decline("pay_4"),
    "failed without counting": decline("pay_5", counts=False),
    "cash begun": begin(Method.CASH_ON_DELIVERY),
    "cash given up": give_up(),
    "canceled by its owner": cancel(),
    "canceled by an admin": cancel(by_admin=True),
    "out of time": lambda order: rules.expire(order, replace(CHANGE, at=AT + PAYMENT_DEADLINE)),
    "out of stock": lambda order: rules.out_of_stock(order, CHANGE),
    "refunded": lambda order: rules.refunded(order, money_returned(), CHANGE),
    "refund failed": lambda order: rules.refund_failed(order, money_came_back(), CHANGE),
}
MONEY_TAKEN = {"captured": "pay_1", "captured, another": "pay_7", "captured, another sum": "pay_8"}


@pytest.mark.parametrize("first", EVENTS)
def test_the_same_event_again_changes_nothing(first: str) -> None:
    once = after(EVENTS[first])

    assert after(EVENTS[first], start=once) is once


ENDS = {
    "paid": (pay("pay_1"),),
    "rejected": REJECTED,
    "canceled": (cancel(),),
    "paid and canceled": (pay("pay_1"), cancel(by_admin=True)),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "late",
    [
        "declined",
        "declined, third",
        "failed without counting",
        "out of time",
        "canceled by its owner",
    ],
)
def test_an_event_after_the_end_changes_nothing(end: str, late: str) -> None:
    ended = after(*ENDS[end])
    try:
        result = after(EVENTS[late], start=ended)
    except InvalidTransition:
        result = ended

    assert result is ended


def run(names: list[str], start: Order) -> Order:
    for name in names:
        try:
            start = EVENTS[name](start)
        except Refusal:
            continue
    return start


steps = st.lists(st.sampled_from(sorted(EVENTS)), max_size=14)
ALLOWED = {
    OrderStatus.AWAITING_PAYMENT: set(OrderStatus),
    OrderStatus.PAID: {OrderStatus.PAID, OrderStatus.CANCELED},
    OrderStatus.REJECTED: {OrderStatus.REJECTED},
    OrderStatus.CANCELED: {OrderStatus.CANCELED},
    OrderStatus.REFUNDED: {OrderStatus.REFUNDED},
}


@given(steps)
def test_no_history_breaks_the_rules(history: list[str]) -> None:
    """With repeated, late or unordered events, the order ends at most once, and for a reason."""
    current = order()
    for name in history:
        before = current
        current = run([name], start=before)
        assert current.status in ALLOWED[before.status]
        assert (current is before) == (current.version == before.version)

    ends = [event for event in current.events if isinstance(event, OrderRejected | OrderCanceled)]
    assert len(ends) == (current.status in (OrderStatus.REJECTED, OrderStatus.CANCELED))
    assert (current.status is OrderStatus.REJECTED) == (len(current.declined_payments) == 3)
    assert len(set(current.declined_payments)) == len(current.declined_payments)
    assert current.total == TOTAL


@given(steps)
def test_a_paid_order_keeps_one_capture_and_every_other_is_refunded_once(
    history: list[str],
) -> None:
    ended = run(history, start=order())

    taken = {MONEY_TAKEN[name] for name in history if name in MONEY_TAKEN}
    kept = {ended.paid_by} if ended.status is OrderStatus.PAID else set[str | None]()
    given_back = [event.payment_id for event in ended.events if isinstance(event, OrderRefundDue)]
    assert kept <= taken
    assert len(set(given_back)) == len(given_back)
    # If all of it is refunded, the order is canceled, and owes nothing more.
    refunded = {"pay_1"} if "refunded" in history and ended.paid_by == "pay_1" else set[str]()
    assert taken - kept - refunded <= set(given_back) <= taken - kept
    assert ended.refunds_due == given_back
    assert len([event for event in ended.events if isinstance(event, OrderPaid)]) == (
        ended.paid_by is not None
    )


@given(steps)
def test_repeating_every_event_has_the_same_result_as_no_repeats(history: list[str]) -> None:
    start = order()

    assert run([name for name in history for _ in range(3)], start) == run(history, start)


@given(steps)
def test_redelivering_a_whole_history_changes_nothing(history: list[str]) -> None:
    """Requests by people are left out, and so are shortages, which only paid orders have."""
    events = [name for name in history if name != "out of stock" and "canceled" not in name]
    once = run(events, start=order())

    # A deadline is no event. It may pass now because cash was given up after it was looked at.
    assert run([name for name in events if name != "out of time"], start=once) is once


def test_paying_needs_an_address() -> None:
    without = order(address=None)

    with pytest.raises(AddressRequired) as refused:
        rules.payable(without, None)

    assert [error.field for error in refused.value.errors] == ["shipping_address"]
    assert rules.payable(without, ADDRESS).total == TOTAL
    assert rules.payable(order(), None).total == TOTAL


def test_a_payable_order_counts_declines_and_not_other_failures() -> None:
    tried = after(decline("pay_1"), decline("pay_2", counts=False), decline("pay_3"))

    payable = rules.payable(tried, None)

    assert (payable.declines, payable.attempts) == (2, 3)


BRINGING: dict[str, Callable[[ShippingAddress | None], Step]] = {
    "captured": lambda address: pay(address=address),
    "declined": lambda address: decline("pay_1", address=address),
    "failed without counting": lambda address: decline("pay_1", counts=False, address=address),
    "cash begun": lambda address: begin(Method.CASH_ON_DELIVERY, address=address),
}
"""The events of a payment that carry its address."""


@pytest.mark.parametrize("before", [None, ADDRESS])
@pytest.mark.parametrize("told", BRINGING)
def test_a_payments_address_becomes_the_orders(told: str, before: ShippingAddress | None) -> None:
    assert after(BRINGING[told](BONN), start=order(address=before)).shipping_address == BONN


@pytest.mark.parametrize("told", BRINGING)
def test_a_payment_without_an_address_keeps_the_orders(told: str) -> None:
    assert after(BRINGING[told](None)).shipping_address == ADDRESS


@pytest.mark.parametrize("before", ["captured", "cash begun"])
@pytest.mark.parametrize("late", ["declined", "failed without counting"])
def test_a_late_decline_does_not_change_the_address(before: str, late: str) -> None:
    """The declined payment is older than the one that pays, which has another address."""
    paid = after(BRINGING[before](BONN))

    assert after(BRINGING[late](ADDRESS), start=paid).shipping_address == BONN


@pytest.mark.parametrize("end", ENDS)
def test_an_order_that_has_ended_cannot_be_paid(end: str) -> None:
    with pytest.raises(InvalidTransition):
        rules.payable(after(*ENDS[end]), ADDRESS)
