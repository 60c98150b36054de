"""What was sent to whom, and why, in MongoDB, database `notifications`."""

from collections.abc import Sequence

from pymongo import ASCENDING, UpdateOne

from cartwheel.contracts.notifications import (
    ListMail,
    MailStatus,
    MailView,
    NotificationFailed,
    NotificationSent,
)
from cartwheel.kernel.errors import OutcomeUnknown
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.lane import Lane
from cartwheel.kernel.messages import Clock, CloudEvent, Event, Page
from cartwheel.kernel.store import bulk, codec, outbox
from cartwheel.kernel.store import cursor as cursors
from cartwheel.kernel.store.client import Database, Document
from cartwheel.kernel.store.outbox import Outboxes
from cartwheel.notifications.handlers import StillSending
from cartwheel.notifications.mail import Mail, Told

OUTBOXES = ("mail",)
CLAIM = 30
"""Seconds after which a mail that was being sent may be claimed by another process."""


async def _create_indexes(database: Database) -> None:
    mail = database["mail"]
    await mail.create_index([("order_id", ASCENDING), ("_id", ASCENDING)], name="of_order")
    await mail.create_index([("to", ASCENDING), ("_id", ASCENDING)], name="to")
    await outbox.prepare(mail)


MIGRATIONS = (_create_indexes,)


class MongoMails:
    """A mail bears the id of the event that it tells of: one mail per event."""

    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        self._mail = database["mail"]
        self._outboxes = outboxes
        self._claims = Lane(self._claim)
        self._endings = Lane(self._end)

    async def claim(self, event: CloudEvent[Told], mail: Mail, *, now: Clock) -> bool:
        token = new_id("claim")
        claimable = {
            "$or": [
                {"$eq": [{"$type": "$status"}, "missing"]},
                {
                    "$and": [
                        {"$eq": ["$status", MailStatus.SENDING.value]},
                        {"$lt": ["$claimed_until", "$$NOW"]},
                    ]
                },
            ]
        }
        claimed: Document = {
            "to": mail.to,
            "reason": event.type,
            "order_id": event.data.order.id,
            "order_number": event.data.order.number,
            "subject": mail.subject,
            "text": mail.text,
            "status": MailStatus.SENDING.value,
            "message_id": None,
            "failure": None,
            "sent_at": None,
            "claimed_by": token,
        }
        update: Document = {
            **{name: {"$literal": value} for name, value in claimed.items()},
            "sends": {"$add": [{"$ifNull": ["$sends", 0]}, 1]},
            "created_at": {"$ifNull": ["$created_at", now()]},
            "claimed_until": {"$add": ["$$NOW", CLAIM * 1000]},
        }
        mine = {name: {"$cond": [claimable, value, f"${name}"]} for name, value in update.items()}
        found = await self._claims.submit((event.id, mine))
        if found is None or found["claimed_by"] == token:
            return True
        if found["status"] == MailStatus.SENDING:
            raise StillSending(f"mail for {event.id}")
        return False

    async def _claim(
        self, claims: list[tuple[str, Document]]
    ) -> Sequence[Document | Exception | None]:
        """Claim mails; return None for a new one, else whose it is now, and how far it has got."""
        written = await bulk.write(
            self._mail,
            [UpdateOne({"_id": event_id}, [{"$set": mine}], True) for event_id, mine in claims],
        )
        known = [claim[0] for place, claim in enumerate(claims) if place not in written.upserted]
        if not known:
            return [None] * len(claims)
        found = self._mail.find({"_id": {"$in": known}}, {"status": 1, "claimed_by": 1})
        mails = {document["_id"]: document async for document in found}
        return [
            None
            if place in written.upserted
            else written.faults.get(place) or mails.get(event_id) or OutcomeUnknown("not seen yet")
            for place, (event_id, _) in enumerate(claims)
        ]

    async def sent(self, event: CloudEvent[Told], message_id: str, *, now: Clock) -> None:
        told = NotificationSent(order_id=event.data.order.id, reason=event.type)
        state = {"status": MailStatus.SENT, "message_id": message_id, "sent_at": now()}
        await self._ended(event, state, told, now)

    async def refused(self, event: CloudEvent[Told], failure: str, *, now: Clock) -> None:
        told = NotificationFailed(order_id=event.data.order.id, reason=event.type, failure=failure)
        await self._ended(event, {"status": MailStatus.FAILED, "failure": failure}, told, now)

    async def _ended(
        self, event: CloudEvent[Told], state: Document, told: Event, now: Clock
    ) -> None:
        published = outbox.to_publish(
            [told],
            source="notifications",
            subject=event.id,
            after=0,
            at=now(),
            cause=event.cause(),
        )
        await self._endings.submit(
            UpdateOne(
                {"_id": event.id, "status": MailStatus.SENDING},
                {"$set": state, "$push": {"outbox": {"$each": published}}},
            )
        )
        self._outboxes.filled("mail", [event.id])

    async def _end(self, endings: list[UpdateOne]) -> Sequence[Exception | None]:
        written = await bulk.write(self._mail, endings)
        return [written.faults.get(place) for place in range(len(endings))]

    async def release(self, event: CloudEvent[Told]) -> None:
        await self._mail.update_one(
            {"_id": event.id, "status": MailStatus.SENDING},
            [{"$set": {"claimed_until": {"$subtract": ["$$NOW", 1]}}}],
        )

    async def page(self, request: ListMail) -> Page[MailView]:
        query: Document = {
            name: value
            for name in ("order_id", "to")
            if (value := getattr(request, name)) is not None
        }
        return await cursors.page(
            self._mail,
            query,
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: codec.from_document(document, MailView),
        )
