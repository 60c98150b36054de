"""Mail to those who run the shop."""

import asyncio
import secrets

from cartwheel.contracts.notifications import ListMail
from cartwheel.contracts.products import StockLow
from cartwheel.kernel import CloudEvent
from cartwheel.notifications.domain import render_for_operations
from cartwheel.notifications.handlers.telling import tell_operations

from .conftest import Notifications, Postbox
from .examples import happened, now

LOW = StockLow(product_id="prd_1", sku="TOP-1", name="Tin <robot>", available=1, low_stock_at=5)


def test_the_mail_names_product_pieces_and_threshold() -> None:
    mail = render_for_operations(LOW, to="operations@example.com")

    assert mail.subject == "Low stock: Tin <robot>"
    for told in ("Tin <robot> is running out", "1 piece is available", "at 5", "prd_1", "TOP-1"):
        assert told in mail.text
    assert "Tin &lt;robot&gt;" in mail.html
    assert "<robot>" not in mail.html


async def test_operations_get_one_mail_however_often_the_event_comes(
    notifications: Notifications, postbox: Postbox
) -> None:
    event: CloudEvent[StockLow] = happened(LOW)
    to = f"{secrets.token_hex(8)}@example.com"

    async def tell() -> None:
        await tell_operations(
            event, to=to, mails=notifications.mails, sender=notifications.sender, now=now
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
        event, to=None, mails=notifications.mails, sender=notifications.sender, now=now
    )

    assert (await notifications.page(ListMail(limit=10))).data == []
