"""What the handlers need of the outside, beside `provider`."""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, TypeVarTuple

from cartwheel.contracts.payments import ListPayments, PaymentView
from cartwheel.kernel import Change, Items, Page
from cartwheel.payments.domain import Payment

Facts = TypeVarTuple("Facts")


class Payments(Protocol):
    async def add(self, payment: Payment) -> bool:
        """Store a new payment.

        Return False if its request has made one, its order has a live one, or its attempt has been
        used up meanwhile.
        """
        ...

    async def get(self, payment_id: str, /) -> Payment:
        """Raises PaymentNotFound."""
        ...

    async def made_by(self, request_id: str) -> Payment | None: ...

    async def declined(self, order_id: str) -> list[Payment]:
        """Return the order's payments that used up an attempt, the first attempt first."""
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
        """Read, decide and store, again until nobody else has changed it in between.

        `known`, the payment as it was last stored or read, spares the first reading.

        Raises:
            PaymentNotFound; and what `decide` raises.
        """
        ...

    async def disbelieved(self, payment_id: str) -> None:
        """Count a webhook that does not match the payment, for `cartwheel verify`."""
        ...

    async def page(self, request: ListPayments) -> Page[PaymentView]: ...

    async def awaited(self, order_id: str) -> list[Payment]:
        """Return the order's payments that still await their verdict."""
        ...

    def to_refund(self) -> Items:
        """Return the payments that have a refund to be carried out."""
        ...

    def undecided(self, provider: str, *, after: timedelta) -> Items:
        """Return the provider's payments that still await their verdict `after` so long."""
        ...
