"""Findings that are not violations, gathered while all documents are read."""

from datetime import datetime

import msgspec

from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import Seen

_NAMED = 10


class Some(msgspec.Struct):
    """The number of findings, and the first ones."""

    count: int = 0
    first: list[str] = msgspec.field(default_factory=list[str])

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < _NAMED:
            self.first.append(name)


class Noticed(msgspec.Struct):
    """The findings of each kind.

    perhaps_sent_twice    mails that were handed to SES more than once, apart from resends
    resent                mails that somebody had sent again, and who
    needing_a_person      items on which a job has failed for a day (`Patience.stuck_after`), and
                          payments whose money only a person can send back, with their age
    webhooks_disbelieved  payments that a signed webhook did not match
    """

    perhaps_sent_twice: Some = msgspec.field(default_factory=Some)
    resent: Some = msgspec.field(default_factory=Some)
    needing_a_person: Some = msgspec.field(default_factory=Some)
    webhooks_disbelieved: Some = msgspec.field(default_factory=Some)

    def look_at(self, seen: Seen, patience: Patience, now: datetime) -> None:
        if seen.sends - len(seen.resends) > 1:
            self.perhaps_sent_twice.add(seen.id)
        if seen.resends:
            self.resent.add(f"{seen.id} by {seen.resends[-1].by}")
        if seen.retry and now - seen.retry.since >= patience.stuck_after:
            self.needing_a_person.add(seen.id)
        if seen.webhooks_disbelieved:
            self.webhooks_disbelieved.add(seen.id)
