"""The payment history: users see their own, administrators see everybody's."""

import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.payments import (
    GetPayment,
    ListPayments,
    PaymentNotFound,
    PaymentStatus,
    PaymentView,
)
from cartwheel.kernel.mongodb import BadCursor
from cartwheel.payments.handlers import reading

from .conftest import DECLINED, Payments, Shop
from .examples import ADMIN, EVE, ZOE, create


async def seen(payments: Payments, payment: PaymentView, actor: Actor) -> PaymentView:
    request = GetPayment(payment_id=payment.id, actor=actor)
    return await reading.get_payment(request, payments=payments.payments)


async def test_the_payer_and_an_admin_see_a_payment_and_nobody_else(
    payments: Payments, shop: Shop
) -> None:
    paid = (await payments.create(create(await shop.order(), await shop.card()))).made

    assert await seen(payments, paid, ZOE) == await seen(payments, paid, ADMIN) == paid
    with pytest.raises(PaymentNotFound):
        await seen(payments, paid, EVE)


async def test_an_unknown_payment_is_not_found(payments: Payments) -> None:
    with pytest.raises(PaymentNotFound):
        await reading.get_payment(
            GetPayment(payment_id="pay_none", actor=ADMIN), payments=payments.payments
        )


async def test_the_history_lists_the_users_own_payments_page_by_page(
    payments: Payments, shop: Shop
) -> None:
    mine = [(await payments.create(create(await shop.order()))).made for _ in range(5)]
    await payments.create(create(await shop.order("user-eve"), actor=EVE))

    listed: list[PaymentView] = []
    cursor: str | None = None
    for _ in range(3):
        page = await payments.page(ListPayments(limit=2, cursor=cursor, user_id=ZOE.user_id))
        listed += page.data
        cursor = page.next_cursor

    assert cursor is None
    assert listed == mine[::-1]


async def test_without_a_user_everybodys_payments_are_listed(
    payments: Payments, shop: Shop
) -> None:
    mine = (await payments.create(create(await shop.order()))).made
    hers = (await payments.create(create(await shop.order("user-eve"), actor=EVE))).made

    assert (await payments.page(ListPayments(limit=10))).data == [hers, mine]


async def test_the_history_of_one_order_has_each_attempt(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    await payments.create(create(await shop.order()))
    await payments.create(create(order_id, await shop.card(DECLINED)))
    await payments.create(create(order_id, await shop.card()))

    assert [payment.status for payment in await payments.of(order_id)] == [
        PaymentStatus.PAID,
        PaymentStatus.REJECTED,
    ]


async def test_the_history_is_listed_by_status(payments: Payments, shop: Shop) -> None:
    await payments.create(create(await shop.order()))
    paid = (await payments.create(create(await shop.order(), await shop.card()))).made

    page = await payments.page(
        ListPayments(limit=10, status=PaymentStatus.PAID, user_id=ZOE.user_id)
    )

    assert page.data == [paid]


async def test_an_invalid_cursor_is_refused(payments: Payments) -> None:
    with pytest.raises(BadCursor):
        await payments.page(ListPayments(limit=2, cursor="no cursor"))
