"""What notifications answers and publishes: which mail went to whom, and why."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

import msgspec

from cartwheel.kernel.messages import Event, Page, Request


class MailStatus(StrEnum):
    SENDING = "SENDING"
    SENT = "SENT"
    FAILED = "FAILED"


class MailView(msgspec.Struct, frozen=True, kw_only=True):
    """One mail: `reason` is the event it tells of.

    `sends` above 1 means that the process died between SES's yes and our note of it, or that SES
    could not be reached: the customer may have got it more than once.
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


class ListMail(Request[Page[MailView]], frozen=True, kw_only=True):
    """Newest first."""

    type: ClassVar[str] = "list_mail"
    service: ClassVar[str] = "notifications"
    read: ClassVar[bool] = True

    limit: int
    cursor: str | None = None
    order_id: str | None = None
    to: str | None = None


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
