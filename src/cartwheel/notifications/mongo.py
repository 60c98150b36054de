"""Mail in MongoDB, database `notifications`: what was sent, to whom, and why.

The collection `dead_letters` has a document for each queue of dead letters that there were.
"""

from collections.abc import Mapping, Sequence

from pymongo import ASCENDING, UpdateOne
from pymongo.errors import DuplicateKeyError

from cartwheel.contracts.notifications import (
    ListMail,
    MailNotFailed,
    MailNotFound,
    MailStatus,
    MailView,
    NotificationFailed,
    NotificationSent,
)
from cartwheel.kernel import (
    Batcher,
    Change,
    Clock,
    CloudEvent,
    Collection,
    Event,
    Gather,
    Page,
    new_id,
)
from cartwheel.kernel.errors import OutcomeUnknown
from cartwheel.kernel.mongodb import (
    Database,
    Document,
    Outboxes,
    from_document,
    happened,
    index_outbox,
    page,
    state,
    to_publish,
    write_all,
)
from cartwheel.notifications.domain import DeadQueue, Failures, Mail, Noticed, Reported
from cartwheel.notifications.ports import FailedMail, StillSending

COLLECTIONS = (Collection("mail", outbox=True), Collection("dead_letters", outbox=True))
CLAIM_SECONDS = 30
"""Seconds after which another process may claim a mail that was being sent."""

_UNCLAIMED: Document = {"$lt": ["$claimed_until", "$$NOW"]}
_CLAIMED: Document = {"$add": ["$$NOW", CLAIM_SECONDS * 1000]}
_RELEASED: Document = {"$subtract": ["$$NOW", 1]}
_ONE_MORE: Document = {"$add": [{"$ifNull": ["$sends", 0]}, 1]}


async def _create_indexes(database: Database) -> None:
    mail = database["mail"]
    await mail.create_index([("order_id", ASCENDING), ("_id", ASCENDING)], name="of_order")
    await mail.create_index([("to", ASCENDING), ("_id", ASCENDING)], name="to")
    await index_outbox(mail)


async def _index_numbers(database: Database) -> None:
    await database["mail"].create_index(
        [("order_number", ASCENDING), ("_id", ASCENDING)], name="of_number"
    )


async def _index_dead_letters(database: Database) -> None:
    await index_outbox(database["dead_letters"])


MIGRATIONS = (_create_indexes, _index_numbers, _index_dead_letters)


class MongoMails:
    """A mail has the id of the event that it reports, so there is one mail per event.

    While a mail is SENDING, its event is redelivered until the mail is SENT or FAILED. When it is
    FAILED, its event is done (`dead_lettered` false: SES refused the mail) or is a dead letter
    (true: SES kept failing on the mail).

    `claims` may be gathered for long. `notes`, the results of sending, may not: the longer they
    wait, the more mail is sent twice when the process dies.
    """

    def __init__(
        self,
        database: Database,
        outboxes: Outboxes,
        *,
        claims: Gather | None = None,
        notes: Gather | None = None,
    ) -> None:
        self._mail = database["mail"]
        self._outboxes = outboxes
        self._claims = Batcher(self._claim, gather=claims)
        self._endings = Batcher(self._end, gather=notes)

    async def claim(
        self, event: CloudEvent[Reported], mail: Mail, *, now: Clock
    ) -> Failures | None:
        token = new_id("claim")
        sending = {"$eq": ["$status", MailStatus.SENDING.value]}
        dead_lettered = {
            "$and": [
                {"$eq": ["$status", MailStatus.FAILED.value]},
                {"$eq": ["$dead_lettered", True]},
            ]
        }
        claimable = {
            "$or": [
                {"$eq": [{"$type": "$status"}, "missing"]},
                {"$and": [{"$or": [sending, dead_lettered]}, _UNCLAIMED]},
            ]
        }
        claimed: Document = {
            "to": mail.to,
            "reason": event.type,
            "order_id": _order_id(event),
            "order_number": _order_number(event),
            "subject": mail.subject,
            "text": mail.text,
            "status": MailStatus.SENDING.value,
            "message_id": None,
            "failure": None,
            "sent_at": None,
            "claimed_by": token,
        }
        update: Document = {
            **_literally(claimed),
            "sends": _ONE_MORE,
            "created_at": {"$ifNull": ["$created_at", now()]},
            "claimed_until": _CLAIMED,
        }
        mine = {name: {"$cond": [claimable, value, f"${name}"]} for name, value in update.items()}
        found = await self._claims.submit((event.id, mine))
        if found is None:
            return Failures()
        if found["claimed_by"] == token:
            return Failures(count=found.get("failures", 0), since=found.get("first_failed_at"))
        if found["status"] == MailStatus.SENDING or _awaits_replay(found):
            raise StillSending(f"mail for {event.id}")
        return None

    async def _claim(
        self, claims: list[tuple[str, Document]]
    ) -> Sequence[Document | Exception | None]:
        """Claim mails; return None for a new one, otherwise its current claimant and state."""
        written = await write_all(
            self._mail,
            [UpdateOne({"_id": event_id}, [{"$set": mine}], True) for event_id, mine in claims],
        )
        known = [claim[0] for place, claim in enumerate(claims) if place not in written.upserted]
        if not known:
            return [None] * len(claims)
        wanted = ("status", "claimed_by", "dead_lettered", "failures", "first_failed_at")
        found = self._mail.find({"_id": {"$in": known}}, dict.fromkeys(wanted, 1))
        mails = {document["_id"]: document async for document in found}
        return [
            None
            if place in written.upserted
            else written.faults.get(place) or mails.get(event_id) or OutcomeUnknown("not seen yet")
            for place, (event_id, _) in enumerate(claims)
        ]

    async def sent(self, event: CloudEvent[Reported], message_id: str, *, now: Clock) -> None:
        told = NotificationSent(order_id=_order_id(event), reason=event.type)
        state = _sent(message_id, now)
        change = Change.caused_by(event, at=now())
        await self._ended(event.id, MailStatus.SENDING, state, told, change)

    async def refused(
        self, event: CloudEvent[Reported], mail: Mail, failure: str, *, now: Clock
    ) -> None:
        await self._failed(event, mail, failure, {"dead_lettered": False}, now)

    async def dead_lettered(
        self,
        event: CloudEvent[Reported],
        mail: Mail,
        failure: str,
        failures: Failures,
        *,
        now: Clock,
    ) -> None:
        state = {"dead_lettered": True, **_counted(failures)}
        await self._failed(event, mail, failure, state, now)

    async def _failed(
        self, event: CloudEvent[Reported], mail: Mail, failure: str, more: Document, now: Clock
    ) -> None:
        told = NotificationFailed(order_id=_order_id(event), reason=event.type, failure=failure)
        # Only FAILED mail can be sent again from the database, so only its HTML is kept.
        state = {"status": MailStatus.FAILED, "failure": failure, "html": mail.html, **more}
        change = Change.caused_by(event, at=now())
        await self._ended(event.id, MailStatus.SENDING, state, told, change)

    async def _ended(
        self,
        mail_id: str,
        status: MailStatus,
        state: Document,
        told: Event,
        change: Change,
    ) -> None:
        """Set `state` on a mail that still has `status`, and publish the event of the result."""
        [published] = to_publish(
            [told], source="notifications", subject=mail_id, after=0, change=change
        )
        # A FAILED mail without a sequence number predates those numbers, and has had one event.
        before = {"$cond": [{"$eq": ["$status", MailStatus.FAILED.value]}, 1, 0]}
        number = {"$add": [{"$ifNull": ["$sequence", before]}, 1]}
        numbered = {"$mergeObjects": [{"$literal": published}, {"sequence": number}]}
        update: Document = {
            **_literally(state),
            "claimed_until": _RELEASED,
            "sequence": number,
            "outbox": {"$concatArrays": [{"$ifNull": ["$outbox", []]}, [numbered]]},
        }
        await self._endings.submit(
            UpdateOne({"_id": mail_id, "status": status}, [{"$set": update}])
        )
        self._outboxes.filled("mail", [mail_id])

    async def _end(self, endings: list[UpdateOne]) -> Sequence[Exception | None]:
        written = await write_all(self._mail, endings)
        return [written.faults.get(place) for place in range(len(endings))]

    async def failed(self, event: CloudEvent[Reported], failures: Failures) -> None:
        await self._released(event.id, _counted(failures))

    async def release(self, mail_id: str) -> None:
        await self._released(mail_id, {})

    async def not_resent(self, mail_id: str, failure: str) -> None:
        await self._released(mail_id, {"failure": failure})

    async def _released(self, mail_id: str, state: Document) -> None:
        await self._mail.update_one(
            {"_id": mail_id, "status": {"$ne": MailStatus.SENT}},
            [{"$set": {**_literally(state), "claimed_until": _RELEASED}}],
        )

    async def claim_failed(self, mail_id: str, *, by: str, now: Clock) -> FailedMail:
        resend = {"$literal": {"by": by, "at": now()}}
        update: Document = {
            "claimed_by": new_id("claim"),
            "claimed_until": _CLAIMED,
            "sends": _ONE_MORE,
            "resends": {"$concatArrays": [{"$ifNull": ["$resends", []]}, [resend]]},
        }
        found = await self._mail.find_one_and_update(
            {"_id": mail_id, "status": MailStatus.FAILED, "$expr": _UNCLAIMED}, [{"$set": update}]
        )
        if found is None:
            status = (await self._get(mail_id))["status"]
            now_is = "being sent" if status == MailStatus.FAILED else status
            raise MailNotFailed(f"Mail {mail_id} is {now_is}. Only a FAILED mail can be resent.")
        return FailedMail(
            id=mail_id,
            by=by,
            order_id=found["order_id"],
            reason=found["reason"],
            mail=Mail(
                to=found["to"],
                subject=found["subject"],
                text=found["text"],
                html=found.get("html", ""),
            ),
        )

    async def resent(self, failed: FailedMail, message_id: str, *, now: Clock) -> MailView:
        told = NotificationSent(order_id=failed.order_id, reason=failed.reason)
        state = {**_sent(message_id, now), "failure": None}
        change = Change(by=failed.by, at=now())
        await self._ended(failed.id, MailStatus.FAILED, state, told, change)
        return from_document(await self._get(failed.id), MailView)

    async def _get(self, mail_id: str) -> Document:
        found = await self._mail.find_one({"_id": mail_id})
        if found is None:
            raise MailNotFound(f"There is no mail {mail_id}.")
        return found

    async def page(self, request: ListMail) -> Page[MailView]:
        query: Document = {
            name: value
            for name in ("order_id", "order_number", "to")
            if (value := getattr(request, name)) is not None
        }
        return await page(
            self._mail,
            query,
            limit=request.limit,
            cursor=request.cursor,
            read=lambda document: from_document(document, MailView),
        )


class MongoDeadQueues:
    """A queue in which there never were dead letters has no document."""

    def __init__(self, database: Database, outboxes: Outboxes) -> None:
        self._queues = database["dead_letters"]
        self._outboxes = outboxes

    async def of(self, services: Sequence[str]) -> Mapping[str, DeadQueue]:
        found = self._queues.find({"_id": {"$in": list(services)}}, {"outbox": 0})
        known = {document["_id"]: from_document(document, DeadQueue) async for document in found}
        return {service: known.get(service) or DeadQueue(id=service) for service in services}

    async def save(self, queue: DeadQueue, /, *, expected: DeadQueue) -> bool:
        new = happened(queue, source="notifications", change=queue.change)
        update = UpdateOne(
            {"_id": queue.id, "version": expected.version},
            {
                "$set": {**state(queue), "sequence": new["sequence"]},
                "$push": {"outbox": {"$each": new["outbox"]}},
            },
            upsert=expected.version == 0,
        )
        written = await write_all(self._queues, [update])
        if fault := written.faults.get(0):
            if isinstance(fault, DuplicateKeyError):  # another replica has made the document
                return False
            raise fault
        if written.matched == 0 and not written.upserted:
            return False
        self._outboxes.filled("dead_letters", [queue.id])
        return True


def _order_id(event: CloudEvent[Reported]) -> str:
    """Return the order that a mail is about; for mail to operations, an empty id."""
    return "" if isinstance(event.data, Noticed) else event.data.order.id


def _order_number(event: CloudEvent[Reported]) -> str:
    return "" if isinstance(event.data, Noticed) else event.data.order.number


def _literally(values: Document) -> Document:
    """Return `values` for an update pipeline, so that no value is read as a field's name."""
    return {name: {"$literal": value} for name, value in values.items()}


def _sent(message_id: str, now: Clock) -> Document:
    return {"status": MailStatus.SENT, "message_id": message_id, "sent_at": now()}


def _counted(failures: Failures) -> Document:
    return {"failures": failures.count, "first_failed_at": failures.since}


def _awaits_replay(found: Document) -> bool:
    return found["status"] == MailStatus.FAILED and found.get("dead_lettered", False)
