"""An order with all related documents, and whether work on it may be in flight."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.records import (
    LedgerLine,
    Mail,
    Order,
    Payment,
    Reservation,
    Unpublished,
)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """All documents about `order_id`. Any may be missing. `ledger` comes from the provider."""

    order_id: str
    order: Order | None = None
    reservation: Reservation | None = None
    payments: tuple[Payment, ...] = ()
    ledger: tuple[LedgerLine, ...] = ()
    mails: tuple[Mail, ...] = ()

    @property
    def subjects(self) -> set[str]:
        """Return the possible subjects of events about this order."""
        return {self.order_id, *(payment.id for payment in self.payments)}

    def unpublished(self) -> Iterator[Unpublished]:
        for owner in (self.order, self.reservation, *self.payments, *self.mails):
            yield from owner.outbox if owner else ()

    def distance(self, now: datetime) -> timedelta:
        """Return the time between `now` and the nearest write about the order.

        The nearest, not the last: a clock that ran ahead may have written times in the future.
        """
        times = [line.at for line in self.ledger] + [mail.created_at for mail in self.mails]
        times += [mail.sent_at for mail in self.mails if mail.sent_at]
        times += [resend.at for mail in self.mails for resend in mail.resends]
        times += [payment.updated_at for payment in self.payments]
        times += [self.order.updated_at] if self.order else []
        times += [self.reservation.held_at] if self.reservation else []
        return min((abs(now - at) for at in times), default=timedelta.max)


def in_flight(case: Case, patience: Patience, now: datetime) -> bool:
    """Return whether the mismatches in `case` may still resolve by themselves."""
    young = case.distance(now) < patience.grace
    return young or any(now - event.time < patience.stuck_after for event in case.unpublished())


def stuck(case: Case, patience: Patience, now: datetime) -> bool:
    """Return whether `case` is too old for any work to be in flight."""
    return case.distance(now) >= patience.stuck_after
