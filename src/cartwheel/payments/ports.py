"""The ports: what the handlers need from outside, apart from `provider`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, TypeVarTuple

from cartwheel.contracts.payments import ListDisputed, ListPayments, PaymentView
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel import Change, Items, Page
from cartwheel.payments.domain import Payment

Facts = TypeVarTuple("Facts")


class Payments(Protocol):
    async def add(self, payment: Payment) -> bool:
        """Store a new payment.

        Return False if the same request has stored one already, the order has a live payment, or
        the attempt number is taken.
        """
        ...

    async def get(self, payment_id: str, /) -> Payment:
        """Raises PaymentNotFound."""
        ...

    async def made_by(self, request_id: str) -> Payment | None: ...

    async def declined(self, order_id: str) -> list[Payment]:
        """Return the order's payments that used an attempt, in the order of the attempts."""
        ...

    async def change(
        self,
        payment_id: str,
        decide: Callable[[Payment, *Facts, Change], Payment],
        /,
        *facts: *Facts,
        by: Change,
        known: Payment | None = None,
    ) -> Payment:
        """Read, decide and store; start again if somebody else stored a change in between.

        `known`, the payment as last stored or read, saves the first read.

        Raises:
            PaymentNotFound: there is no such payment. Also whatever `decide` raises.
        """
        ...

    async def disbelieved(self, payment_id: str) -> None:
        """Count a webhook that does not match the payment, for `cartwheel verify`."""
        ...

    async def timeline(self, payment_id: str) -> list[TimelineEntry]:
        """Return an entry for each event of the payment, oldest first."""
        ...

    async def page(self, request: ListPayments) -> Page[PaymentView]: ...

    async def disputed(self, request: ListDisputed) -> Page[PaymentView]: ...

    async def awaited(self, order_id: str) -> list[Payment]:
        """Return the order's payments that have no verdict yet, or are only authorized."""
        ...

    def to_act_on(self) -> Items:
        """Return the authorized payments that are to be captured or voided, or about to lapse."""
        ...

    def to_refund(self) -> Items:
        """Return the payments that have a refund due."""
        ...

    def undecided(self, provider: str, *, after: timedelta) -> Items:
        """Return the provider's payments that are older than `after` and have no verdict.

        Those that wait for their customer are `acting`.
        """
        ...

    def acting(self, provider: str) -> Items:
        """Return the provider's payments that wait for their customer."""
        ...
