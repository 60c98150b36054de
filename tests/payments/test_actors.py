"""Payments itself decides whose payments it shows, and who may report a verdict."""

import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.payments import ListPayments, ReportVerdict
from cartwheel.kernel.errors import Forbidden

from .conftest import Payments, Shop
from .examples import ADMIN, CASH, EVE, ZOE, create


@pytest.mark.parametrize("user_id", [None, ZOE.user_id])
async def test_a_customers_list_has_only_their_own_entries(
    payments: Payments, shop: Shop, user_id: str | None
) -> None:
    made = (await payments.create(create(await shop.order(), CASH))).made

    def asked_by(actor: Actor | None) -> ListPayments:
        return ListPayments(limit=10, user_id=user_id, actor=actor)

    assert (await payments.page(asked_by(EVE))).data == []
    for actor in (ZOE, ADMIN, None):  # None: an older gateway, which has decided
        assert (await payments.page(asked_by(actor))).data == [made]


@pytest.mark.parametrize("actor", [ZOE, ADMIN])
async def test_only_a_service_reports_a_verdict(
    payments: Payments, shop: Shop, actor: Actor
) -> None:
    made = (await payments.create(create(await shop.order(), CASH))).made
    report = ReportVerdict(
        provider="simulator", payment_id=made.id, captured=True, amount=made.amount, actor=actor
    )

    with pytest.raises(Forbidden):
        await payments.report(report)
