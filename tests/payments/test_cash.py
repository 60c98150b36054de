"""Cash on delivery: pending without a provider, confirmed by an administrator."""

import asyncio

import pytest

from cartwheel.contracts.payments import NotConfirmable, PaymentNotFound, PaymentStatus
from cartwheel.kernel.errors import Forbidden

from .conftest import Payments, Shop
from .examples import ADMIN, ZOE, create


async def told(payments: Payments, payment_id: str) -> list[tuple[int, str]]:
    document = await payments.document(payment_id)
    return [(event["sequence"], event["type"]) for event in document["outbox"]]


async def test_cash_stays_pending_and_emits_an_event(payments: Payments, shop: Shop) -> None:
    pending = (await payments.create(create(await shop.order()))).made

    assert (pending.status, pending.provider, pending.card) == (
        PaymentStatus.AWAITING_PAYMENT,
        "cash",
        None,
    )
    assert await told(payments, pending.id) == [(1, "payment.pending.v1")]


async def test_an_admin_confirms_cash_once_however_often(payments: Payments, shop: Shop) -> None:
    pending = (await payments.create(create(await shop.order()))).made

    answers = await asyncio.gather(*(payments.confirm(pending.id, ADMIN) for _ in range(10)))

    assert {answer.status for answer in answers} == {PaymentStatus.PAID}
    assert await told(payments, pending.id) == [
        (1, "payment.pending.v1"),
        (2, "payment.captured.v1"),
    ]
    assert [entry.by for entry in answers[0].timeline] == [ZOE.user_id, ADMIN.user_id]


async def test_a_customer_cannot_confirm_cash(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    pending = (await payments.create(create(order_id))).made

    with pytest.raises(Forbidden):
        await payments.confirm(pending.id, ZOE)

    assert await payments.of(order_id) == [pending]


async def test_an_unknown_payment_cannot_be_confirmed(payments: Payments) -> None:
    with pytest.raises(PaymentNotFound):
        await payments.confirm("pay_none", ADMIN)


async def test_a_card_payment_cannot_be_confirmed_by_hand(payments: Payments, shop: Shop) -> None:
    paid = (await payments.create(create(await shop.order(), await shop.card()))).made

    with pytest.raises(NotConfirmable):
        await payments.confirm(paid.id, ADMIN)


async def test_cash_is_never_reconciled_with_a_provider(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    pending = (await payments.create(create(order_id))).made

    await payments.reconcile()

    assert await payments.of(order_id) == [pending]
    assert await shop.charges(pending) == []
