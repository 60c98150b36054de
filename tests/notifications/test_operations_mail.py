"""Mail to those who run the shop."""

import asyncio
import secrets

from cartwheel.contracts.money import Money
from cartwheel.contracts.notifications import ListMail
from cartwheel.contracts.payments import (
    Failure,
    PaymentCaptureFailed,
    PaymentDisputeClosed,
    PaymentDisputeOpened,
)
from cartwheel.contracts.products import StockLow
from cartwheel.kernel import CloudEvent
from cartwheel.notifications.domain import render_for_operations
from cartwheel.notifications.handlers.telling import tell_operations

from .conftest import Notifications, Postbox
from .examples import SHOP, happened, now

LOW = StockLow(product_id="prd_1", sku="TOP-1", name="Tin <robot>", available=1, low_stock_at=5)


def test_the_mail_names_product_pieces_and_threshold() -> None:
    mail = render_for_operations(LOW, SHOP, to="operations@example.com")

    assert mail.subject == "Low stock: Tin <robot>"
    for told in ("Tin <robot> is running out", "1 piece is available", "at 5", "prd_1", "TOP-1"):
        assert told in mail.text
    assert "Tin &lt;robot&gt;" in mail.html
    assert "<robot>" not in mail.html


def test_the_mails_about_a_dispute_name_amount_payment_and_order() -> None:
    opened = PaymentDisputeOpened(
        payment_id="pay_1",
        order_id="ord_1",
        dispute_id="dp_1",
        amount=Money(1999, "USD"),
        reason="<fraudulent>",
    )
    closed = PaymentDisputeClosed(
        payment_id="pay_1",
        order_id="ord_1",
        dispute_id="dp_1",
        amount=Money(1999, "USD"),
        won=False,
    )

    mails = [
        render_for_operations(event, SHOP, to="operations@example.com")
        for event in (opened, closed)
    ]

    assert [mail.subject for mail in mails] == [
        "Payment pay_1 is disputed",
        "Payment pay_1: a dispute was decided",
    ]
    for mail in mails:
        for told in ("$19.99", "pay_1", "ord_1", "dp_1"):
            assert told in mail.text
            assert told in mail.html
    assert "<fraudulent>" not in mails[0].html


def test_the_mail_about_a_failed_capture_names_amount_payment_order_and_reason() -> None:
    failed = PaymentCaptureFailed(
        payment_id="pay_1",
        order_id="ord_1",
        amount=Money(1999, "USD"),
        failure=Failure(code="card_declined", message="<Declined.>"),
    )

    mail = render_for_operations(failed, SHOP, to="operations@example.com")

    assert mail.subject == "Payment pay_1 could not be captured"
    for told in ("$19.99", "pay_1", "ord_1", "card_declined", "Do not ship"):
        assert told in mail.text
        assert told in mail.html
    assert "<Declined.>" not in mail.html


async def test_operations_get_one_mail_however_often_the_event_comes(
    notifications: Notifications, postbox: Postbox
) -> None:
    event: CloudEvent[StockLow] = happened(LOW)
    to = f"{secrets.token_hex(8)}@example.com"

    async def tell() -> None:
        await tell_operations(
            event, to=to, shop=SHOP, mails=notifications.mails, sender=notifications.sender, now=now
        )

    await tell()
    await asyncio.gather(tell(), tell())

    assert len(await postbox.of(to)) == 1
    [mail] = (await notifications.page(ListMail(limit=10, to=to))).data
    assert (mail.id, mail.reason, mail.status) == (event.id, "stock.low.v1", "SENT")
    assert (mail.order_id, mail.order_number) == ("", "")


async def test_without_an_address_no_mail_is_sent(notifications: Notifications) -> None:
    event: CloudEvent[StockLow] = happened(LOW)

    await tell_operations(
        event, to=None, shop=SHOP, mails=notifications.mails, sender=notifications.sender, now=now
    )

    assert (await notifications.page(ListMail(limit=10))).data == []
