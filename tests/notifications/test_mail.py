"""The content of mail."""

import os
import re

import msgspec
import pytest

from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import OrderSnapshot
from cartwheel.notifications.domain import Mail, Told, render
from cartwheel.payments.domain import AMOUNT_MISMATCH

from .examples import (
    SHOP,
    canceled,
    delivered,
    failed,
    paid,
    parcel,
    placed,
    refunded,
    rejected,
    return_accepted,
    shipped,
    snapshot,
    to_approve,
)


def every_mail(order: OrderSnapshot) -> list[Mail]:
    events: list[Told] = [
        paid(order),
        failed(order),
        rejected(order),
        canceled(order),
        refunded(order),
        shipped(order),
        delivered(order),
        return_accepted(order),
        placed(order),
        to_approve(order),
    ]
    return [render(event, SHOP) for event in events]


@pytest.mark.parametrize("kind", ["text", "html"])
def test_every_mail_has_name_number_lines_and_total(kind: str) -> None:
    for mail in every_mail(snapshot(email="zoe@example.com")):
        words = re.sub(r"<[^>]*>|\s+", " ", getattr(mail, kind))

        assert mail.to == "zoe@example.com"
        assert "K7QM3-XWD9A" in mail.subject
        for part in (
            "Zoë Müller",
            "K7QM3-XWD9A",
            "2 x Mug" if kind == "text" else "2 × Mug",  # noqa: RUF001 a multiplication sign is meant
            "$39.98",
            "Spoon",
            "$2.50",
            "$42.48",
        ):
            assert part in words


def test_each_event_has_its_own_text() -> None:
    order = snapshot()
    happy, sorry, closed, canceled, returned, sent, arrived, accepted, new, waiting = every_mail(
        order
    )

    assert "received your payment" in happy.text
    assert "Your card was declined." in sorry.text
    assert "2 attempts are left" in sorry.text
    assert "the order is closed" in closed.text
    assert "was canceled:\nIt was not paid in time." in canceled.text
    assert "on its way back to you" in returned.text
    assert "is on its way to you" in sent.text
    assert "was delivered" in arrived.text
    assert "You may return these pieces." in accepted.text
    assert "Thank you for your order!" in new.text
    assert "until 2026-03-01 12:00 UTC" in waiting.text
    assert len({mail.subject for mail in every_mail(order)}) == 10


def test_the_last_attempt_is_one_attempt() -> None:
    assert "1 attempt is left" in render(failed(snapshot(), attempts_left=1), SHOP).text


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_a_paid_canceled_order_promises_the_refund(kind: str) -> None:
    mail = render(canceled(snapshot(), was_paid=True), SHOP)

    assert "Your money is on its way back to you." in getattr(mail, kind)
    assert "We have received no payment" not in getattr(mail, kind)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_a_failed_payment_repeats_its_reason_about_the_charge(kind: str) -> None:
    reason = AMOUNT_MISMATCH.message
    mail = render(msgspec.structs.replace(failed(snapshot()), reason=reason), SHOP)

    assert "It will be refunded" in getattr(mail, kind)
    assert "Nothing was charged" not in getattr(mail, kind)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_an_unpaid_canceled_order_promises_no_refund(kind: str) -> None:
    """It does not say either that nothing was charged, because a payment may be running."""
    mail = render(canceled(snapshot(), was_paid=False), SHOP)

    assert "We have received no payment" in getattr(mail, kind)
    assert "If a payment is still on its way, you will get it back" in getattr(mail, kind)
    assert "You have already paid" not in getattr(mail, kind)
    assert "Nothing was charged" not in getattr(mail, kind)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_a_payment_says_if_less_than_the_total_was_due(kind: str) -> None:
    order = snapshot()
    whole = getattr(render(paid(order), SHOP), kind)
    less = getattr(render(paid(order, Money(2249, "USD")), SHOP), kind)

    assert "You have paid" not in whole
    assert "You have paid $22.49. What was called off before is not charged." in less


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_a_refund_names_its_amount(kind: str) -> None:
    mail = render(refunded(snapshot()), SHOP)

    assert "$10.50 that you paid" in getattr(mail, kind)


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_a_parcel_says_what_is_in_it_and_who_carries_it(kind: str) -> None:
    order = snapshot()
    sent = getattr(render(shipped(order), SHOP), kind)
    untracked = getattr(render(shipped(order, parcel(carrier=None, tracking=None)), SHOP), kind)

    times = "x" if kind == "text" else "×"  # noqa: RUF001 a multiplication sign is meant
    assert f"1 {times} Mug" in sent
    for told in ("Carrier: DHL", "Parcel number: 00340434"):
        assert told in sent
        assert told.partition(":")[0] not in untracked


@pytest.mark.parametrize("kind", ["text", "html"])
def test_the_mail_about_a_return_says_what_may_come_back_and_where(kind: str) -> None:
    order = snapshot()
    accepted = getattr(render(return_accepted(order), SHOP), kind)

    times = "x" if kind == "text" else "×"  # noqa: RUF001 a multiplication sign is meant
    assert f"1 {times} Spoon" in accepted
    assert "To Wharf Road 3." in accepted
    assert "None" not in getattr(render(return_accepted(order, note=None), SHOP), kind)


def test_a_reason_is_text_and_never_markup() -> None:
    mail = render(canceled(snapshot(), reason="<b>{{ order.total }}</b> & more"), SHOP)

    assert "<b>{{ order.total }}</b> & more" in mail.text
    assert "&lt;b&gt;{{ order.total }}&lt;/b&gt; &amp; more" in mail.html


@pytest.mark.parametrize(
    ("currency", "total"),
    [("USD", "$42.48"), ("EUR", "€42.48"), ("JPY", "¥4,248"), ("KWD", "KWD\u00a04.248")],
)
def test_an_amount_has_as_many_decimals_as_its_currency(currency: str, total: str) -> None:
    mail = render(paid(snapshot(currency=currency)), SHOP)

    assert f"Total: {total}" in mail.text
    assert total in mail.html


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "A & B"])
def test_a_name_is_text_and_never_markup(name: str) -> None:
    for mail in every_mail(snapshot(name=name)):
        assert name in mail.text
        assert name not in mail.html
        assert mail.html.count("<script") == mail.html.count("<img") == 0
        assert "&amp;" in mail.html or "&lt;" in mail.html or "&#34;" in mail.html


def test_a_name_is_not_a_template() -> None:
    mail = render(paid(snapshot(name="{{ order.total }}{% raw %}")), SHOP)

    assert "Hello {{ order.total }}{% raw %}," in mail.text


def test_a_template_file_is_read_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = snapshot()
    first = every_mail(order)

    def refuse(path: str) -> None:
        raise AssertionError(f"looked at {path}")

    monkeypatch.setattr(os.path, "isfile", refuse)
    monkeypatch.setattr(os.path, "getmtime", refuse)

    assert every_mail(order) == first
