"""A payment waits for its customer, who approves it, refuses it, says nothing, or is too late."""

import asyncio
from datetime import timedelta

import pytest

from cartwheel.contracts.payments import (
    CardToken,
    Failure,
    GetPayment,
    ListPayments,
    Method,
    NotConfirmable,
    PaymentInProgress,
    PaymentStatus,
    PaymentView,
    ReturnUrlRefused,
    Wallet,
)
from cartwheel.kernel.errors import OutcomeUnknown
from cartwheel.kernel.mongodb import Outboxes
from cartwheel.orders.domain.order import Order
from cartwheel.payments.handlers import reading
from cartwheel.payments.handlers.reconciling import UNDECIDED_AFTER
from cartwheel.payments.mongo import MongoPayments

from ..profiling import documents_examined
from ..simulator.browsing import browse
from .conftest import Payments, Shop
from .examples import (
    ADMIN,
    AT,
    LATER,
    ZOE,
    canceled,
    create,
    later,
    now,
    refund_due,
    reported,
    unwanted,
)

CHALLENGED = CardToken(token="pm_card_threeDSecure2Required")
WALLET = Wallet()
BACK = "https://shop.example/back/7"
REQUIRED = ["payment.action_required.v1"]
NOT_APPROVED = Failure(code="payment_intent_authentication_failure", message="No.")

both = pytest.mark.parametrize("method", [CHALLENGED, WALLET], ids=["card", "wallet"])


@pytest.fixture
async def waiting(payments: Payments, shop: Shop) -> PaymentView:
    """A payment that waits for its customer."""
    return await begun(payments, shop)


async def begun(
    payments: Payments, shop: Shop, method: CardToken | Wallet = CHALLENGED
) -> PaymentView:
    made = (await payments.create(create(await shop.order(), method))).made
    assert made.status is PaymentStatus.REQUIRES_ACTION, made
    return made


async def answer(payment: PaymentView, said: str = "approve") -> None:
    assert payment.next_action
    await browse(payment.next_action.url, said)


async def settled(payments: Payments, payment: PaymentView) -> PaymentView:
    return (await payments.payments.get(payment.id)).view()


async def over(payments: Payments, payment: PaymentView) -> None:
    """Let the payment's time pass, and a little more, and the job run."""
    assert payment.next_action
    after = payment.next_action.expires_at + timedelta(minutes=1)
    await payments.end_actions(lambda: after)


@both
async def test_a_customer_who_must_approve_is_sent_to_the_provider_and_then_pays(
    payments: Payments, shop: Shop, method: CardToken | Wallet
) -> None:
    payment = await begun(payments, shop, method)
    assert await payments.told(payment.id) == REQUIRED
    before = await shop.charges(payment)

    await answer(payment)
    await payments.report(reported(payment, method=payment.method))

    paid = await settled(payments, payment)
    assert payment.method is (Method.WALLET if method is WALLET else Method.CARD)
    assert (paid.status, paid.next_action) == (PaymentStatus.PAID, None)
    assert (before, await shop.charges(payment)) == (["challenge"], ["challenge", "charge"])
    assert await payments.told(payment.id) == [*REQUIRED, "payment.captured.v1"]
    assert (await shop.hears(await payments.document(payment.id))).paid_by == payment.id


@both
async def test_a_refused_approval_is_no_attempt_and_another_payment_may_follow(
    payments: Payments, shop: Shop, method: CardToken | Wallet
) -> None:
    payment = await begun(payments, shop, method)

    await answer(payment, "refuse")
    report = reported(payment, captured=False, failure=NOT_APPROVED, method=payment.method)
    await payments.report(report)

    refused = await settled(payments, payment)
    assert refused.status is PaymentStatus.REJECTED
    assert refused.failure
    assert refused.failure.code == NOT_APPROVED.code
    order = await shop.hears(await payments.document(payment.id))
    assert (order.declined_payments, order.failed_payments) == ([], [payment.id])
    again = await payments.create(create(payment.order_id, await shop.card()))
    assert again.made.status is PaymentStatus.PAID


async def test_an_issuer_that_declines_after_the_approval_uses_up_an_attempt(
    payments: Payments, shop: Shop
) -> None:
    card = CardToken(token="pm_card_threeDSecureRequiredChargeDeclined")
    payment = await begun(payments, shop, card)

    await answer(payment)
    await payments.end_actions()

    assert (await settled(payments, payment)).status is PaymentStatus.REJECTED
    order = await shop.hears(await payments.document(payment.id))
    assert order.declined_payments == [payment.id]


async def test_the_same_request_is_answered_the_same_and_another_payment_refused(
    payments: Payments, shop: Shop
) -> None:
    request = create(await shop.order(), CHALLENGED)

    first, *others = [await payments.create(request) for _ in range(3)]

    assert all(each.replayed and each.made == first.made for each in others)
    assert await shop.charges(first.made) == ["challenge"]
    with pytest.raises(PaymentInProgress):
        await payments.create(create(request.order_id, WALLET))


async def test_a_signed_webhook_is_not_believed_while_the_customer_has_not_acted(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    for report in (
        reported(waiting),
        reported(waiting, captured=False),
        reported(waiting, captured=False, failure=NOT_APPROVED),
    ):
        await payments.report(report)

    assert await settled(payments, waiting) == waiting
    assert await shop.charges(waiting) == ["challenge"]


async def test_a_webhook_that_lies_about_the_answer_makes_the_provider_tell(
    payments: Payments, waiting: PaymentView
) -> None:
    await answer(waiting)

    await payments.report(reported(waiting, captured=False, failure=NOT_APPROVED))

    assert (await settled(payments, waiting)).status is PaymentStatus.PAID


async def test_a_lost_webhook_is_made_up_for(payments: Payments, waiting: PaymentView) -> None:
    await payments.end_actions(now)
    assert await settled(payments, waiting) == waiting
    await answer(waiting)

    await payments.end_actions(now)  # it has just looked
    unchanged = await settled(payments, waiting)
    await payments.end_actions(later)

    assert unchanged == waiting
    assert (await settled(payments, waiting)).status is PaymentStatus.PAID


async def test_webhooks_at_once_at_two_processes_have_one_effect(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    other = payments._replace(payments=MongoPayments(payments.database, Outboxes()))
    await answer(waiting)

    await asyncio.gather(
        *((payments, other)[number % 2].report(reported(waiting)) for number in range(20)),
        payments.end_actions(),
    )

    assert await payments.told(waiting.id) == [*REQUIRED, "payment.captured.v1"]
    assert await shop.charges(waiting) == ["challenge", "charge"]


async def test_what_is_never_answered_is_canceled_at_the_provider(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    assert waiting.next_action
    until = waiting.next_action.expires_at
    await payments.end_actions(lambda: until)  # the order ends first
    assert await settled(payments, waiting) == waiting

    await over(payments, waiting)
    await answer(waiting)

    ended = await settled(payments, waiting)
    assert ended.status is PaymentStatus.REJECTED
    assert ended.failure
    assert ended.failure.code == "action_expired"
    assert await shop.charges(waiting) == ["challenge", "cancellation"]
    order = await shop.hears(await payments.document(waiting.id))
    assert order.failed_payments == [waiting.id]


async def test_an_approval_in_the_last_second_pays(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    await answer(waiting)

    await over(payments, waiting)

    assert (await settled(payments, waiting)).status is PaymentStatus.PAID
    assert await shop.charges(waiting) == ["challenge", "charge"]


async def test_the_end_of_the_order_cancels_it_at_the_provider(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    for _ in range(2):
        await payments.canceled(canceled(waiting.order_id))
    await payments.end_actions()
    await answer(waiting)

    ended = await settled(payments, waiting)
    assert ended.status is PaymentStatus.CANCELED
    assert ended.failure
    assert ended.failure.code == "order_canceled"
    assert await shop.charges(waiting) == ["challenge", "cancellation"]
    assert await payments.told(waiting.id) == [*REQUIRED, "payment.canceled.v1"]


@both
async def test_an_approval_after_the_end_of_the_order_is_refunded(
    payments: Payments, shop: Shop, method: CardToken | Wallet
) -> None:
    waiting = await begun(payments, shop, method)
    await payments.canceled(canceled(waiting.order_id))
    await answer(waiting)

    await payments.end_actions()
    paid = await settled(payments, waiting)
    await payments.refund_due(refund_due(waiting.order_id, waiting.id, waiting.amount))
    await payments.carry_out_refunds()

    assert paid.status is PaymentStatus.PAID
    assert (await settled(payments, waiting)).status is PaymentStatus.REFUNDED
    assert await shop.charges(waiting) == ["challenge", "charge", "refund"]


async def test_an_order_that_ended_before_it_heard_of_it_does_not_want_it(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    await payments.unwanted(unwanted(waiting.order_id, waiting.id))
    await payments.end_actions()

    assert (await settled(payments, waiting)).status is PaymentStatus.CANCELED
    assert await shop.charges(waiting) == ["challenge", "cancellation"]


@both
async def test_its_payer_gives_it_up(
    payments: Payments, shop: Shop, method: CardToken | Wallet
) -> None:
    payment = await begun(payments, shop, method)

    given_up = await payments.cancel(payment.id, ZOE)
    await answer(payment)

    assert (given_up.status, given_up.failure) == (PaymentStatus.CANCELED, None)
    assert await shop.charges(payment) == ["challenge", "cancellation"]
    order = await shop.hears(await payments.document(payment.id))
    assert (order.canceled_payments, order.failed_payments) == ([payment.id], [])
    again = await payments.create(create(payment.order_id, await shop.card()))
    assert again.made.status is PaymentStatus.PAID


async def test_giving_it_up_after_the_approval_pays(
    payments: Payments, waiting: PaymentView
) -> None:
    await answer(waiting)

    assert (await payments.cancel(waiting.id, ZOE)).status is PaymentStatus.PAID


async def test_a_process_that_dies_while_it_is_given_up_leaves_that_to_the_job(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    await shop.fault("drop", on="cancel")
    with pytest.raises(OutcomeUnknown):
        await payments.cancel(waiting.id, ZOE)
    assert (await settled(payments, waiting)).status is PaymentStatus.REQUIRES_ACTION

    await payments.end_actions(now)

    assert (await settled(payments, waiting)).status is PaymentStatus.CANCELED
    assert await shop.charges(waiting) == ["challenge", "cancellation"]


async def test_a_lost_answer_of_the_provider_does_not_take_the_page_from_the_customer(
    payments: Payments, shop: Shop
) -> None:
    """Payments has died between the provider's answer and its own write."""
    request = create(await shop.order(), CHALLENGED)
    await shop.fault("charge_then_drop")
    with pytest.raises(OutcomeUnknown):
        await payments.create(request)

    await payments.reconcile(lambda: AT + UNDECIDED_AFTER + timedelta(seconds=1))

    found = (await payments.create(request)).made
    assert found.status is PaymentStatus.REQUIRES_ACTION
    await answer(found)
    await payments.report(reported(found))
    assert (await settled(payments, found)).status is PaymentStatus.PAID


async def test_a_payment_that_never_reached_the_provider_is_voided(
    payments: Payments, shop: Shop
) -> None:
    """Payments has died between its own write and the request to the provider."""
    request = create(await shop.order(), WALLET)
    await shop.fault("drop")
    with pytest.raises(OutcomeUnknown):
        await payments.create(request)

    await payments.reconcile(lambda: AT + UNDECIDED_AFTER + timedelta(seconds=1))

    found = (await payments.create(request)).made
    assert (found.status, found.next_action) == (PaymentStatus.REJECTED, None)
    assert await shop.charges(found) == ["cancellation"]


async def test_two_in_a_row_have_the_deadline_of_their_order(
    payments: Payments, shop: Shop
) -> None:
    first = await begun(payments, shop)
    deadline = (await shop.hears(await payments.document(first.id))).expires_at
    await payments.cancel(first.id, ZOE)
    await shop.hears(await payments.document(first.id))

    second = (await payments.create(create(first.order_id, WALLET))).made
    order: Order = await shop.hears(await payments.document(second.id))

    assert first.next_action
    assert second.next_action
    assert first.next_action.expires_at == second.next_action.expires_at == deadline
    assert order.expires_at == order.pay_by == deadline


async def test_cash_is_confirmed_and_nothing_else(payments: Payments, waiting: PaymentView) -> None:
    with pytest.raises(NotConfirmable):
        await payments.confirm(waiting.id, ADMIN)

    assert await settled(payments, waiting) == waiting


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/back",
        "https://shop.example",
        "https://shop.example/backyard",
        "http://shop.example/back",
        "https://shop.example:8443/back",
        "https://shop.example/back/../other",
        "https://shop.example/back/%2E%2e/other",
        "https://shop.example/back%2f..",
        "https://shop.example@evil.example/back",
        "https://shop.example\\@evil.example/back",
        "https://shop.example/back#there",
        "HTTPS://SHOP.EXAMPLE/back",
        "javascript:alert(1)",
    ],
)
async def test_nobody_is_sent_to_an_address_that_the_shop_does_not_allow(
    payments: Payments, shop: Shop, url: str
) -> None:
    order_id = await shop.order()

    with pytest.raises(ReturnUrlRefused) as refused:
        await payments.create(create(order_id, CHALLENGED, return_url=url))

    assert [error.field for error in refused.value.errors] == ["return_url"]
    assert await payments.of(order_id) == []


@pytest.mark.parametrize(
    "url", [BACK, "https://shop.example/back", "https://shop.example/back?a=/b"]
)
async def test_a_customer_comes_back_to_the_shop(payments: Payments, shop: Shop, url: str) -> None:
    request = create(await shop.order(), CHALLENGED, return_url=url)
    payment = (await payments.create(request)).made

    assert payment.next_action
    _, _, back = await browse(payment.next_action.url, "approve")

    assert str(back).startswith(url)


async def test_the_job_finds_what_waits_without_reading_all_payments(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    for _ in range(5):
        order_id = await shop.order()
        await payments.create(create(order_id, await shop.card()))

    async with documents_examined(payments.database, "payments") as examined:
        found = await payments.payments.acting("simulator").due(LATER, limit=10)

    assert [item.id for item in found] == [waiting.id]
    assert sum(examined) == 1


async def test_only_its_customer_sees_the_page(
    payments: Payments, shop: Shop, waiting: PaymentView
) -> None:
    seen = [
        await reading.get_payment(
            GetPayment(payment_id=waiting.id, actor=actor), payments=payments.payments
        )
        for actor in (ZOE, ADMIN)
    ]
    listed = [
        await payments.page(ListPayments(limit=1, order_id=waiting.order_id, actor=actor))
        for actor in (ZOE, ADMIN)
    ]

    assert [payment.next_action for payment in seen] == [waiting.next_action, None]
    assert [page.data[0].next_action for page in listed] == [waiting.next_action, None]
