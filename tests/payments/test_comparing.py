"""Comparing payments with the provider's ledger, and repairing them, with a planted difference of
every kind."""

from collections.abc import AsyncGenerator
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest

from cartwheel.contracts.ledger import (
    Difference,
    DifferenceKind,
    EntryKind,
    GetPaymentAtProvider,
    ListLedger,
    PaymentAtProvider,
    Reconciled,
    ReconcilePayment,
)
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    ListPayments,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
    RefundStatus,
)
from cartwheel.kernel import answer
from cartwheel.kernel.errors import Forbidden, Unavailable
from cartwheel.operations import reconciling
from cartwheel.operations.reconciling import Result
from cartwheel.payments.handlers import comparing, reading
from cartwheel.providers.simulator.client import open_simulator

from ..orders.conftest import Direct
from ..simulator.conftest import API_KEY, Simulator
from .conftest import Payments, Shop
from .examples import ADMIN, TOTAL, ZOE, create, refunding

LESS = Money(TOTAL.amount - 1, TOTAL.currency)


@pytest.fixture(scope="module")
async def simulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Simulator]:
    """One with a ledger of its own: other tests' payments would all be differences."""
    simulator = Simulator(tmp_path_factory.mktemp("compared"))
    await simulator.start()
    yield simulator
    assert await simulator.stop() == 0


def soon() -> datetime:
    """Return a time at which what has just happened is no longer in progress."""
    return datetime.now(UTC) + timedelta(minutes=5)


class Books(NamedTuple):
    """The two sides, and what the command does with them."""

    payments: Payments
    shop: Shop

    async def paid(self) -> PaymentView:
        order = await self.shop.order()
        return (await self.payments.create(create(order, await self.shop.card()))).made

    async def refunded(self) -> tuple[PaymentView, str]:
        """Return a payment of which a part was refunded, and the id of the refund."""
        payment = await self.paid()
        made = (await self.payments.refund(refunding(payment.id, Money(100, "USD")))).made
        await self.payments.carry_out_refunds()
        return payment, made.id

    async def plant(self, payment: PaymentView, **changes: Any) -> None:
        """Change a stored payment behind everybody's back."""
        await self.payments.database["payments"].update_one({"_id": payment.id}, {"$set": changes})

    async def fail_refund(self, refund_id: str) -> None:
        """Have a refund fail at the provider, whose webhook gets lost."""
        status, _ = await self.shop.simulator.post(f"/v1/refunds/{refund_id}/fail", {})
        assert status == 200

    async def read(self, payment: PaymentView) -> PaymentView:
        [found] = await self.payments.of(payment.order_id)
        return found

    async def reconcile(self, payment_id: str, *, repair: bool = False) -> Reconciled:
        request = ReconcilePayment(payment_id=payment_id, repair=repair, actor=ADMIN)
        return await comparing.reconcile_payment(
            request, payments=self.payments.payments, cards=self.payments.cards, now=soon
        )

    async def look(self, payment: PaymentView) -> PaymentAtProvider:
        request = GetPaymentAtProvider(payment_id=payment.id, actor=ADMIN)
        return await comparing.get_payment_at_provider(
            request, payments=self.payments.payments, cards=self.payments.cards
        )

    async def command(self, day: date | None = None, *, repair: bool = True) -> Result:
        """Do what `cartwheel payments reconcile` does."""
        store, cards = self.payments.payments, self.payments.cards
        bus = Direct(
            answer(ListLedger, comparing.list_ledger, cards=cards),
            answer(ListPayments, reading.list_payments, payments=store),
            answer(
                ReconcilePayment,
                partial(comparing.reconcile_payment, now=soon),
                payments=store,
                cards=cards,
            ),
        )
        return await reconciling.compared(
            bus,
            day,
            agreed=lambda _: repair,
            doing=lambda _: nullcontext(lambda _: None),
        )


@pytest.fixture
def books(payments: Payments, shop: Shop) -> Books:
    return Books(payments, shop)


async def test_a_payment_that_agrees_has_no_difference(books: Books) -> None:
    payment, refund_id = await books.refunded()

    there = await books.look(payment)

    assert [(each.kind, each.amount) for each in there.entries] == [
        (EntryKind.CAPTURED, TOTAL),
        (EntryKind.REFUNDED, Money(100, "USD")),
    ]
    assert there.entries[1].refund_id == refund_id
    assert (there.provider, there.reference) == ("simulator", payment.provider_reference)
    assert there.differences == (await books.reconcile(payment.id)).differences == []


async def test_money_that_was_captured_and_never_heard_of_pays_the_payment(books: Books) -> None:
    payment = await books.paid()
    await books.plant(payment, status="AWAITING_PAYMENT", captured=None)

    seen = await books.reconcile(payment.id)
    repaired = await books.reconcile(payment.id, repair=True)

    lost = Difference(kind=DifferenceKind.NOT_HERE, here=None, there=TOTAL, repairable=True)
    assert seen.differences == seen.left == repaired.differences == [lost]
    assert repaired.left == []
    assert (await books.read(payment)).status is PaymentStatus.PAID
    assert await books.payments.told(payment.id) == ["payment.captured.v1"] * 2


async def test_money_that_was_captured_for_a_rejected_payment_is_refunded(books: Books) -> None:
    payment = await books.paid()
    await books.plant(payment, status="REJECTED", captured=None, live=False)

    repaired = await books.reconcile(payment.id, repair=True)

    assert repaired.left == []
    after = await books.read(payment)
    assert after.status is PaymentStatus.REJECTED
    assert [(each.amount, each.status) for each in after.refunds] == [(TOTAL, RefundStatus.PENDING)]


async def test_money_for_an_unknown_payment_is_left_to_a_person(books: Books) -> None:
    payment = await books.paid()
    await books.payments.database["payments"].delete_one({"_id": payment.id})

    repaired = await books.reconcile(payment.id, repair=True)

    unknown = Difference(kind=DifferenceKind.NOT_HERE, here=None, there=TOTAL)
    assert repaired.differences == repaired.left == [unknown]


async def test_money_that_the_provider_does_not_have_is_left_to_a_person(books: Books) -> None:
    payment = await books.paid()
    document = await books.payments.document(payment.id)
    other = {"_id": f"{payment.id}0", "request_id": "other", "live": False, "attempt": None}
    await books.payments.database["payments"].insert_one({**document, **other})

    repaired = await books.reconcile(f"{payment.id}0", repair=True)

    missing = Difference(kind=DifferenceKind.NOT_THERE, here=TOTAL, there=None)
    assert repaired.differences == repaired.left == [missing]


async def test_another_amount_is_left_to_a_person(books: Books) -> None:
    payment = await books.paid()
    await books.plant(payment, **{"captured.amount": LESS.amount})

    repaired = await books.reconcile(payment.id, repair=True)

    differs = Difference(kind=DifferenceKind.AMOUNT_DIFFERS, here=LESS, there=TOTAL)
    assert repaired.differences == repaired.left == [differs]


async def test_a_refund_that_failed_unheard_is_failed_here_too(books: Books) -> None:
    payment, refund_id = await books.refunded()
    await books.fail_refund(refund_id)

    repaired = await books.reconcile(payment.id, repair=True)

    [difference] = repaired.differences
    assert (difference.kind, difference.refund_id) == (DifferenceKind.REFUND_DIFFERS, refund_id)
    assert (difference.here, difference.there) == (Money(100, "USD"), None)
    assert repaired.left == []
    [refund] = (await books.read(payment)).refunds
    assert refund.status is RefundStatus.FAILED
    assert refund.failure is not None
    assert refund.failure.code == "lost_or_stolen_card"


async def test_a_refund_that_nobody_has_asked_for_is_left_to_a_person(books: Books) -> None:
    payment, refund_id = await books.refunded()
    await books.plant(payment, refunds=[], status="PAID")

    repaired = await books.reconcile(payment.id, repair=True)

    [left] = repaired.left
    assert (left.kind, left.refund_id) == (DifferenceKind.REFUND_DIFFERS, refund_id)
    assert (left.here, left.there, left.repairable) == (None, Money(100, "USD"), False)


async def test_what_is_in_progress_differs_from_nothing(books: Books) -> None:
    payment = await books.paid()
    await books.plant(payment, status="AWAITING_PAYMENT", captured=None)
    request = ReconcilePayment(payment_id=payment.id, repair=True, actor=ADMIN)

    # By the real clock, the capture is younger than a minute.
    young = await comparing.reconcile_payment(
        request, payments=books.payments.payments, cards=books.payments.cards
    )
    pending, _ = await books.refunded()
    await books.plant(pending, **{"refunds.0.status": "PENDING", "status": "PAID"})

    assert young.differences == []
    assert (await books.reconcile(pending.id)).differences == []


async def test_the_command_finds_every_difference_and_repairs_what_it_may(books: Books) -> None:
    agreeing, (refunded, _) = await books.paid(), await books.refunded()
    lost, unknown, other = [await books.paid() for _ in range(3)]
    failed, refund_id = await books.refunded()
    await books.plant(lost, status="AWAITING_PAYMENT", captured=None)
    await books.payments.database["payments"].delete_one({"_id": unknown.id})
    await books.plant(other, **{"captured.amount": LESS.amount, "amount.amount": LESS.amount})
    await books.fail_refund(refund_id)
    ours = {each.id for each in (agreeing, refunded, lost, unknown, other, failed)}

    shown = await books.command(repair=False)
    done = await books.command()
    again = await books.command()

    def found(result: Result) -> set[tuple[str, DifferenceKind]]:
        return {
            (each.payment_id, each.difference.kind)
            for each in result.differences
            if each.payment_id in ours
        }

    for_a_person = {
        (unknown.id, DifferenceKind.NOT_HERE),
        (other.id, DifferenceKind.AMOUNT_DIFFERS),
    }
    for_the_command = {
        (lost.id, DifferenceKind.NOT_HERE),
        (failed.id, DifferenceKind.REFUND_DIFFERS),
    }
    assert found(shown) == found(done) == for_a_person | for_the_command
    assert shown.left == shown.count
    assert done.count - done.left == done.repairable == 2
    assert found(again) == for_a_person
    assert again.repairable == 0
    assert (await books.read(lost)).status is PaymentStatus.PAID


async def test_a_day_on_which_nothing_has_happened_has_no_difference(books: Books) -> None:
    payment = await books.paid()
    await books.plant(payment, status="AWAITING_PAYMENT", captured=None)

    result = await books.command(date(2026, 1, 2))

    assert (result.lines, result.payments, result.count) == (0, 0, 0)
    assert result.since == datetime(2026, 1, 2, tzinfo=UTC)
    assert result.until == datetime(2026, 1, 3, tzinfo=UTC)


async def test_the_ledger_is_read_in_pages_and_by_time(books: Books) -> None:
    payments = [await books.paid() for _ in range(5)]
    now = datetime.now(UTC)

    async def page(cursor: str | None, since: datetime, until: datetime) -> Any:
        asked = ListLedger(since=since, until=until, limit=2, cursor=cursor, actor=ADMIN)
        return await comparing.list_ledger(asked, cards=books.payments.cards)

    async def everything(since: datetime, until: datetime) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            got = await page(cursor, since, until)
            found += [each.payment_id for each in got.data]
            cursor = got.next_cursor
            if cursor is None:
                return found

    hour = timedelta(hours=1)
    assert (await everything(now - hour, now + hour))[-5:] == [each.id for each in payments]
    assert await everything(now + hour, now + 2 * hour) == []
    assert await everything(now - 2 * hour, now - hour) == []


async def test_only_admins_compare(books: Books) -> None:
    payment = await books.paid()
    store, cards = books.payments.payments, books.payments.cards
    hour = timedelta(hours=1)
    now = datetime.now(UTC)

    with pytest.raises(Forbidden):
        await comparing.get_payment_at_provider(
            GetPaymentAtProvider(payment_id=payment.id, actor=ZOE), payments=store, cards=cards
        )
    with pytest.raises(Forbidden):
        await comparing.reconcile_payment(
            ReconcilePayment(payment_id=payment.id, repair=True, actor=ZOE),
            payments=store,
            cards=cards,
        )
    with pytest.raises(Forbidden):
        await comparing.list_ledger(
            ListLedger(since=now - hour, until=now, limit=1, actor=ZOE), cards=cards
        )
    with pytest.raises(PaymentNotFound):
        await comparing.get_payment_at_provider(
            GetPaymentAtProvider(payment_id="pay_0", actor=ADMIN), payments=store, cards=cards
        )


async def test_without_the_provider_nothing_is_compared(books: Books) -> None:
    payment = await books.paid()
    cash = (await books.payments.create(create(await books.shop.order()))).made
    store = books.payments.payments
    async with open_simulator("http://127.0.0.1:1", API_KEY) as away:
        with pytest.raises(Unavailable, match="simulator did not answer"):
            await comparing.get_payment_at_provider(
                GetPaymentAtProvider(payment_id=payment.id, actor=ADMIN),
                payments=store,
                cards=away,
            )
        # Cash has no provider that could be asked.
        there = await comparing.get_payment_at_provider(
            GetPaymentAtProvider(payment_id=cash.id, actor=ADMIN), payments=store, cards=away
        )

    assert (there.provider, there.entries, there.differences) == ("cash", [], [])
