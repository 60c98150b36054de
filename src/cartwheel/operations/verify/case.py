"""An order with everything that concerns it, and what speaks for its being in flight."""

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
    """All of it by `order_id`; anything may be missing. `ledger` is what the provider knows."""

    order_id: str
    order: Order | None = None
    reservation: Reservation | None = None
    payments: tuple[Payment, ...] = ()
    ledger: tuple[LedgerLine, ...] = ()
    mails: tuple[Mail, ...] = ()

    @property
    def subjects(self) -> set[str]:
        """Return what events that concern this are about."""
        return {self.order_id, *(payment.id for payment in self.payments)}

    def unpublished(self) -> Iterator[Unpublished]:
        for owner in (self.order, self.reservation, *self.payments, *self.mails):
            yield from owner.outbox if owner else ()

    def distance(self, now: datetime) -> timedelta:
        """Return how far from `now` the nearest write about it is.

        Nearest, rather than last: a clock that was ahead may have left times that are yet to come.
        """
        times = [line.at for line in self.ledger] + [mail.created_at for mail in self.mails]
        times += [mail.sent_at for mail in self.mails if mail.sent_at]
        times += [resend.at for mail in self.mails for resend in mail.resends]
        times += [payment.updated_at for payment in self.payments]
        times += [self.order.updated_at] if self.order else []
        times += [self.reservation.held_at] if self.reservation else []
        return min((abs(now - at) for at in times), default=timedelta.max)


def in_flight(case: Case, patience: Patience, now: datetime) -> bool:
    """Return whether what disagrees in `case` may yet come right by itself."""
    young = case.distance(now) < patience.grace
    return young or any(now - event.time < patience.stuck_after for event in case.unpublished())


def stuck(case: Case, patience: Patience, now: datetime) -> bool:
    """Return whether `case` is too old for anything to be still on its way."""
    return case.distance(now) >= patience.stuck_after
