"""What the handlers need of the outside."""

from typing import Protocol

import msgspec

from cartwheel.contracts.notifications import ListMail, MailView
from cartwheel.kernel import Clock, CloudEvent, Page
from cartwheel.kernel.errors import RetryLater
from cartwheel.notifications.domain import Failures, Mail, Told


class MailRefused(Exception):
    """The mail will never be sent; the message says why."""


class MailFailed(Exception):
    """The sender failed on this mail, and is well itself; it may or may not have been sent."""


class StillSending(RetryLater):
    """Another copy is sending this very mail, or died doing so a moment ago."""


class FailedMail(msgspec.Struct, frozen=True, kw_only=True):
    """A FAILED mail as it is kept, and who has it sent again; `reason` is the type of the event it
    tells of."""

    id: str
    by: str
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
