"""How customers answer: they approve a payment, or refuse it. Saying nothing changes nothing."""

import sqlite3
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from cartwheel.simulator import challenges, ledger, outbox
from cartwheel.simulator.cards import NOT_APPROVED
from cartwheel.simulator.errors import Missing
from cartwheel.simulator.objects import Intent, Status


class Answer(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"


class Question(msgspec.Struct, frozen=True):
    """What a customer is asked, or how that has ended."""

    intent: Intent
    return_url: str | None

    @property
    def is_open(self) -> bool:
        return self.intent.status is Status.REQUIRES_ACTION

    @property
    def by_wallet(self) -> bool:
        return self.intent.payment_method_types == ("wallet",)


def find(db: sqlite3.Connection, secret: str) -> Question:
    """Raises Missing."""
    return _read(db, secret)[0]


def answer(
    db: sqlite3.Connection,
    secret: str,
    said: Answer,
    at: datetime,
    webhook: outbox.Delivery,
    authorized_for: timedelta,
) -> Question:
    """Charge, authorize or decline the payment. A later answer, or one after its end, changes
    nothing.

    An approved charge may still be declined by the card's issuer.

    Raises:
        Missing: nobody was asked under that secret.
    """
    question, method = _read(db, secret)
    if not question.is_open:
        return question
    if said is Answer.REFUSE:
        method = msgspec.structs.replace(method, decline_code=NOT_APPROVED)
    decided = ledger.decide(db, question.intent, method, at, webhook, authorized_for)
    return msgspec.structs.replace(question, intent=decided)


def _read(db: sqlite3.Connection, secret: str) -> tuple[Question, ledger.Method]:
    payment_id = challenges.asked(db, secret)
    if payment_id is None:
        raise Missing("payment to approve")
    intent, method = ledger.read(db, "payment_id", payment_id)
    return Question(intent, method.return_url), method
