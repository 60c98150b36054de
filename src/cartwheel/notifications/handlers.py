"""What notifications does on each message."""

from typing import Protocol

from cartwheel.contracts.notifications import ListMail, MailView
from cartwheel.kernel.messages import Clock, CloudEvent, Page
from cartwheel.notifications.mail import Mail, Told, render


class MailRefused(Exception):
    """The mail will never be sent; the message says why."""


class StillSending(Exception):
    """Another copy is sending this very mail, or died doing so a moment ago."""


class Sender(Protocol):
    async def send(self, mail: Mail) -> str:
        """Return the sender's id for the mail; raises MailRefused."""
        ...


class Mails(Protocol):
    async def claim(self, event: CloudEvent[Told], mail: Mail, *, now: Clock) -> bool:
        """Note that `mail` is about to be sent; return False if it has been sent or refused.

        Raises:
            StillSending: somebody else has claimed it and may be at work on it.
        """
        ...

    async def sent(self, event: CloudEvent[Told], message_id: str, *, now: Clock) -> None: ...

    async def refused(self, event: CloudEvent[Told], failure: str, *, now: Clock) -> None: ...

    async def release(self, event: CloudEvent[Told]) -> None:
        """Let the mail be claimed again at once: it was not sent."""
        ...

    async def page(self, request: ListMail) -> Page[MailView]: ...


async def tell_customer(
    event: CloudEvent[Told], *, mails: Mails, sender: Sender, now: Clock
) -> None:
    """Send the mail for `event`, once; a second time only if the process died in between."""
    mail = render(event.data)
    if not await mails.claim(event, mail, now=now):
        return
    try:
        message_id = await sender.send(mail)
    except MailRefused as refused:
        await mails.refused(event, str(refused), now=now)
    except Exception:
        await mails.release(event)
        raise
    else:
        await mails.sent(event, message_id, now=now)


async def list_mail(request: ListMail, *, mails: Mails) -> Page[MailView]:
    return await mails.page(request)
