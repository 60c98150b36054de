"""A payment that waits is given up by its payer or an admin, whatever happens at the provider."""

import asyncio

import pytest

from cartwheel.contracts.fulfilment import NotPaid, OrderShipped
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.payments import (
    CashNotAccepted,
    NotCancelable,
    NotConfirmable,
    PaymentInProgress,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
)
from cartwheel.kernel import Answer, Request
from cartwheel.kernel.errors import OutcomeUnknown, Unavailable
from cartwheel.kernel.mongodb import Outboxes
from cartwheel.orders.domain.order import Order
from cartwheel.payments.mongo import MongoPayments
from cartwheel.providers.port import Captured, Voided

from ..orders.examples import AT as PLACED_AT
from .conftest import Payments, Says, Shop
from .examples import ADMIN, EVE, ZOE, create, reported

CANCELED = ["payment.pending.v1", "payment.canceled.v1"]


class Away:
    """A bus on which no service answers."""

    async def request(self, request: Request[Answer]) -> Answer:
        raise Unavailable("No replica answers.")


@pytest.fixture
async def cash(payments: Payments, shop: Shop) -> PaymentView:
    return (await payments.create(create(await shop.order()))).made


async def left(payments: Payments, shop: Shop, fault: str = "drop") -> PaymentView:
    """Return a payment by card without a verdict; by default the provider never heard of it."""
    await shop.fault(fault)
    order_id = await shop.order()
    with pytest.raises(OutcomeUnknown):
        await payments.create(create(order_id, await shop.card()))
    [payment] = await payments.of(order_id)
    return payment


@pytest.mark.parametrize("by", [ZOE, ADMIN], ids=["the payer", "an admin"])
async def test_cash_is_given_up_and_another_method_can_be_chosen(
    payments: Payments, shop: Shop, cash: PaymentView, by: Actor
) -> None:
    with pytest.raises(PaymentInProgress):
        await payments.create(create(cash.order_id, await shop.card()))

    canceled = await payments.cancel(cash.id, by)

    assert (canceled.status, canceled.failure) == (PaymentStatus.CANCELED, None)
    assert [(entry.type, entry.by) for entry in canceled.timeline][1:] == [("canceled", by.user_id)]
    assert await payments.told(cash.id) == CANCELED
    order = await shop.hears(await payments.document(cash.id))
    assert order.expires_at == order.pay_by
    assert order.expires_at is not None
    assert order.expires_at > PLACED_AT
    paid = await payments.create(create(cash.order_id, await shop.card()))
    assert paid.made.status is PaymentStatus.PAID


async def test_giving_up_is_no_attempt(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    for _ in range(4):
        cash = (await payments.create(create(order_id))).made
        await payments.cancel(cash.id, ZOE)
        await shop.hears(await payments.document(cash.id))

    order = await shop.orders.get(order_id)
    assert (order.view().payment_attempts, order.failed_payments) == (0, [])
    paid = (await payments.create(create(order_id, await shop.card()))).made
    assert paid.status is PaymentStatus.PAID


async def test_canceling_ten_times_at_two_processes_tells_of_it_once(
    payments: Payments, cash: PaymentView
) -> None:
    other = payments._replace(payments=MongoPayments(payments.database, Outboxes()))

    answers = await asyncio.gather(
        *((payments, other)[number % 2].cancel(cash.id, ZOE) for number in range(10))
    )

    assert {answer.status for answer in answers} == {PaymentStatus.CANCELED}
    assert await payments.told(cash.id) == CANCELED


async def test_somebody_elses_payment_is_not_there_to_be_canceled(
    payments: Payments, cash: PaymentView
) -> None:
    for payment_id, actor in ((cash.id, EVE), ("pay_none", ADMIN)):
        with pytest.raises(PaymentNotFound):
            await payments.cancel(payment_id, actor)

    assert await payments.told(cash.id) == CANCELED[:1]


async def test_a_canceled_payment_cannot_be_confirmed(
    payments: Payments, cash: PaymentView
) -> None:
    await payments.cancel(cash.id, ZOE)

    with pytest.raises(NotConfirmable):
        await payments.confirm(cash.id, ADMIN)


async def test_cash_is_awaited_at_the_door_once_its_order_is_shipped(
    payments: Payments, shop: Shop, cash: PaymentView
) -> None:
    await shop.hears(await payments.document(cash.id))
    await shop.ships(cash.order_id)

    for actor in (ZOE, ADMIN):
        with pytest.raises(OrderShipped):
            await payments.cancel(cash.id, actor)

    assert await payments.of(cash.order_id) == [cash]
    confirmed = await payments.confirm(cash.id, ADMIN)
    assert confirmed.status is PaymentStatus.PAID


async def test_while_orders_is_away_cash_is_not_canceled(
    payments: Payments, shop: Shop, cash: PaymentView
) -> None:
    alone = payments._replace(bus=Away())

    with pytest.raises(Unavailable):
        await alone.cancel(cash.id, ZOE)

    assert await payments.of(cash.order_id) == [cash]
    canceled = await payments.cancel(cash.id, ZOE)
    assert canceled.status is PaymentStatus.CANCELED


async def test_an_order_is_shipped_or_its_cash_is_given_up_and_never_both(
    payments: Payments, shop: Shop
) -> None:
    for _ in range(20):
        cash = (await payments.create(create(await shop.order()))).made
        await shop.hears(await payments.document(cash.id))

        shipped, canceled = await asyncio.gather(
            shop.ships(cash.order_id), payments.cancel(cash.id, ZOE), return_exceptions=True
        )

        if isinstance(canceled, PaymentView):
            assert isinstance(shipped, NotPaid)
        else:
            assert isinstance(canceled, OrderShipped)
            assert isinstance(shipped, Order)


async def test_cash_that_is_confirmed_and_canceled_at_once_ends_one_way(
    payments: Payments, shop: Shop
) -> None:
    made = [(await payments.create(create(await shop.order()))).made for _ in range(6)]

    async def both(payment: PaymentView) -> tuple[object, object]:
        return await asyncio.gather(
            payments.confirm(payment.id, ADMIN),
            payments.cancel(payment.id, ZOE),
            return_exceptions=True,
        )

    for payment, (confirmed, canceled) in zip(
        made, await asyncio.gather(*map(both, made)), strict=True
    ):
        if isinstance(confirmed, PaymentView):
            assert isinstance(canceled, NotCancelable)
            assert (await payments.told(payment.id))[1:] == ["payment.captured.v1"]
        else:
            assert isinstance(canceled, PaymentView)
            assert (await payments.told(payment.id))[1:] == ["payment.canceled.v1"]


async def test_a_captured_payment_cannot_be_canceled(payments: Payments, shop: Shop) -> None:
    paid = (await payments.create(create(await shop.order(), await shop.card()))).made

    with pytest.raises(NotCancelable):
        await payments.cancel(paid.id, ZOE)

    assert await shop.charges(paid) == ["charge"]


async def test_a_card_that_was_never_charged_is_canceled_at_once(
    payments: Payments, shop: Shop
) -> None:
    payment = await left(payments, shop)

    canceled = await payments.cancel(payment.id, ZOE)
    await payments.reconcile()

    assert canceled.status is PaymentStatus.CANCELED
    assert await payments.told(payment.id) == ["payment.canceled.v1"]
    assert [entry.type for entry in canceled.timeline] == ["begun", "cancel asked for", "canceled"]
    assert await shop.charges(payment) == ["cancellation"]


async def test_a_capture_that_wins_is_paid_and_the_same_request_is_told_so_again(
    payments: Payments, shop: Shop
) -> None:
    payment = await left(payments, shop, "charge_then_drop")

    first = await payments.cancel(payment.id, ZOE, request_id="5c0e")
    again = await payments.cancel(payment.id, ZOE, request_id="5c0e")
    with pytest.raises(NotCancelable):
        await payments.cancel(payment.id, ZOE)

    assert (first.status, again) == (PaymentStatus.PAID, first)
    assert await payments.told(payment.id) == ["payment.captured.v1"]


@pytest.mark.parametrize("then", ["the same request", "another request", "reconcile", "a webhook"])
async def test_a_cancel_that_the_provider_did_not_answer_is_finished_as_one(
    payments: Payments, shop: Shop, then: str
) -> None:
    """Whoever hears of it first, no decline is told to anybody."""
    payment = await left(payments, shop)
    await shop.fault("error", on="cancel")
    with pytest.raises(OutcomeUnknown):
        await payments.cancel(payment.id, ZOE, request_id="5c0e")
    assert (await payments.of(payment.order_id))[0].status is PaymentStatus.AWAITING_PAYMENT

    match then:
        case "the same request":
            await payments.cancel(payment.id, ZOE, request_id="5c0e")
        case "another request":
            await payments.cancel(payment.id, ZOE)
        case "reconcile":
            await payments.reconcile()
        case _:
            assert (await payments.cards.cancel(payment.id)).verdict == Voided()
            await payments.report(reported(payment, captured=False))

    assert (await payments.of(payment.order_id))[0].status is PaymentStatus.CANCELED
    assert await payments.told(payment.id) == ["payment.canceled.v1"]


async def test_money_that_comes_after_a_cancel_goes_back(payments: Payments, shop: Shop) -> None:
    payment = await left(payments, shop)
    await payments.cancel(payment.id, ZOE)

    provider = payments._replace(cards=Says(Captured(payment.amount)))
    await provider.report(reported(payment, captured=True))

    document = await payments.document(payment.id)
    assert (document["status"], document["live"]) == ("CANCELED", False)
    assert [refund["status"] for refund in document["refunds"]] == ["PENDING"]
    assert await payments.told(payment.id) == ["payment.canceled.v1"]


async def test_a_shop_without_cash_refuses_it_and_answers_what_it_took_before(
    payments: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    request = create(order_id, request_id="5c0e")
    before = (await payments.create(request)).made
    without_cash = payments._replace(takes_cash=False)

    again = await without_cash.create(request)
    with pytest.raises(CashNotAccepted):
        await without_cash.create(create(await shop.order()))
    by_card = await without_cash.create(create(await shop.order(), await shop.card()))

    assert (again.made, again.replayed) == (before, True)
    assert by_card.made.status is PaymentStatus.PAID
