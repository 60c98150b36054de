"""What notifications does on each message."""

from typing import Protocol

import msgspec

from cartwheel.contracts.notifications import ListMail, MailNotSent, MailView, ResendMail
from cartwheel.kernel.errors import DeadLetter, RetryLater
from cartwheel.kernel.messages import Clock, CloudEvent, Page
from cartwheel.notifications.mail import Failures, Mail, Told, render


class MailRefused(Exception):
    """The mail will never be sent; the message says why."""


class MailFailed(Exception):
    """The sender failed on this mail, and is well itself; it may or may not have been sent."""


class StillSending(RetryLater):
    """Another copy is sending this very mail, or died doing so a moment ago."""


class FailedMail(msgspec.Struct, frozen=True, kw_only=True):
    """A FAILED mail as it is kept; `reason` is the type of the event it tells of."""

    id: str
    order_id: str
    reason: str
    mail: Mail


class Sender(Protocol):
    async def send(self, mail: Mail) -> str:
        """Return the sender's id for the mail; raises MailRefused or MailFailed."""
        ...


class Mails(Protocol):
    async def claim(self, event: CloudEvent[Told], mail: Mail, *, now: Clock) -> Failures | None:
        """Note that `mail` is about to be sent; return None if it has been sent or refused.

        A mail that was given up may be claimed by its event, which somebody has replayed.

        Raises:
            StillSending: somebody else has claimed it and may be at work on it.
        """
        ...

    async def sent(self, event: CloudEvent[Told], message_id: str, *, now: Clock) -> None: ...

    async def refused(
        self, event: CloudEvent[Told], mail: Mail, failure: str, *, now: Clock
    ) -> None: ...

    async def failed(self, event: CloudEvent[Told], failures: Failures) -> None:
        """Note the failures, and let the mail be claimed again at once."""
        ...

    async def given_up(
        self, event: CloudEvent[Told], mail: Mail, failure: str, failures: Failures, *, now: Clock
    ) -> None: ...

    async def release(self, mail_id: str) -> None:
        """Let the mail be claimed again at once: it was not sent."""
        ...

    async def claim_failed(self, mail_id: str, *, by: str, now: Clock) -> FailedMail:
        """Note that `by` has a FAILED mail sent again. It stays FAILED until it is `resent`.

        Raises:
            MailNotFound, MailNotFailed
        """
        ...

    async def resent(self, failed: FailedMail, message_id: str, *, now: Clock) -> MailView: ...

    async def not_resent(self, mail_id: str, failure: str) -> None: ...

    async def page(self, request: ListMail) -> Page[MailView]: ...


async def tell_customer(
    event: CloudEvent[Told], *, mails: Mails, sender: Sender, now: Clock
) -> None:
    """Send the mail for `event`, once; a second time only if the process died in between.

    Raises:
        RetryLater: the sender failed on this mail, not for the last time.
        DeadLetter: it has failed often enough, and is FAILED.
    """
    mail = render(event.data)
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
            # The note comes first. If the process dies before the event is dead-lettered, the event
            # comes again, and the mail is tried once more.
            await mails.given_up(event, mail, str(failed), failures, now=now)
            raise DeadLetter(story) from failed
        await mails.failed(event, failures)
        raise RetryLater(story) from failed
    except Exception:
        await mails.release(event.id)
        raise
    else:
        await mails.sent(event, message_id, now=now)


async def resend_mail(request: ResendMail, *, mails: Mails, sender: Sender, now: Clock) -> MailView:
    """Send a FAILED mail again. Wherever the process dies, the mail is FAILED still, or SENT.

    Raises:
        MailNotFound, MailNotFailed, MailNotSent
    """
    failed = await mails.claim_failed(request.mail_id, by=request.by, now=now)
    try:
        message_id = await sender.send(failed.mail)
    except (MailRefused, MailFailed) as error:
        await mails.not_resent(failed.id, str(error))
        raise MailNotSent(f"SES did not take it: {error}") from error
    except Exception:
        await mails.release(failed.id)
        raise
    return await mails.resent(failed, message_id, now=now)


async def list_mail(request: ListMail, *, mails: Mails) -> Page[MailView]:
    return await mails.page(request)
