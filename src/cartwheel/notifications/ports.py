"""The ports: what the handlers need from outside."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from cartwheel.contracts.notifications import ListMail, MailView
from cartwheel.kernel import Clock, CloudEvent, DeadLettered, Page
from cartwheel.kernel.errors import RetryLater
from cartwheel.notifications.domain import DeadQueue, Failures, Mail, Reported


class MailRefused(Exception):
    """The mail can never be sent. The message says why."""


class MailFailed(Exception):
    """The sender works, but failed on this mail. It may or may not have sent it."""


class StillSending(RetryLater):
    """Another replica is sending this mail, or died a moment ago while sending it."""


class FailedMail(msgspec.Struct, frozen=True, kw_only=True):
    """A stored FAILED mail, and who has it sent again.

    `reason` is the type of the event that the mail reports.
    """

    id: str
    by: str
    order_id: str
    reason: str
    mail: Mail


class Sender(Protocol):
    async def turn(self) -> None:
        """Wait until one more mail may be sent."""
        ...

    async def send(self, mail: Mail) -> str:
        """Send `mail`; return the sender's id for it.

        Raises:
            MailRefused, MailFailed
        """
        ...


class Mails(Protocol):
    async def claim(
        self, event: CloudEvent[Reported], mail: Mail, *, now: Clock
    ) -> Failures | None:
        """Store that `mail` is about to be sent; return None if it was sent or refused already.

        If the mail's event was dead-lettered, a replay of the event may claim the mail again.

        Raises:
            StillSending: another replica has claimed it and may be sending it.
        """
        ...

    async def sent(self, event: CloudEvent[Reported], message_id: str, *, now: Clock) -> None: ...

    async def refused(
        self, event: CloudEvent[Reported], mail: Mail, failure: str, *, now: Clock
    ) -> None: ...

    async def failed(self, event: CloudEvent[Reported], failures: Failures) -> None:
        """Store the failures, and release the mail so that it can be claimed again at once."""
        ...

    async def dead_lettered(
        self,
        event: CloudEvent[Reported],
        mail: Mail,
        failure: str,
        failures: Failures,
        *,
        now: Clock,
    ) -> None: ...

    async def release(self, mail_id: str) -> None:
        """Release a mail that was not sent, so that it can be claimed again at once."""
        ...

    async def claim_failed(self, mail_id: str, *, by: str, now: Clock) -> FailedMail:
        """Store that `by` is having a FAILED mail sent again. It stays FAILED until `resent`.

        Raises:
            MailNotFound, MailNotFailed
        """
        ...

    async def resent(self, failed: FailedMail, message_id: str, *, now: Clock) -> MailView: ...

    async def not_resent(self, mail_id: str, failure: str) -> None: ...

    async def page(self, request: ListMail) -> Page[MailView]: ...


class DeadQueues(Protocol):
    async def of(self, services: Sequence[str]) -> Mapping[str, DeadQueue]:
        """Return what is known of the dead-letter queue of each service."""
        ...

    async def save(self, queue: DeadQueue, /, *, expected: DeadQueue) -> bool:
        """Store `queue` with its events; return False if what is stored is not `expected`."""
        ...


class DeadLetters(Protocol):
    """The dead letters in RabbitMQ. `kernel.DeadLetters` has the details."""

    async def count(self, service: str) -> int: ...
    async def first(self, service: str) -> DeadLettered | None: ...
