"""Promises 6 and 7: exactly one mail is sent for each event that calls for one.

A mail that SES refused counts as not sent, until somebody sends it again and SES accepts it.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from cartwheel.contracts import fulfilment, orders
from cartwheel.contracts.notifications import MailStatus
from cartwheel.operations.verify.case import Case
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.violation import Violation

DESERVING = frozenset(
    event.type
    for event in (*orders.EVENTS, *fulfilment.EVENTS)
    if "notifications" in event.consumers
)
"""The events that customers get mail about."""


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    return [*_counts(case), *_unsent(case, patience, now)]


def _counts(case: Case) -> Iterator[Violation]:
    order = case.order
    happened = Counter(
        entry.type for entry in (order.timeline if order else ()) if entry.type in DESERVING
    )
    told = Counter(mail.reason for mail in case.mails)
    for reason in happened | told:
        mails = tuple(mail.id for mail in case.mails if mail.reason == reason)
        events = f"order {case.order_id} has had {happened[reason]} {reason}"
        if told[reason] < happened[reason]:
            yield Violation(
                promise=6,
                sentence=f"{events}, but there are {told[reason]} mails about it",
                ids=(case.order_id, *mails),
                awaits=("notifications",),
            )
        elif told[reason] > happened[reason]:
            sentence = f"{events}, but there are {told[reason]} mails about it"
            yield Violation(promise=7, sentence=sentence, ids=(case.order_id, *mails))


def _unsent(case: Case, patience: Patience, now: datetime) -> Iterator[Violation]:
    for mail in case.mails:
        if mail.status == MailStatus.SENDING:
            young = now - mail.created_at < patience.stuck_after
            if young and mail.claimed_until and abs(now - mail.claimed_until) < patience.grace:
                continue  # it is being sent right now
            yield Violation(
                promise=6,
                sentence=f"mail {mail.id} is neither sent nor refused",
                ids=(case.order_id, mail.id),
                awaits=("notifications",),
            )
        elif mail.status == MailStatus.FAILED:
            by = mail.resends[-1].by if mail.resends else ""
            again = f", nor when {by} had it sent again" if by else ""
            yield Violation(
                promise=7,
                sentence=f"mail {mail.id} was not sent: {mail.failure!r}{again}",
                ids=(case.order_id, mail.id),
            )
