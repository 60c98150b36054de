"""What notifications answers and publishes: which mail went to whom, and why."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

import msgspec

from cartwheel.kernel.errors import Conflict, NotFound
from cartwheel.kernel.messages import Event, Page, Request


class MailNotFound(NotFound):
    code = "mail_not_found"


class MailNotFailed(Conflict):
    """Only a FAILED mail that nobody is sending at this moment is sent again."""

    code = "mail_not_failed"


class MailNotSent(Conflict):
    """SES did not take it this time either: it stays FAILED."""

    code = "mail_not_sent"


class MailStatus(StrEnum):
    SENDING = "SENDING"
    SENT = "SENT"
    FAILED = "FAILED"


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody (`by`, such as `alice@laptop`) asked for a FAILED mail to be sent again."""

    by: str
    at: datetime


class MailView(msgspec.Struct, frozen=True, kw_only=True):
    """One mail: `reason` is the event it tells of.

    `sends` counts how often SES was asked. Above 1, the process died between SES's yes and our note
    of it, SES could not be reached or failed, or somebody had the mail sent again (`resends`): the
    customer may have got it more than once. `failures` are those of SES on this very mail.
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


class ListMail(Request[Page[MailView]], frozen=True, kw_only=True):
    """Newest first."""

    type: ClassVar[str] = "list_mail"
    service: ClassVar[str] = "notifications"
    read: ClassVar[bool] = True

    limit: int
    cursor: str | None = None
    order_id: str | None = None
    order_number: str | None = None
    to: str | None = None


class ResendMail(Request[MailView], frozen=True, kw_only=True):
    """Sends a FAILED mail again; answered when SES has taken it.

    Raises:
        MailNotFound, MailNotFailed, MailNotSent
    """

    type: ClassVar[str] = "resend_mail"
    service: ClassVar[str] = "notifications"
    coalesced: ClassVar[bool] = False

    mail_id: str
    by: str


class NotificationSent(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "notification.sent.v1"
    order_id: str
    reason: str


class NotificationFailed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "notification.failed.v1"
    order_id: str
    reason: str
    failure: str


EVENTS: tuple[type[Event], ...] = (NotificationSent, NotificationFailed)
