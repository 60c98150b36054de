"""One mail per event, through the emulator's SES: repeats, races, outages, refusals."""

import asyncio
import secrets
from collections.abc import Generator

import msgspec
import pytest

from cartwheel.contracts.notifications import ListMail, MailStatus
from cartwheel.contracts.order_number import new_number
from cartwheel.kernel import Gather
from cartwheel.kernel.errors import Unavailable
from cartwheel.kernel.mongodb import BadCursor, Outboxes
from cartwheel.local.up import System
from cartwheel.notifications.domain import Mail, render
from cartwheel.notifications.mongo import MongoMails
from cartwheel.notifications.ports import Sender, StillSending
from cartwheel.notifications.ses import open_ses

from ..profiling import documents_examined
from ..scripted_ses import Answer, ScriptedSes
from .conftest import Notifications, Postbox
from .examples import (
    AT,
    SHOP,
    canceled,
    failed,
    happened,
    now,
    paid,
    refunded,
    rejected,
    snapshot,
)

REFUSED = Answer(400, "MessageRejected", "Address blacklisted")


async def outbox(notifications: Notifications, event_id: str) -> list[str]:
    found = await notifications.database["mail"].find_one({"_id": event_id})
    return [] if found is None else [event["type"] for event in found.get("outbox", [])]


class Dying:
    """A process that dies before it stores SES's yes."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def turn(self) -> None:
        await self._sender.turn()

    async def send(self, mail: Mail) -> str:
        await self._sender.send(mail)
        raise KeyboardInterrupt


async def test_the_mail_goes_out_as_it_was_rendered(
    notifications: Notifications, postbox: Postbox, system: System
) -> None:
    event = happened(paid(snapshot()))

    await notifications.tell(event)

    mail = render(event.data, SHOP)
    [sent] = await postbox.of(mail.to)
    assert sent["Source"] == system.environment["SES_SENDER"]
    assert (sent["Subject"], sent["BodyText"], sent["BodyHtml"]) == (
        mail.subject,
        mail.text,
        mail.html,
    )


async def test_a_sent_mail_is_stored_with_recipient_and_reason(
    notifications: Notifications, postbox: Postbox
) -> None:
    event = happened(paid(snapshot()))

    await notifications.tell(event)

    kept = await notifications.kept(event)
    [sent] = await postbox.of(event.data.order.user.email)
    assert (kept.id, kept.reason, kept.to) == (
        event.id,
        "order.paid.v1",
        event.data.order.user.email,
    )
    assert (kept.order_id, kept.order_number) == (event.data.order.id, "K7QM3-XWD9A")
    assert (kept.status, kept.sends, kept.failure) == (MailStatus.SENT, 1, None)
    assert (kept.created_at, kept.sent_at) == (AT, AT)
    assert kept.message_id
    assert kept.message_id in sent["MessageId"]
    assert kept.text == render(event.data, SHOP).text


async def test_a_canceled_and_refunded_order_is_two_mails_each_sent_once(
    notifications: Notifications, postbox: Postbox
) -> None:
    order = snapshot()
    events = [happened(canceled(order, was_paid=True)), happened(refunded(order))]

    for event in events * 3:
        await notifications.tell(event)

    sent = await postbox.of(order.user.email)
    assert sorted(mail["Subject"] for mail in sent) == [
        "Order K7QM3-XWD9A: canceled",
        "Order K7QM3-XWD9A: your money is on its way back",
    ]
    reasons = [
        (mail.reason, mail.sends)
        for mail in (await notifications.page(ListMail(limit=10, order_id=order.id))).data
    ]
    assert sorted(reasons) == [("order.canceled.v1", 1), ("order.refunded.v1", 1)]


async def test_a_sent_mail_and_its_event_are_one_write(notifications: Notifications) -> None:
    event = happened(failed(snapshot()))

    await notifications.tell(event)

    document = await notifications.document(event)
    [told] = document["outbox"]
    assert (told["type"], told["subject"], told["causation_id"]) == (
        "notification.sent.v1",
        event.id,
        event.id,
    )
    assert list(notifications.outboxes.take()) == [("mail", event.id)]


async def test_the_same_event_again_sends_no_second_mail(
    notifications: Notifications, postbox: Postbox
) -> None:
    event = happened(paid(snapshot()))

    for _ in range(5):
        await notifications.tell(event)

    assert len(await postbox.of(event.data.order.user.email)) == 1
    assert (await notifications.kept(event)).sends == 1
    assert await outbox(notifications, event.id) == ["notification.sent.v1"]


async def test_two_events_of_one_order_are_two_mails(
    notifications: Notifications, postbox: Postbox
) -> None:
    order = snapshot()

    await notifications.tell(happened(failed(order)))
    await notifications.tell(happened(paid(order)))

    assert len(await postbox.of(order.user.email)) == 2


async def test_one_event_at_many_processes_at_once_sends_one_mail(
    notifications: Notifications, postbox: Postbox
) -> None:
    event = happened(paid(snapshot()))
    processes = [
        notifications._replace(mails=MongoMails(notifications.database, Outboxes()))
        for _ in range(4)
    ]

    results = await asyncio.gather(
        *(processes[number % 4].tell(event) for number in range(20)), return_exceptions=True
    )

    assert {type(result) for result in results} <= {type(None), StillSending}
    assert len(await postbox.of(event.data.order.user.email)) == 1
    assert (await notifications.kept(event)).sends == 1


async def test_a_claimed_mail_is_not_sent_by_another_process(
    notifications: Notifications, postbox: Postbox
) -> None:
    event = happened(paid(snapshot()))
    mail = render(event.data, SHOP)
    assert await notifications.mails.claim(event, mail, now=lambda: AT)

    with pytest.raises(StillSending):
        await notifications.tell(event)

    assert await postbox.of(mail.to) == []


async def test_a_second_mail_after_a_crash_is_counted(
    notifications: Notifications, postbox: Postbox
) -> None:
    event = happened(paid(snapshot()))
    with pytest.raises(KeyboardInterrupt):
        await notifications._replace(sender=Dying(notifications.sender)).tell(event)
    with pytest.raises(StillSending):
        await notifications.tell(event)

    await notifications.a_minute_passes(event)
    await notifications.tell(event)

    kept = await notifications.kept(event)
    assert (kept.status, kept.sends) == (MailStatus.SENT, 2)
    assert len(await postbox.of(event.data.order.user.email)) == 2
    assert await outbox(notifications, event.id) == ["notification.sent.v1"]


@pytest.mark.usefixtures("aws")
async def test_an_outage_of_ses_delays_the_mail_until_ses_is_back(
    notifications: Notifications,
    postbox: Postbox,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = happened(paid(snapshot()))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
    async with open_ses(sender="shop@example.com") as down:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await notifications._replace(sender=down).tell(event)
        with pytest.raises(Unavailable, match="cannot be reached"):
            await down.probe()
    waiting = await notifications.kept(event)

    await notifications.tell(event)

    assert (waiting.status, waiting.failure) == (MailStatus.SENDING, None)
    assert (await notifications.kept(event)).status is MailStatus.SENT
    assert len(await postbox.of(event.data.order.user.email)) == 1


@pytest.mark.usefixtures("aws")
async def test_a_sender_that_ses_refuses_is_an_outage_and_loses_no_mail(
    notifications: Notifications, postbox: Postbox
) -> None:
    event = happened(rejected(snapshot()))
    async with open_ses(sender="nobody@unverified.example.com") as unverified:
        with pytest.raises(Unavailable, match="sender"):
            await notifications._replace(sender=unverified).tell(event)

    await notifications.tell(event)

    assert (await notifications.kept(event)).status is MailStatus.SENT
    assert len(await postbox.of(event.data.order.user.email)) == 1


async def test_a_refused_mail_is_failed_with_the_reason_and_is_not_retried(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = happened(rejected(snapshot()))
    script.script[event.data.order.user.email] = REFUSED

    await scripted.tell(event)
    await scripted.tell(event)

    kept = await scripted.kept(event)
    assert (kept.status, kept.failure) == (MailStatus.FAILED, "MessageRejected")
    assert (kept.sent_at, kept.message_id, kept.sends) == (None, None, 1)
    assert await outbox(scripted, event.id) == ["notification.failed.v1"]
    assert script.asked[event.data.order.user.email] == 1


@pytest.mark.parametrize(
    "email", ["a\r\nBcc: all@example.com", "a<b@x>y", "x@example..com", "\x1b"]
)
async def test_an_invalid_address_fails_only_its_own_mail(
    notifications: Notifications, postbox: Postbox, email: str
) -> None:
    """Such orders predate the address check. The emulator fails with 500 on some of them."""
    odd, other = happened(paid(snapshot(email=email))), happened(paid(snapshot()))

    await notifications.tell(odd)
    await notifications.tell(other)

    kept = await notifications.kept(odd)
    assert (kept.status, kept.sends) == (MailStatus.FAILED, 1)
    assert kept.failure
    assert kept.failure.startswith("not an address: ")
    assert kept.failure.isprintable()
    assert len(await postbox.of(other.data.order.user.email)) == 1


async def test_mail_to_a_non_ascii_domain_uses_punycode(
    notifications: Notifications, postbox: Postbox
) -> None:
    local = secrets.token_hex(8)
    event = happened(paid(snapshot(email=f"{local}@bücher.example")))

    await notifications.tell(event)

    assert len(await postbox.of(f"{local}@xn--bcher-kva.example")) == 1


@pytest.mark.usefixtures("aws")
async def test_ses_answers_a_probe() -> None:
    async with open_ses(sender="shop@example.com") as ses:
        await ses.probe()


async def test_mail_is_listed_newest_first_page_by_page_and_by_address(
    notifications: Notifications,
) -> None:
    order = snapshot()
    events = [happened(failed(order)), happened(failed(order)), happened(paid(order))]
    for event in events:
        await notifications.tell(event)
    await notifications.tell(happened(paid(snapshot())))

    first = await notifications.page(ListMail(limit=2, to=order.user.email))
    second = await notifications.page(
        ListMail(limit=2, to=order.user.email, cursor=first.next_cursor)
    )

    assert [mail.id for mail in first.data + second.data] == [event.id for event in events[::-1]]
    assert second.next_cursor is None
    assert len((await notifications.page(ListMail(limit=10))).data) == 4


async def test_mail_is_listed_by_order_number_and_no_other_mail_is_read(
    notifications: Notifications,
) -> None:
    asked, *others = (
        happened(paid(msgspec.structs.replace(snapshot(), number=new_number()))) for _ in range(5)
    )
    for event in (asked, *others):
        await notifications.tell(event)

    number = asked.data.order.number
    async with documents_examined(notifications.database, "mail") as examined:
        page = await notifications.page(ListMail(limit=10, order_number=number))

    assert [mail.id for mail in page.data] == [asked.id]
    assert examined == [1]


async def test_an_invalid_cursor_is_refused(notifications: Notifications) -> None:
    with pytest.raises(BadCursor):
        await notifications.page(ListMail(limit=2, cursor="no cursor"))


async def test_a_name_cannot_contain_database_operators(
    notifications: Notifications,
) -> None:
    """Names that look like MongoDB's operators are stored unchanged."""
    event = happened(paid(snapshot(name="$$NOW", email="$to@example.com")))

    await notifications.tell(event)

    document = await notifications.document(event)
    assert document["to"] == "$to@example.com"
    assert "Hello $$NOW," in document["text"]


FOR_EVER = 3600.0


@pytest.fixture
def stop() -> Generator[asyncio.Event]:
    """The stop event, set at the end so that gathered work is flushed."""
    event = asyncio.Event()
    yield event
    event.set()


def gathering(notifications: Notifications, stop: asyncio.Event) -> Notifications:
    """Return a process whose claims are gathered until it stops."""
    mails = MongoMails(
        notifications.database, notifications.outboxes, claims=Gather(FOR_EVER, stop)
    )
    return notifications._replace(mails=mails)


async def test_claims_are_gathered_and_flushed_when_the_process_stops(
    notifications: Notifications, postbox: Postbox, stop: asyncio.Event
) -> None:
    """If the process dies instead, nothing is claimed, so the events are not delayed."""
    events = [happened(paid(snapshot())) for _ in range(3)]
    process = gathering(notifications, stop)

    telling = [asyncio.create_task(process.tell(event)) for event in events]
    await asyncio.sleep(0.3)
    claimed_before = await notifications.database["mail"].count_documents({})
    stop.set()
    await asyncio.gather(*telling)

    assert claimed_before == 0
    for event in events:
        assert (await notifications.kept(event)).status is MailStatus.SENT
        assert len(await postbox.of(event.data.order.user.email)) == 1


async def test_results_are_stored_even_while_claims_are_gathered(
    notifications: Notifications, stop: asyncio.Event
) -> None:
    """A process that dies between the two sends the mail twice."""
    event = happened(paid(snapshot()))
    await notifications.mails.claim(event, render(event.data, SHOP), now=now)

    async with asyncio.timeout(10):
        await gathering(notifications, stop).mails.sent(event, "message-1", now=now)

    assert (await notifications.kept(event)).status is MailStatus.SENT
