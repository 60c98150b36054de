"""The requests and events of notifications: mail, its recipients and its reasons."""

from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.kernel import Event, Page, Request, event, request
from cartwheel.kernel.errors import BadCursor, Conflict, Forbidden, NotFound


class MailNotFound(NotFound):
    code = "mail_not_found"


class MailNotFailed(Conflict):
    """Only a FAILED mail that is not being sent at the moment can be sent again."""

    code = "mail_not_failed"


class MailNotSent(Conflict):
    """SES did not accept the mail this time either. It stays FAILED."""

    code = "mail_not_sent"


class MailStatus(StrEnum):
    SENDING = "SENDING"
    SENT = "SENT"
    FAILED = "FAILED"


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """A request by somebody (`by`, such as `alice@laptop`) to send a FAILED mail again."""

    by: str
    at: datetime


class MailView(msgspec.Struct, frozen=True, kw_only=True):
    """One mail. `reason` is the event that it reports. Mail to operations is about no order, and
    both its fields about one are empty.

    `sends` counts the calls to SES. It is above 1 if the process died before it stored that SES
    accepted the mail, if SES was down or failed, or if somebody had the mail sent again
    (`resends`). The customer may then have received it more than once. `failures` counts SES's
    failures on this mail while SES itself was up.
    """

    id: str
    to: str
    reason: str
    order_id: str
    order_number: str
    subject: str
    text: str
    status: MailStatus
    sends: int
    message_id: str | None
    failure: str | None
    created_at: datetime
    sent_at: datetime | None
    failures: int = 0
    resends: tuple[Resend, ...] = ()


@request("list_mail", service="notifications", read=True, refusals=(Forbidden, BadCursor))
class ListMail(Request[Page[MailView]], frozen=True, kw_only=True):
    """Newest first. For admins."""

    limit: int
    cursor: str | None = None
    order_id: str | None = None
    order_number: str | None = None
    to: str | None = None
    actor: Actor | None = None


@request(
    "resend_mail",
    service="notifications",
    coalesced=False,
    refusals=(Forbidden, MailNotFound, MailNotFailed, MailNotSent),
)
class ResendMail(Request[MailView], frozen=True, kw_only=True):
    """Send a FAILED mail again; answered when SES has accepted it. For admins.

    Raises:
        MailNotFound, MailNotFailed, MailNotSent
    """

    mail_id: str
    by: str
    actor: Actor | None = None


@event("notification.sent.v1")
class NotificationSent(Event, frozen=True, kw_only=True):
    order_id: str
    reason: str


@event("notification.failed.v1")
class NotificationFailed(Event, frozen=True, kw_only=True):
    order_id: str
    reason: str
    failure: str


@event("dead_letters.found.v1", consumers=("notifications",))
class DeadLettersFound(Event, frozen=True, kw_only=True):
    """There are `count` dead letters for `service`, where there were none before.

    The rest is about the first of them; `since` is the time of its dead-lettering, if known.
    """

    service: str
    count: int
    first_id: str
    first_type: str | None
    reason: str
    since: datetime | None


EVENTS: tuple[type[Event], ...] = (NotificationSent, NotificationFailed, DeadLettersFound)
