"""Mails on which SES fails while it is up: counted, retried, dead-lettered, sent again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from cartwheel.contracts.notifications import (
    MailNotFailed,
    MailNotFound,
    MailNotSent,
    MailStatus,
    ResendMail,
)
from cartwheel.kernel import Clock, CloudEvent
from cartwheel.kernel.errors import DeadLetter, RetryLater, Unavailable
from cartwheel.notifications.domain import Mail, Told
from cartwheel.notifications.handlers import mail as mail_handlers
from cartwheel.notifications.handlers import telling
from cartwheel.notifications.ports import Sender, StillSending

from ..scripted_ses import FAILS, Answer, ScriptedSes
from .conftest import Notifications
from .examples import AT, SHOP, happened, now, paid, snapshot

REFUSED = Answer(400, "MessageRejected", "Address blacklisted")


def a_mail_that_fails(script: ScriptedSes, answer: Answer = FAILS) -> CloudEvent[Told]:
    event = happened(paid(snapshot()))
    script.script[event.data.order.user.email] = answer
    return event


async def fails(notifications: Notifications, event: CloudEvent[Told], *minutes: float) -> None:
    """Try `event` at these `minutes` after the start; each attempt must ask for a retry."""
    for minute in minutes:
        with pytest.raises(RetryLater):
            await notifications.tell(event, at=after(minute))


def after(minutes: float) -> Clock:
    return lambda: AT + timedelta(minutes=minutes)


async def dead_lettered(notifications: Notifications, script: ScriptedSes) -> CloudEvent[Told]:
    """Return the event of a mail that is FAILED and dead-lettered."""
    event = a_mail_that_fails(script)
    await fails(notifications, event, 0, 1, 2, 3, 4)
    with pytest.raises(DeadLetter):
        await notifications.tell(event, at=after(10))
    return event


async def refused(notifications: Notifications, script: ScriptedSes) -> CloudEvent[Told]:
    """Return the event of a mail that SES has refused."""
    event = a_mail_that_fails(script, REFUSED)
    await notifications.tell(event)
    return event


Fail = Callable[[Notifications, ScriptedSes], Awaitable[CloudEvent[Told]]]


def fixed(script: ScriptedSes) -> None:
    script.script.clear()


async def is_sent_once_fixed(
    notifications: Notifications, script: ScriptedSes, event: CloudEvent[Told]
) -> None:
    fixed(script)
    await notifications.tell(event)
    assert (await notifications.kept(event)).status is MailStatus.SENT
    assert script.taken == [event.data.order.user.email]


async def sequences(notifications: Notifications, event: CloudEvent[Told]) -> list[object]:
    document = await notifications.document(event)
    return [(told["type"], told["sequence"]) for told in document["outbox"]]


class Dying:
    """A process that dies before it asks SES, or before it stores SES's yes."""

    def __init__(self, sender: Sender, *, after: bool) -> None:
        self._sender = sender
        self._after = after

    async def turn(self) -> None:
        await self._sender.turn()

    async def send(self, mail: Mail) -> str:
        if self._after:
            await self._sender.send(mail)
        raise KeyboardInterrupt


async def test_a_failing_mail_is_retried_and_sent_when_ses_accepts_it(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = a_mail_that_fails(script)
    await fails(scripted, event, 0, 0.1, 1, 2)
    waiting = await scripted.kept(event)

    await is_sent_once_fixed(scripted, script, event)

    assert (waiting.status, waiting.failures) == (MailStatus.SENDING, 4)


async def test_a_mail_that_fails_six_times_over_ten_minutes_has_failed_and_is_dead_lettered(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = a_mail_that_fails(script)
    await fails(scripted, event, 0, 1, 2, 3, 4)

    with pytest.raises(DeadLetter, match=r"6 times since 2026-03-01 12:00:00.*InternalFailure"):
        await scripted.tell(event, at=after(10))

    kept = await scripted.kept(event)
    assert (kept.status, kept.failure, kept.failures) == (MailStatus.FAILED, "InternalFailure", 6)
    assert await sequences(scripted, event) == [("notification.failed.v1", 1)]


@pytest.mark.parametrize(
    "minutes",
    [(0, 1, 2, 3, 4, 5, 6, 7, 8, 9.9), (0, 5, 10, 20, 60)],
    ids=["ten times in less than ten minutes", "five times in an hour"],
)
async def test_a_mail_is_retried_until_both_limits_are_reached(
    scripted: Notifications, script: ScriptedSes, minutes: tuple[float, ...]
) -> None:
    event = a_mail_that_fails(script)

    await fails(scripted, event, *minutes)

    assert (await scripted.kept(event)).status is MailStatus.SENDING


async def test_an_outage_of_ses_counts_for_no_mail(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = a_mail_that_fails(script)
    script.probe = FAILS

    for minute in range(20):
        with pytest.raises(Unavailable):
            await scripted.tell(event, at=after(minute))

    kept = await scripted.kept(event)
    assert (kept.status, kept.failures) == (MailStatus.SENDING, 0)


async def test_a_dead_lettered_mail_is_tried_once_more_when_its_event_is_replayed(
    scripted: Notifications, script: ScriptedSes
) -> None:
    """The same holds if the event is redelivered after a crash before it was dead-lettered."""
    event = await dead_lettered(scripted, script)

    with pytest.raises(DeadLetter):
        await scripted.tell(event, at=after(11))
    still = await scripted.kept(event)

    await is_sent_once_fixed(scripted, script, event)

    assert (still.status, still.failures) == (MailStatus.FAILED, 7)
    assert await sequences(scripted, event) == [
        ("notification.failed.v1", 1),
        ("notification.failed.v1", 2),
        ("notification.sent.v1", 3),
    ]


async def test_a_replay_that_ses_refuses_is_final(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = await dead_lettered(scripted, script)
    script.script[event.data.order.user.email] = REFUSED

    await scripted.tell(event)
    fixed(script)
    await scripted.tell(event)

    kept = await scripted.kept(event)
    assert (kept.status, kept.failure) == (MailStatus.FAILED, "MessageRejected")
    assert script.taken == []


@pytest.mark.parametrize("fail", [refused, dead_lettered])
async def test_a_failed_mail_is_sent_again_unchanged_and_the_requester_is_recorded(
    scripted: Notifications, script: ScriptedSes, fail: Fail
) -> None:
    event = await fail(scripted, script)
    fixed(script)

    answered = await scripted.resend(event, by="alice@laptop")

    kept = await scripted.kept(event)
    assert answered == kept
    assert (kept.status, kept.failure) == (MailStatus.SENT, None)
    assert [(resend.by, resend.at) for resend in kept.resends] == [("alice@laptop", AT)]
    assert script.taken == [event.data.order.user.email]
    mail = telling.render(event.data, SHOP)
    [body] = script.bodies
    assert body == {
        "Text": {"Data": mail.text, "Charset": "UTF-8"},
        "Html": {"Data": mail.html, "Charset": "UTF-8"},
    }
    assert await sequences(scripted, event) == [
        ("notification.failed.v1", 1),
        ("notification.sent.v1", 2),
    ]


async def test_the_event_of_a_resent_mail_sends_nothing(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = await dead_lettered(scripted, script)
    fixed(script)
    await scripted.resend(event)

    await scripted.tell(event)

    assert script.taken == [event.data.order.user.email]


@pytest.mark.parametrize("answer", [FAILS, REFUSED], ids=["fails", "is refused"])
async def test_a_mail_that_fails_again_stays_failed_with_the_new_reason(
    scripted: Notifications, script: ScriptedSes, answer: Answer
) -> None:
    event = await refused(scripted, script)
    script.script[event.data.order.user.email] = answer

    for _ in range(2):
        with pytest.raises(MailNotSent, match=answer.code):
            await scripted.resend(event)

    kept = await scripted.kept(event)
    assert (kept.status, kept.failure, len(kept.resends)) == (MailStatus.FAILED, answer.code, 2)
    assert await sequences(scripted, event) == [("notification.failed.v1", 1)]


async def test_an_outage_leaves_the_mail_failed_and_it_can_be_resent_at_once(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = await refused(scripted, script)
    script.script[event.data.order.user.email] = Answer(403, "SignatureDoesNotMatch")
    with pytest.raises(Unavailable):
        await scripted.resend(event)
    waiting = await scripted.kept(event)
    fixed(script)

    await scripted.resend(event)

    assert (waiting.status, waiting.failure) == (MailStatus.FAILED, "MessageRejected")
    assert (await scripted.kept(event)).status is MailStatus.SENT


@pytest.mark.parametrize("told_yes", [False, True], ids=["before SES", "after SES's yes"])
async def test_after_a_crash_during_a_resend_the_mail_is_failed_and_can_be_resent(
    scripted: Notifications, script: ScriptedSes, told_yes: bool
) -> None:
    event = await refused(scripted, script)
    fixed(script)
    with pytest.raises(KeyboardInterrupt):
        await scripted._replace(sender=Dying(scripted.sender, after=told_yes)).resend(event)
    with pytest.raises(MailNotFailed, match="being sent"):
        await scripted.resend(event)
    waiting = await scripted.kept(event)

    await scripted.a_minute_passes(event)
    await scripted.resend(event)

    assert waiting.status is MailStatus.FAILED
    kept = await scripted.kept(event)
    assert (kept.status, kept.sends, len(kept.resends)) == (MailStatus.SENT, 3, 2)
    assert len(script.taken) == 1 + told_yes


async def test_resends_at_the_same_moment_send_one_mail(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = await refused(scripted, script)
    fixed(script)

    results = await asyncio.gather(
        *(scripted.resend(event) for _ in range(8)), return_exceptions=True
    )

    assert sum(isinstance(result, MailNotFailed) for result in results) == 7
    assert script.taken == [event.data.order.user.email]


async def test_a_replay_during_a_resend_waits_for_its_outcome(
    scripted: Notifications, script: ScriptedSes
) -> None:
    """If it were done at once, the dead letter would be gone although the resend may fail."""
    event = await dead_lettered(scripted, script)
    await scripted.mails.claim_failed(event.id, by="alice@laptop", now=now)

    with pytest.raises(StillSending):
        await scripted.tell(event)


async def test_only_a_failed_mail_is_sent_again(
    scripted: Notifications, script: ScriptedSes
) -> None:
    sent, sending = happened(paid(snapshot())), a_mail_that_fails(script)
    await scripted.tell(sent)
    await fails(scripted, sending, 0)

    for event, status in ((sent, "SENT"), (sending, "SENDING")):
        with pytest.raises(MailNotFailed, match=status):
            await scripted.resend(event)
    with pytest.raises(MailNotFound, match="evt_unknown"):
        await mail_handlers.resend_mail(
            ResendMail(mail_id="evt_unknown", by="alice"),
            mails=scripted.mails,
            sender=scripted.sender,
            now=now,
        )

    assert script.taken == [sent.data.order.user.email]
    assert (await scripted.kept(sent)).resends == ()


async def test_a_mail_that_failed_before_its_html_was_kept_is_sent_again_as_text(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = await refused(scripted, script)
    newer = {"html": 1, "sequence": 1, "dead_lettered": 1}
    await scripted.database["mail"].update_one({"_id": event.id}, {"$unset": newer})
    fixed(script)

    await scripted.resend(event)

    text = telling.render(event.data, SHOP).text
    assert script.bodies == [{"Text": {"Data": text, "Charset": "UTF-8"}}]
    assert (await sequences(scripted, event))[-1] == ("notification.sent.v1", 2)


async def test_a_name_is_never_interpreted_as_a_database_operator(
    scripted: Notifications, script: ScriptedSes
) -> None:
    event = await refused(scripted, script)
    fixed(script)

    await scripted.resend(event, by="$to")

    assert [resend.by for resend in (await scripted.kept(event)).resends] == ["$to"]
