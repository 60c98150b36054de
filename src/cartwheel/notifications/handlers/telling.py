"""Sending the mail that an event calls for."""

from cartwheel.kernel import Clock, CloudEvent, utc_now
from cartwheel.kernel.errors import DeadLetter, RetryLater
from cartwheel.notifications.domain import (
    Mail,
    Noticed,
    Reported,
    Shop,
    Told,
    render,
    render_for_operations,
)
from cartwheel.notifications.ports import MailFailed, MailRefused, Mails, Sender


async def tell_customer(
    event: CloudEvent[Told], *, shop: Shop, mails: Mails, sender: Sender, now: Clock = utc_now
) -> None:
    """Send the mail for `event` once. It is sent again only if the process dies while sending.

    Raises:
        RetryLater: the sender failed on this mail, which will be tried again.
        DeadLetter: the sender has failed often enough, and the mail is FAILED.
    """
    await _send(event, render(event.data, shop), mails, sender, now)


async def tell_operations(
    event: CloudEvent[Noticed],
    *,
    to: str | None,
    shop: Shop,
    mails: Mails,
    sender: Sender,
    now: Clock = utc_now,
) -> None:
    """Send the mail for `event` once, as `tell_customer` does; without an address, send none.

    Raises:
        RetryLater, DeadLetter: as `tell_customer`.
    """
    if to is not None:
        await _send(event, render_for_operations(event.data, shop, to=to), mails, sender, now)


async def _send(
    event: CloudEvent[Reported], mail: Mail, mails: Mails, sender: Sender, now: Clock
) -> None:
    # A turn comes before the claim: claims expire, however many mails wait.
    await sender.turn()
    failures = await mails.claim(event, mail, now=now)
    if failures is None:
        return
    try:
        message_id = await sender.send(mail)
    except MailRefused as refused:
        await mails.refused(event, mail, str(refused), now=now)
    except MailFailed as failed:
        failures = failures.and_one(at=now())
        story = f"SES failed on this mail {failures.count} times since {failures.since}: {failed}"
        if failures.are_enough(at=now()):
            # Store FAILED first. If the process dies before the event is dead-lettered, the event
            # is redelivered, and the mail is tried once more.
            await mails.dead_lettered(event, mail, str(failed), failures, now=now)
            raise DeadLetter(story) from failed
        await mails.failed(event, failures)
        raise RetryLater(story) from failed
    except Exception:
        await mails.release(event.id)
        raise
    else:
        await mails.sent(event, message_id, now=now)
